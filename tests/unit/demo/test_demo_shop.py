"""The simulated shop: the same bytes for the same seed, honest shares, and an exact ledger."""

import hashlib
from collections import Counter
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from dmp_assets.demo.business.shop import Summary, generate, generate_increment
from dmp_assets.demo.business.shop_dirt import UNUSABLE
from dmp_assets.demo.business.shop_people import ABUSE_KINDS, HARD_NEGATIVES
from dmp_assets.platform.cleaning import normalise

END = date(2024, 3, 31)
USERS = 4_000
READABLE = r"""
    coalesce(try_strptime(text, ['%Y-%m-%d %H:%M:%S', '%d/%m/%Y %H:%M', '%Y-%m-%dT%H:%M:%SZ']),
             try_strptime(text, '%Y-%m-%dT%H:%M:%S%z')::TIMESTAMP,
             CASE WHEN regexp_full_match(text, '[0-9]{9,11}')
                  THEN make_timestamp(text::BIGINT * 1000000) END)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return generate(tmp_path_factory.mktemp("shop"), users=USERS, seed=7, end=END)


@pytest.fixture(scope="module")
def sql(shop: Summary) -> duckdb.DuckDBPyConnection:
    """The export as text tables with row numbers, the truth and the ledger."""
    return opened(shop)


def opened(shop: Summary) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    files = {name: shop.export / f"{name}.csv" for name in (*UNUSABLE, "orders")}
    for name, path in (files | {"late_users": shop.late / "users.csv"}).items():
        connection.execute(
            f"CREATE TABLE {name} AS SELECT row_number() OVER () AS row_number, * "
            f"FROM read_csv('{path}', all_varchar = true, header = true)"
        )
    connection.execute(f"CREATE TABLE truth AS FROM '{shop.truth / 'users.parquet'}'")
    connection.execute(f"CREATE TABLE ledger AS FROM '{shop.truth / 'ledger.parquet'}'")
    connection.execute(f"CREATE MACRO readable(text) AS {READABLE}")
    return connection


def one(sql: duckdb.DuckDBPyConnection, query: str) -> int:
    [(value,)] = sql.execute(query).fetchall()
    return int(value or 0)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        generate(tmp_path / name, users=1_000, seed=seed, end=END)
    first, again, other = (digests(tmp_path / name) for name in "abc")
    assert len(first) == 7
    assert first == again
    assert all(first[name] != other[name] for name in first)


def test_the_truth_has_two_percent_abusers_of_every_kind_in_rings(
    shop: Summary, sql: duckdb.DuckDBPyConnection
) -> None:
    assert one(sql, "SELECT count(*) FROM truth WHERE is_abuser") == shop.abusers == USERS * 0.02
    kinds = sql.execute("SELECT DISTINCT abuse_kind FROM truth WHERE is_abuser").fetchall()
    assert {kind for (kind,) in kinds} == set(ABUSE_KINDS)
    sizes = sql.execute("SELECT count(*) FROM truth WHERE is_abuser GROUP BY ring_id").fetchall()
    assert all(3 <= size <= 40 for (size,) in sizes)
    assert one(sql, "SELECT count(*) FROM truth WHERE NOT is_abuser AND abuse_kind NOT NULL") == 0


def test_at_least_one_account_in_twenty_is_a_hard_negative_and_none_of_them_abuses(
    shop: Summary, sql: duckdb.DuckDBPyConnection
) -> None:
    assert shop.hard_negatives >= 0.05 * USERS
    kinds = sql.execute("SELECT DISTINCT hard_negative_kind FROM truth WHERE is_hard_negative")
    assert {kind for (kind,) in kinds.fetchall()} == set(HARD_NEGATIVES)
    assert one(sql, "SELECT count(*) FROM truth WHERE is_abuser AND is_hard_negative") == 0


def test_a_shared_device_alone_does_not_tell_abusers(sql: duckdb.DuckDBPyConnection) -> None:
    from sklearn.metrics import average_precision_score

    rows = sql.execute(
        "SELECT is_abuser, count(*) OVER (PARTITION BY device_id) > 1 AND device_id NOT NULL "
        "FROM (SELECT DISTINCT ON (user_id) user_id, device_id FROM users) "
        "JOIN truth USING (user_id)"
    ).fetchnumpy()
    abuser, shares = (np.asarray(column, dtype=bool) for column in rows.values())
    assert average_precision_score(abuser, shares) < 0.5
    assert abuser[shares].sum() > 0


def test_about_one_in_seven_accounts_has_an_analysts_label_that_is_sometimes_wrong(
    shop: Summary, sql: duckdb.DuckDBPyConnection
) -> None:
    assert shop.labelled == round(0.15 * USERS)
    share, wrong = sql.execute(
        "SELECT count(u.is_abuser) / count(*), "
        "avg(((u.is_abuser = 'TRUE') <> t.is_abuser)::INT) FILTER (u.is_abuser NOT NULL) "
        "FROM users u JOIN truth t USING (user_id)"
    ).fetchall()[0]
    assert 0.14 < share < 0.16
    assert 0.01 < wrong < 0.07


def counted(sql: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Dirty rows recounted from the files alone."""
    sql.execute(
        "CREATE OR REPLACE TEMP TABLE good_users AS SELECT user_id, "
        "any_value(readable(created_at)) AS created FROM users WHERE user_id NOT NULL "
        "AND readable(created_at) NOT NULL "
        "GROUP BY user_id"
    )
    found = {}
    for table, key in (
        ("users", "user_id"),
        ("promo_codes", "promo_code"),
        ("promo_usages", "user_id, promo_code, used_at"),
    ):
        distinct = f"(SELECT DISTINCT * EXCLUDE (row_number) FROM {table})"
        rows = one(sql, f"SELECT count(*) FROM {table}")
        different = one(sql, f"SELECT count(*) FROM {distinct}")
        keyed = " AND ".join(f"{column} NOT NULL" for column in key.split(", "))
        keys = one(sql, f"SELECT count(DISTINCT ({key})) FROM {distinct} WHERE {keyed}")
        found[f"{table}.duplicate"] = rows - different
        found[f"{table}.contradictory"] = (
            one(sql, f"SELECT count(*) FROM {distinct} WHERE {keyed}") - keys
        )
    usable = "promo_code IN (SELECT promo_code FROM promo_codes WHERE promo_code NOT NULL)"
    known = "user_id IN (SELECT user_id FROM good_users)"
    for name, query in {
        "users.user_id_missing": "users WHERE user_id IS NULL",
        "users.created_at_unreadable": "users WHERE readable(created_at) IS NULL",
        "users.created_at_format": "users WHERE readable(created_at) NOT NULL AND NOT "
        r"regexp_full_match(created_at, '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d')",
        "promo_codes.promo_code_missing": "promo_codes WHERE promo_code IS NULL",
        "promo_codes.number_format": "promo_codes WHERE contains(discount_value, ',')",
        "promo_usages.user_id_missing": "promo_usages WHERE user_id IS NULL",
        "promo_usages.promo_code_missing": "promo_usages WHERE promo_code IS NULL",
        "promo_usages.used_at_unreadable": "promo_usages WHERE readable(used_at) IS NULL",
        "promo_usages.used_at_format": "promo_usages WHERE readable(used_at) NOT NULL AND NOT "
        r"regexp_full_match(used_at, '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d')",
        "promo_usages.user_unknown": f"promo_usages WHERE NOT {known}",
        "promo_usages.promo_code_unknown": f"promo_usages WHERE NOT {usable}",
        "promo_usages.used_before_registration": "promo_usages JOIN good_users USING (user_id) "
        "WHERE readable(used_at) < created",
        "promo_usages.value_missing": "promo_usages WHERE used_promo IS NULL",
    }.items():
        found[name] = one(sql, f"SELECT count(*) FROM {query}")
    attributes = [
        "email",
        "phone",
        "ip_address",
        "device_id",
        "user_agent",
        "city",
        "gender",
        "dob",
        "timezone",
        "is_email_verified",
        "is_phone_verified",
        "first_name",
        "last_name",
    ]
    empty = " + ".join(f"count(*) FILTER ({name} IS NULL)" for name in attributes)
    found["users.value_missing"] = one(sql, f"SELECT {empty} FROM users")
    people = sql.execute("SELECT phone, email, ip_address FROM users").fetchall()
    valid = [normalise.phone(phone) for phone, _, _ in people]
    found["users.phone_malformed"] = sum(phone.is_valid is False for phone in valid)
    found["users.phone_format"] = sum(
        bool(phone.is_valid) and phone.e164 != text
        for phone, (text, _, _) in zip(valid, people, strict=True)
    )
    found["users.email_malformed"] = sum(
        normalise.email(email).is_valid is False for _, email, _ in people
    )
    found["users.ip_malformed"] = sum(normalise.ip(ip).is_valid is False for _, _, ip in people)
    return found


