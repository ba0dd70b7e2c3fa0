"""What a file tells anew that files told before: ads on days, or orders. The later one holds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dmp_assets.home import Home
from dmp_assets.sources.exports import values
from dmp_assets.sources.exports.kept import ExportError, Kept
from dmp_assets.sources.exports.landing import batches
from dmp_assets.sources.exports.meta import NAMES
from dmp_assets.sources.exports.opened import Opened

if TYPE_CHECKING:
    import duckdb

_ADS = f"""
    SELECT DISTINCT coalesce(nullif(regexp_replace(trim(account_id), '^act_', ''), ''), $account)
             AS account,
           hash({", ".join(f"coalesce(trim({name}), '')" for name in NAMES)}) AS named,
           hash(nullif(trim(ad_id), '')) AS id, nullif(trim(ad_id), '') IS NOT NULL AS has_id,
           trim(coalesce(nullif(trim(day), ''), reporting_starts)) AS day
    FROM given WHERE NOT is_total
"""
_ORDERS = """
    SELECT DISTINCT $account AS account, hash(trim(order_name)) AS named, NULL::UBIGINT AS id,
           false AS has_id, '' AS day
    FROM given WHERE trim(order_name) <> ''
"""


class Told:
    """What the files of an advertiser tell of; each is read once, when it is asked for."""

    def __init__(self, home: Home, db: "duckdb.DuckDBPyConnection") -> None:
        self._home, self._db = home, db
        self._read: set[str] = set()
        db.execute(
            "CREATE TABLE told (file VARCHAR, account VARCHAR, named UBIGINT, id UBIGINT, "
            "has_id BOOLEAN, day VARCHAR)"
        )

    def anew(self, file: Opened, kept: Kept, before: Sequence[tuple[Opened, Kept]]) -> str | None:
        """What of the file others told before it, in words; None: nothing."""
        for one, its in (*before, (file, kept)):
            self._add(one, its)
        days, ads, files = self._db.execute(
            "SELECT count(DISTINCT n.day), count(DISTINCT coalesce(n.id, n.named)), "
            "count(DISTINCT o.file) FROM told n JOIN told o USING (account, day) "
            "WHERE n.file = $file AND list_contains($before::VARCHAR[], o.file) AND "
            "CASE WHEN n.has_id AND o.has_id THEN n.id = o.id ELSE n.named = o.named END",
            {"file": kept.sha256, "before": [its.sha256 for _, its in before]},
        ).fetchall()[0]
        if not files:
            return None
        whose = "an earlier file" if files == 1 else f"{files} earlier files"
        what = f"{ads:,} orders" if kept.kind == "shopify" else f"{days:,} days of {ads:,} ads"
        return f"replaces {what} that {whose} told"

    def _add(self, file: Opened, kept: Kept) -> None:
        import pyarrow as pa

        if kept.sha256 in self._read:
            return
        self._read.add(kept.sha256)
        try:
            given = pa.Table.from_batches(list(batches(file, self._home)))
        except ExportError:  # one that is damaged by now, of which the next run tells
            return
        self._db.register("given", given)
        told: Any = self._db.execute(
            _ORDERS if kept.kind == "shopify" else _ADS, {"account": kept.account}
        ).to_arrow_table()
        self._db.unregister("given")
        texts = told.column("day").to_pylist()
        read = values.days({(text, kept.dates) for text in texts if text})
        days = [str(read.get((text, kept.dates), text)) for text in texts]
        told = told.set_column(told.schema.get_field_index("day"), "day", pa.array(days))
        self._db.register("found", told)
        self._db.execute("INSERT INTO told BY NAME SELECT $1 AS file, * FROM found", [kept.sha256])
        self._db.unregister("found")
