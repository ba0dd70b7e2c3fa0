"""modeled/account_links: pairs of accounts that share rare attributes.

Grain: one pair of users. Key: user_a, user_b with user_a < user_b. Source: cleaned/users.
The evidence and its reasons are in `dmp_assets.identity.evidence`.
"""

from collections.abc import Sequence

from dmp_assets.identity import witness
from dmp_assets.identity.evidence import (
    KINDS,
    MIN_WEIGHT,
    PREDECESSORS,
    Kind,
    most_holders_sql,
)
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

COLUMNS = {
    "user_a": Column(
        "string",
        "One user of the pair: the smaller id, not the earlier registration.",
        "identifier",
        "user_id",
    ),
    "user_b": Column("string", "The other user.", "identifier", "user_id"),
    "weight": Column(
        "double",
        "Sum of the shared kinds' weights; 1 is one device that only these two use.",
        "profile",
    ),
    "against_a": Column(
        "double",
        "The part of the weight that counts against user_a: what a later account shares "
        "counts against an earlier one only when its own e-mail or phone is verified.",
        "profile",
    ),
    "against_b": Column("double", "The same against user_b.", "profile"),
    "shared": Column(
        "array<string>",
        "Kinds of attributes that the two share, sorted: device, email, ip and so on.",
        "profile",
    ),
}


ALL = "SELECT count(*) FROM cleaned.users"


def links_sql(kinds: Sequence[Kind] = KINDS) -> str:
    """One DuckDB query from cleaned.users to the table; linear in users.

    1. `common`: values held by at least two accounts and at most `most_holders`, by hash
       (64 bits; a collision changes a count of holders at most, values are compared themselves).
    2. `holding`: who holds them. Only these few rows are carried on.
    3. `candidate`: each holder with its nearest predecessors (`PREDECESSORS`), so that no value
       explodes into all pairs.
    4. Every candidate pair is weighed on *all* that it shares, wherever it was proposed.
    """
    held = " UNION ALL ".join(
        f"SELECT {n}::UTINYINT AS kind, {kind.value} AS value, user_id, created_at, "
        f"{witness.SQL[kind.verified]} AS is_witness "
        "FROM cleaned.users"
        for n, kind in enumerate(kinds)
    )
    hashed = " UNION ALL ".join(
        f"SELECT {n}::UTINYINT AS kind, hash({kind.value}) AS value_hash, count(*) AS holders "
        f"FROM cleaned.users WHERE ({kind.value}) IS NOT NULL "
        f"GROUP BY ALL HAVING count(*) BETWEEN 2 AND {most_holders_sql(kind.cap, ALL)}"
        for n, kind in enumerate(kinds)
    )

    def by_kind(column: str, of: Sequence[str]) -> str:
        whens = " ".join(f"WHEN {n} THEN {text}" for n, text in enumerate(of))
        return f"CASE {column} {whens} END"

    near = by_kind("a.kind", [_seconds(kind) for kind in kinds])

    def against(one: str, other: str) -> str:
        """Whether what two rows of `holding` share counts against the one."""
        return f"({other}.created_at <= {one}.created_at OR {other}.is_witness)"

    def total(column: str) -> str:
        """The sum over the families, always in one order: floats add up to other last bits else."""
        return " + ".join(
            f"coalesce(max({column}) FILTER (family = '{family}'), 0)"
            for family in dict.fromkeys(kind.family for kind in kinds)
        )

    predecessors = ", ".join(
        f"{{'id': lag(user_id, {back}) OVER w, 'at': lag(created_at, {back}) OVER w}}"
        for back in range(1, PREDECESSORS + 1)
    )
    return f"""
WITH common AS MATERIALIZED ({hashed}),
holding AS MATERIALIZED (
    SELECT h.*, c.holders
    FROM ({held}) h JOIN common c ON h.kind = c.kind AND hash(h.value) = c.value_hash
),
candidate AS MATERIALIZED (
    SELECT DISTINCT least(user_id, other.id) AS user_a, greatest(user_id, other.id) AS user_b
    FROM (
        SELECT kind, user_id, created_at, unnest([{predecessors}]) AS other FROM holding
        WINDOW w AS (PARTITION BY kind, value ORDER BY created_at, user_id)
    ) a
    WHERE other.id IS NOT NULL AND epoch(created_at) - epoch(other.at) <= {near}
),
agreement AS (
    SELECT p.user_a, p.user_b, a.kind,
        {by_kind("a.kind", [kind.weight_sql("a.holders") for kind in kinds])} AS weight,
        {against("a", "b")} AS is_against_a, {against("b", "a")} AS is_against_b
    FROM candidate p
    JOIN holding a ON a.user_id = p.user_a
    JOIN holding b ON b.user_id = p.user_b AND b.kind = a.kind AND b.value = a.value
    WHERE abs(epoch(a.created_at) - epoch(b.created_at)) <= {near}
),
family AS (
    SELECT user_a, user_b, {by_kind("kind", [f"'{kind.family}'" for kind in kinds])} AS family,
        max(weight) AS weight,
        max(weight) FILTER (is_against_a) AS against_a,
        max(weight) FILTER (is_against_b) AS against_b,
        list({by_kind("kind", [f"'{kind.name}'" for kind in kinds])})
            FILTER (weight > 0) AS shared
    FROM agreement GROUP BY ALL
)
SELECT user_a, user_b, {total("weight")} AS weight, {total("against_a")} AS against_a,
    {total("against_b")} AS against_b, list_sort(flatten(list(shared))) AS shared
FROM family GROUP BY ALL
HAVING {total("weight")} >= {MIN_WEIGHT}
ORDER BY user_a, user_b
"""


def _seconds(kind: Kind) -> str:
    return str(kind.within.total_seconds()) if kind.within else "'inf'::DOUBLE"


@table_asset(
    "modeled",
    deps=["cleaned/users"],
    columns=COLUMNS,
    key=("user_a", "user_b"),
    once="Each pair is there once.",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "pairs_ordered",
            "SELECT count(*) FROM modeled.account_links WHERE user_a >= user_b",
            "No account is linked with itself, and the smaller id comes first.",
            blocking=True,
        ),
        Check(
            "users_known",
            "SELECT count(*) FROM (SELECT user_a AS user_id FROM modeled.account_links "
            "UNION ALL SELECT user_b FROM modeled.account_links) "
            "ANTI JOIN cleaned.users USING (user_id)",
            "Both users of every pair are in cleaned/users.",
            blocking=True,
        ),
    ),
)
def account_links(run: TableRun) -> None:
    """Pairs of accounts that share rare attributes, weighted by how rare the values are.

    Grain: one pair of users. Key: user_a, user_b with user_a < user_b. Source: cleaned/users.
    A value that many hold (a campus's address) links nobody; of a value with more than five
    holders each holder is linked with the four before it, so degrees are small by construction.
    """
    run.overwrite(run.sql(links_sql()))