@pytest.mark.parametrize("dirt", [1.0, 3.0])
def test_the_ledger_counts_what_a_recount_of_the_files_finds(dirt: float, tmp_path: Path) -> None:
    shop = generate(tmp_path, users=USERS, seed=11, end=END, dirt=dirt)
    found = counted(opened(shop))
    assert found == {name: shop.dirty[name] for name in found}
    untold = {
        "users.flag_format",
        "users.encoding",
        "users.late_arrival",
        "late/users.late_user",
        "promo_usages.late_arrival",
        "promo_codes.value_missing",
    }
    assert set(shop.dirty) == set(found) | untold


def test_a_row_has_at_most_one_reason_to_be_unusable(sql: duckdb.DuckDBPyConnection) -> None:
    for table, rules in UNUSABLE.items():
        rows = sql.execute(
            f"SELECT row_number FROM ledger WHERE \"table\" = '{table}' AND rule IN {rules}"
            if len(rules) > 1
            else f"SELECT row_number FROM ledger WHERE rule = '{rules[0]}' "
            f"AND \"table\" = '{table}'"
        ).fetchall()
        assert rows
        assert max(Counter(rows).values()) == 1


def test_the_ledger_points_at_the_row_of_the_file(sql: duckdb.DuckDBPyConnection) -> None:
    wrong = one(
        sql,
        "SELECT count(*) FROM ledger l JOIN users u USING (row_number) WHERE l.\"table\" = 'users' "
        "AND CASE rule WHEN 'user_id_missing' THEN u.user_id NOT NULL "
        "ELSE u.user_id IS DISTINCT FROM l.key END",
    )
    assert wrong == 0
    rows = "SELECT min(row_number) FROM ledger WHERE \"table\" = 'users' AND rule = 'late_arrival'"
    assert one(sql, rows) > one(sql, "SELECT 0.9 * count(*) FROM users")


def test_unusable_rows_are_few_unless_more_dirt_is_asked_for(tmp_path: Path, shop: Summary) -> None:
    def share(summary: Summary, table: str) -> float:
        return sum(summary.dirty[f"{table}.{r}"] for r in UNUSABLE[table]) / summary.rows[table]

    assert all(share(shop, table) < 0.05 for table in UNUSABLE)
    filthy = generate(tmp_path / "filthy", users=1_000, seed=7, end=END, dirt=30)
    assert share(filthy, "promo_usages") > 0.5
    clean = generate(tmp_path / "clean", users=1_000, seed=7, end=END, dirt=0)
    assert set(clean.dirty) <= {"users.phone_malformed", "users.phone_format"}  # what people typed


def test_late_users_bring_back_the_usages_that_did_not_know_them(
    sql: duckdb.DuckDBPyConnection,
) -> None:
    waiting = "promo_usages WHERE user_id IN (SELECT user_id FROM late_users)"
    assert (
        one(sql, f"SELECT count(DISTINCT user_id) FROM {waiting}")
        == one(sql, "SELECT count(*) FROM late_users")
        > 0
    )
    assert one(sql, "SELECT count(*) FROM late_users JOIN users USING (user_id)") == 0


def test_no_one_is_born_or_redeems_after_the_last_day(sql: duckdb.DuckDBPyConnection) -> None:
    for table, column in (("users", "created_at"), ("promo_usages", "used_at")):
        late = f"SELECT count(*) FROM {table} WHERE readable({column}) >= DATE '{END}' + 1"
        assert one(sql, late) == 0
    assert one(sql, f"SELECT count(*) FROM orders WHERE ordered_at::DATE > DATE '{END}'") == 0


def test_an_increment_continues_the_shop_with_new_users_and_known_customers(
    tmp_path: Path, sql: duckdb.DuckDBPyConnection
) -> None:
    more = generate_increment(tmp_path, users=USERS, seed=7, end=END, days=7)
    assert (more.first_day, more.last_day) == (date(2024, 4, 1), date(2024, 4, 7))
    new = opened(more)
    new.execute(f"ATTACH '{tmp_path / 'first.duckdb'}' AS first")
    for name in ("users", "promo_codes"):
        new.register(
            "given", sql.sql(f"SELECT * EXCLUDE (row_number) FROM {name}").to_arrow_table()
        )
        new.execute(f"CREATE TABLE first.{name} AS FROM given")
    assert one(new, "SELECT count(*) FROM users JOIN first.users USING (user_id)") == 0
    assert one(new, "SELECT count(*) FROM promo_usages JOIN first.users USING (user_id)") > 0
    strangers = one(
        new,
        "SELECT count(*) FROM promo_usages WHERE user_id NOT IN (SELECT user_id FROM first.users "
        "WHERE user_id NOT NULL UNION SELECT user_id FROM users WHERE user_id NOT NULL "
        "AND readable(created_at) NOT NULL)",
    )
    assert strangers == more.dirty.get("promo_usages.user_unknown", 0)
    homeless = one(
        new,
        "SELECT count(*) FROM promo_usages WHERE promo_code NOT IN (SELECT promo_code "
        "FROM first.promo_codes WHERE promo_code NOT NULL "
        "UNION SELECT promo_code FROM promo_codes)",
    )
    assert homeless == more.dirty.get("promo_usages.promo_code_unknown", 0)
    early = "readable(used_at) < DATE '2024-04-01'"
    assert one(new, f"SELECT count(*) FROM promo_usages WHERE {early}") == more.dirty.get(
        "promo_usages.used_before_registration", 0
    )


def test_files_are_utf8_and_the_truth_stays_apart(shop: Summary) -> None:
    for path in shop.export.glob("*.csv"):
        text = path.read_text(encoding="utf-8", errors="strict")
        assert "\x00" not in text
    text = (shop.export / "users.csv").read_text()
    assert all(trouble in text for trouble in ("Ã", "\ufffd", "\ufeff"))
    columns = set(pq.read_schema(shop.truth / "users.parquet").names)
    header = set((shop.export / "users.csv").open().readline().strip().split(","))
    assert columns & header == {"user_id", "is_abuser"}


def test_too_small_a_shop_and_negative_dirt_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 100 users"):
        generate(tmp_path, users=10, seed=1, end=END)
    with pytest.raises(ValueError, match="cannot be negative"):
        generate(tmp_path, users=200, seed=1, end=END, dirt=-1)
    with pytest.raises(ValueError, match="at least one day"):
        generate_increment(tmp_path, users=200, seed=1, end=END, days=0)
