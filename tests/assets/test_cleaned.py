"""cleaned/*: each rule, contradictions, late arrivals, and that no row falls between."""

import csv
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import pyarrow as pa
import pytest

from dmp_assets.cleaned.shop import promo_codes, promo_usages, users
from dmp_assets.demo.business import shop as demo
from dmp_assets.demo.business.shop_dirt import UNUSABLE
from dmp_assets.platform.cleaning import rules
from dmp_assets.platform.cleaning.received import Received, words_of
from dmp_assets.platform.cleaning.rules import Rule, Split
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.run.causes import first_cause
from dmp_assets.sources.shop.tables import TABLES

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NOAAT = Path(__file__).resolve().parents[3] / "shared" / "data" / "noaat"
FIRST_LOAD = datetime(2024, 5, 1, tzinfo=UTC)
Row = Mapping[str, Any]
ASSETS = (users.users, promo_codes.promo_codes, promo_usages.promo_usages)


def raw(table: str, given: Sequence[Row], *, first: int = 1) -> pa.Table:
    """Rows as raw has them; `load` (0, 1, …) says with which load a row came."""
    received = TABLES[table].columns
    schema = pa.schema(
        [
            *((name, pa.string()) for name in received),
            ("_row_id", pa.int64()),
            ("_received_at", pa.timestamp("us", tz="UTC")),
            ("_source", pa.string()),
            ("_loaded_at", pa.timestamp("us", tz="UTC")),
        ]
    )
    rows = [
        {
            **{name: row.get(name) for name in received},
            "_row_id": first + n,
            "_received_at": FIRST_LOAD + timedelta(days=row.get("load", 0)),
            "_source": "test",
            "_loaded_at": FIRST_LOAD,
        }
        for n, row in enumerate(given)
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def user(user_id: str | None, **given: Any) -> Row:
    return {"user_id": user_id, "created_at": "2024-01-01 10:00:00", **given}


def usage(
    user_id: str | None, code: str | None = "A", at: str | None = "2024-01-02", **more: Any
) -> Row:
    return {"user_id": user_id, "promo_code": code, "used_at": at, **more}


class Cleaned:
    """A split, looked at in Python: kept rows by key, quarantined rows."""

    def __init__(self, split: Split, key: str) -> None:
        self.rows = split.kept.toArrow().to_pylist()
        self.kept = {row[key]: row for row in self.rows}
        self.quarantined = split.quarantined.toArrow().to_pylist()

    def received(self) -> int:
        return sum(row["received_rows"] for row in self.rows) + len(self.quarantined)


def clean_users(spark: "SparkSession", *given: Row) -> Cleaned:
    frame = spark.createDataFrame(raw("users", given))
    return Cleaned(users.clean(frame, "US"), "user_id")


def clean_codes(spark: "SparkSession", *given: Row) -> Cleaned:
    frame = spark.createDataFrame(raw("promo_codes", given))
    return Cleaned(promo_codes.clean(frame), "promo_code")


# times -----------------------------------------------------------------------------------------

TIMES = {
    "2024-03-10 02:30:00": (2024, 3, 10, 2, 30, 0, 0),  # an hour that New York skipped
    "2024-3-1 6:05:07": (2024, 3, 1, 6, 5, 7, 0),
    "2024-03-01 06:05:07.123456": (2024, 3, 1, 6, 5, 7, 123456),
    "2024-03-01T06:05:07Z": (2024, 3, 1, 6, 5, 7, 0),
    "2024-03-01T08:05:07+02:00": (2024, 3, 1, 6, 5, 7, 0),
    "2024-03-01 06:05:07+00": (2024, 3, 1, 6, 5, 7, 0),
    "2024-02-29 23:05:07-05": (2024, 3, 1, 4, 5, 7, 0),
    "2024-03-01": (2024, 3, 1, 0, 0, 0, 0),
    "31/12/2023 17:05": (2023, 12, 31, 17, 5, 0, 0),
    "1/2/2023 7:05:09": (2023, 2, 1, 7, 5, 9, 0),
    "1709273107": (2024, 3, 1, 6, 5, 7, 0),
    "1709273107000": (2024, 3, 1, 6, 5, 7, 0),
    "  2024-03-01 06:05:07 ": (2024, 3, 1, 6, 5, 7, 0),
}
NO_TIMES = (
    "not a date", "0000-00-00 00:00:00", "2023-13-45 10:00:00", "2023-02-30", "31/02/2023 25:61",
    "########", "1", "12:30", "1970-01-01 00:00:00", "9999-12-31", "12/31/2023 10:00",
    "2024-01-01 25:00:00", "99999999999999", "yesterday", "", "NaN", "infinity",
)  # fmt: skip


def test_a_time_is_read_in_every_format_and_what_is_none_is_quarantined(
    spark: "SparkSession",
) -> None:
    given = [user(f"good {n}", created_at=text) for n, text in enumerate(TIMES)]
    given += [user(f"bad {n}", created_at=text) for n, text in enumerate(NO_TIMES)]
    found = clean_users(spark, *given)
    read = [found.kept[f"good {n}"]["created_at"] for n in range(len(TIMES))]
    assert read == [datetime(*parts, tzinfo=UTC) for parts in TIMES.values()]
    assert [row["user_id"] for row in found.quarantined] == [
        f"bad {n}" for n in range(len(NO_TIMES))
    ]
    assert [row["created_at"] or "" for row in found.quarantined] == list(NO_TIMES)
    assert {tuple(row["failed_rules"]) for row in found.quarantined} == {("created_at_unreadable",)}


# users -----------------------------------------------------------------------------------------


def test_a_column_that_is_only_declared_is_cleaned_and_quarantined_with_the_rest(
    spark: "SparkSession", monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {**users.RECEIVED, "nickname": Received("name", "What for.", personal="name")}
    monkeypatch.setattr(users, "RECEIVED", more)
    monkeypatch.setattr(users, "KINDS", {**words_of(more), "created_at": "as received"})
    rows = raw("users", [user("a"), user("a"), user("b"), user("b"), user(None)])
    said = pa.array(["(none)", "Bo", "Bo", "Mo", " Jo "], pa.string())
    found = Cleaned(
        users.clean(spark.createDataFrame(rows.append_column("nickname", said)), "US"), "user_id"
    )
    assert {key: row["is_ambiguous"] for key, row in found.kept.items()} == {"a": False, "b": True}
    assert {row["user_id"]: row["nickname"] for row in found.quarantined} == {"b": "Mo", None: "Jo"}


def test_only_a_user_without_id_or_time_cannot_be_used(spark: "SparkSession") -> None:
    found = clean_users(spark, user("a"), user("  "), user(None, created_at="x"))
    assert set(found.kept) == {"a"}
    assert sorted(tuple(row["failed_rules"]) for row in found.quarantined) == [
        ("user_id_missing",), ("user_id_missing", "created_at_unreadable"),
    ]  # fmt: skip
    assert {row["reason"] for row in found.quarantined} == {
        "the user has no id",
        "the user has no id; the time of registration is missing or cannot be read",
    }


def test_a_malformed_attribute_never_removes_a_row_and_stays_as_received(
    spark: "SparkSession",
) -> None:
    bad = {
        "email": "ann at x.org", "phone": "12-call", "ip_address": "999.1.1.1",
        "timezone": "Mars/Base", "dob": "31/31/1990", "user_agent": "nonsense",
        "is_email_verified": "perhaps", "is_abuser": "maybe", "gender": "�",
    }  # fmt: skip
    row = clean_users(spark, user("a", **bad)).kept["a"]
    for name in ("email", "phone", "ip", "timezone"):
        assert row[name] is None
        assert row[f"is_{name}_valid"] is False
    assert (row["date_of_birth"], row["is_date_of_birth_valid"]) == (None, None)
    assert (row["is_email_verified"], row["is_abuser"], row["browser_family"]) == (None,) * 3
    received = ("email", "phone", "timezone", "ip", "user_agent")
    assert [row[f"{name}_received"] for name in received] == [
        "ann at x.org", "12-call", "Mars/Base", "999.1.1.1", "nonsense",
    ]  # fmt: skip
    assert row["date_of_birth_received"] == "31/31/1990"


def test_what_was_not_received_is_unknown_and_not_bad(spark: "SparkSession") -> None:
    row = clean_users(spark, user("a", email=" ", phone="")).kept["a"]
    known = {name for name, value in row.items() if value is not None}
    assert known == {"user_id", "created_at", "is_ambiguous", "received_rows", "received_at"}


def test_a_shop_that_lacks_whole_columns_is_cleaned(spark: "SparkSession") -> None:
    frame = spark.createDataFrame(
        raw("users", [user("a")]).select(
            ["user_id", "created_at", "_row_id", "_received_at", "_source", "_loaded_at"]
        )
    )
    assert Cleaned(users.clean(frame, "US"), "user_id").kept["a"]["email"] is None


def test_attributes_stand_in_normal_form_beside_what_was_received(spark: "SparkSession") -> None:
    given = {
        "email": "A.nn+x@GMail.com", "phone": "(415) 442-1542", "ip_address": "2001:DB8::1",
        "timezone": "europe/berlin", "dob": "1990-02-03", "is_email_verified": "YES",
        "is_phone_verified": "0", "is_abuser": "t",
    }  # fmt: skip
    row = clean_users(spark, user("a", **given)).kept["a"]
    assert (row["email"], row["email_domain"], row["has_email_alias"]) == (
        "ann@gmail.com",
        "gmail.com",
        True,
    )
    assert (row["phone"], row["phone_country"]) == ("+14154421542", "US")
    assert (row["ip"], row["ip_prefix"]) == ("2001:db8::1", "2001:db8::/48")
    assert (row["timezone"], row["date_of_birth"]) == ("Europe/Berlin", date(1990, 2, 3))
    assert (row["is_email_verified"], row["is_phone_verified"], row["is_abuser"]) == (
        True,
        False,
        True,
    )


def test_a_birth_after_the_registration_or_before_1900_is_no_birth(spark: "SparkSession") -> None:
    births = {"a": "2024-01-02", "b": "1899-12-29", "c": "2024-01-01", "d": "1900-01-02",
              "nobody's": "1900-01-01", "unread": "31/31/1990", "era": "平成3年1月2日"}  # fmt: skip
    found = clean_users(spark, *(user(name, dob=text) for name, text in births.items()))
    assert {name: found.kept[name]["is_date_of_birth_valid"] for name in births} == {
        "a": False, "b": False, "c": True, "d": True, "nobody's": None,
        "unread": None, "era": True,
    }  # fmt: skip


def test_a_column_of_which_nothing_can_be_read_is_named_and_accuses_nobody(
    lakehouse: Lakehouse,
) -> None:
    people = [user(f"u{n}", dob="Heisei 3", is_email_verified="perhaps") for n in range(12)]
    receive(lakehouse, users=people, promo_codes=[], promo_usages=[])
    assert failed_checks(run()) == ["columns_read"]
    figures = lakehouse.tables.stamp("cleaned/users")["figures"]
    assert figures["unread"] == (
        "12 of 12 values of users.dob cannot be read; "
        "12 of 12 values of users.is_email_verified cannot be read"
    )
    (births,) = lakehouse.tables.sql(
        "SELECT count(is_date_of_birth_valid) AS judged FROM cleaned.users"
    ).to_pylist()
    assert births == {"judged": 0}


# one row a key ---------------------------------------------------------------------------------


def test_rows_that_say_the_same_are_one_and_counted(spark: "SparkSession") -> None:
    same_time = ("2024-01-01 10:00:00", " 2024-01-01T10:00:00Z", "01/01/2024 10:00")
    found = clean_users(spark, *(user("a", created_at=text, city="Rome") for text in same_time))
    assert (found.kept["a"]["received_rows"], found.kept["a"]["is_ambiguous"]) == (3, False)
    assert found.quarantined == []


def test_of_contradicting_rows_one_stays_without_what_is_disputed(spark: "SparkSession") -> None:
    found = clean_users(
        spark,
        user("a", city="Rome", email="a@x.org", first_name="Ann"),
        user("a", city="Oslo", email="a@x.org", created_at="2023-12-31 10:00:00"),
        user("a", city="Oslo", email="a@x.org", created_at="2023-12-31 10:00:00"),
        user("b", city="Bern"),
    )
    row = found.kept["a"]
    assert row["is_ambiguous"] is True
    assert (row["city"], row["email"], row["first_name"]) == (None, "a@x.org", "Ann")
    assert row["created_at"] == datetime(2023, 12, 31, 10, tzinfo=UTC)
    assert found.kept["b"]["is_ambiguous"] is False
    assert [q["city"] for q in found.quarantined] == ["Oslo", "Oslo"]
    assert {tuple(q["failed_rules"]) for q in found.quarantined} == {("contradictory",)}
    assert all('"city":"Rome"' in q["kept_variant"] for q in found.quarantined)
    assert found.received() == 4


def test_a_value_against_a_missing_one_is_no_dispute(spark: "SparkSession") -> None:
    found = clean_users(spark, user("a", city="Rome"), user("a", first_name="Ann"))
    row = found.kept["a"]
    assert (row["city"], row["first_name"]) == ("Rome", "Ann")
    assert (row["is_ambiguous"], row["received_rows"]) == (False, 2)
    assert found.quarantined == []


def test_a_later_load_supersedes_what_an_earlier_one_said(spark: "SparkSession") -> None:
    found = clean_users(
        spark,
        user("a", city="Rome"), user("a", city="Oslo"), user("a", city="Bern", load=1),
        user("b", city="Rome", load=1), user("b", city="Oslo"),
    )  # fmt: skip
    assert {name: row["city"] for name, row in found.kept.items()} == {"a": "Bern", "b": "Rome"}
    assert [row["is_ambiguous"] for row in found.rows] == [False, False]
    assert found.quarantined == []
    assert found.received() == 5


def test_rows_of_a_foreign_shop_which_does_not_number_them_are_cleaned_alike(
    spark: "SparkSession",
) -> None:
    given = [
        user("a", city="Rome"),
        user("a", city="Rome"),
        user("b", city="x"),
        user("b", city="y"),
    ]
    table = raw("users", given)
    for name in ("_row_id", "_received_at"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.nulls(4, table.schema.field(name).type))
    found = Cleaned(users.clean(spark.createDataFrame(table), "US"), "user_id")
    assert (found.kept["a"]["received_rows"], found.kept["b"]["is_ambiguous"]) == (2, True)
    assert found.received() == 4


def test_a_code_is_typed_and_a_disputed_discount_is_unknown(spark: "SparkSession") -> None:
    found = clean_codes(
        spark,
        {"promo_code": " A ", "discount_type": "Percentage", "discount_value": "12.5",
         "min_purchase_amount": "x", "valid_from": "2024-01-01", "max_uses_per_user": "3"},
        {"promo_code": "B", "discount_type": "free lunch", "discount_value": "10"},
        {"promo_code": "C", "discount_type": "percentage", "discount_value": "12,5"},
        {"promo_code": "B", "discount_type": "free lunch", "discount_value": "15"},
        {"promo_code": "", "discount_value": "1"},
    )  # fmt: skip
    a = found.kept["A"]
    assert (a["discount_type"], a["discount_value"]) == ("percentage", Decimal("12.50"))
    assert (a["min_purchase_amount"], a["valid_until"], a["max_uses_per_user"]) == (None, None, 3)
    assert a["valid_from"] == datetime(2024, 1, 1, tzinfo=UTC)
    assert not a["is_terms_valid"]
    assert '"min_purchase_amount":"x"' in a["terms_received"]
    c = found.kept["C"]
    assert (c["discount_value"], c["is_terms_valid"]) == (Decimal("12.50"), True)
    b = found.kept["B"]
    assert (b["discount_type"], b["discount_value"], b["is_ambiguous"]) == (None, None, True)
    assert sorted(q["failed_rules"][0] for q in found.quarantined) == [
        "contradictory", "promo_code_missing",
    ]  # fmt: skip


def test_a_rule_whose_answer_is_unknown_is_met_unless_it_is_required(
    spark: "SparkSession",
) -> None:
    frame = spark.createDataFrame(pa.table({"n": pa.array([1, -1, None], pa.int64())}))
    for required, kept, bad in ((False, [None, 1], [-1]), (True, [1], [None, -1])):
        split = rules.split_by_rules(frame, [Rule("positive", "n > 0", "no", required=required)])
        order = {None: -9}
        assert sorted((r.n for r in split.kept.collect()), key=lambda n: order.get(n, n)) == kept
        assert (
            sorted((r.n for r in split.quarantined.collect()), key=lambda n: order.get(n, n)) == bad
        )


# the assets ------------------------------------------------------------------------------------


def receive(lakehouse: Lakehouse, **tables: Sequence[Row] | pa.Table) -> None:
    """Write raw tables, as the next version of what the shop holds."""
    for name, given in tables.items():
        table = given if isinstance(given, pa.Table) else raw(name, given)
        version = str(lakehouse.tables.stamp(f"raw/{name}").get("data_version", "")) + "+"
        lakehouse.overwrite(f"raw/{name}", table, stamp={"data_version": version})


def run(*assets: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        list(assets or ASSETS),
        instance=dg.DagsterInstance.ephemeral(),
        resources={"lakehouse": Lakehouse(), "window": Window()},
        raise_on_error=False,
    )


def failed_checks(result: dg.ExecuteInProcessResult) -> list[str]:
    assert result.success, [
        first_cause(e.step_failure_data) for e in result.get_step_failure_events()
    ]
    return [e.check_name for e in result.get_asset_check_evaluations() if not e.passed]


WAITING = "SELECT array_to_string(failed_rules, ' ') AS r FROM quarantine.promo_usages ORDER BY r"


def test_usages_wait_in_quarantine_for_their_user_and_code_and_leave_when_they_come(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_MAX_BAD_SHARE", "1")
    given = [
        usage("a"), usage("a", used_promo="yes", at="2023-12-31"), usage("late"),
        usage("a", "NEW"), usage(None), usage("a", None), usage("a", at="never"), usage("b", "B"),
    ]  # fmt: skip
    codes = [{"promo_code": "A", "discount_value": "1"}, {"promo_code": "A", "discount_value": "2"}]
    receive(lakehouse, users=[user("a")], promo_codes=codes, promo_usages=given)
    assert failed_checks(run()) == []
    tables = lakehouse.tables
    assert tables.sql(WAITING)["r"].to_pylist() == [
        "promo_code_missing", "promo_code_unknown", "used_at_unreadable", "user_id_missing",
        "user_unknown", "user_unknown promo_code_unknown",
    ]  # fmt: skip
    shown = "SELECT used_at::DATE::VARCHAR AS day, used_promo, is_before_registration AS early FROM"
    assert tables.sql(f"{shown} cleaned.promo_usages ORDER BY 1").to_pylist() == [
        {"day": "2023-12-31", "used_promo": True, "early": True},
        {"day": "2024-01-02", "used_promo": None, "early": False},
    ]
    receive(lakehouse, users=[user("a"), user("late")])
    assert failed_checks(run()) == []
    assert tables.sql(WAITING)["r"].to_pylist().count("user_unknown") == 0
    assert tables.scalar("SELECT count(*) FROM cleaned.promo_usages WHERE user_id = 'late'") == 1
    versions = {key: tables.version(key) for key in ("cleaned/users", "cleaned/promo_usages")}
    assert failed_checks(run()) == []
    assert {key: tables.version(key) for key in versions} == versions


def test_usages_of_an_ambiguous_user_and_code_stay_once(lakehouse: Lakehouse) -> None:
    receive(
        lakehouse,
        users=[user("a", city="x"), user("a", city="y"), *(user(f"u{n}") for n in range(6))],
        promo_codes=[
            {"promo_code": "A", "discount_value": str(n % 2)} for n in range(2)
        ] + [{"promo_code": f"C{n}"} for n in range(6)],
        promo_usages=[usage("a"), usage("a"), usage("a", at="2024-01-03")],
    )  # fmt: skip
    assert failed_checks(run()) == []
    found = lakehouse.tables.sql("SELECT received_rows FROM cleaned.promo_usages ORDER BY used_at")
    assert found["received_rows"].to_pylist() == [2, 1]
    ambiguous = "SELECT count(*) FROM cleaned.{} WHERE is_ambiguous"
    assert lakehouse.tables.scalar(ambiguous.format("users")) == 1
    assert lakehouse.tables.scalar(ambiguous.format("promo_codes")) == 1


def test_too_many_bad_rows_fail_with_numbers_and_leave_the_table_as_it_was(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [user(f"u{n}") for n in range(3)]
    receive(lakehouse, users=[*good, user(None)])
    assert failed_checks(run(users.users)) == []  # a quarter is allowed
    receive(lakehouse, users=[*good, user("new"), user(None), user(None)])
    result = run(users.users)
    assert not result.success
    (event,) = result.get_step_failure_events()
    said = first_cause(event.step_failure_data)
    assert "2 of 6 rows of raw/users (33.3%) cannot be used; allowed are 25.0%" in said
    assert lakehouse.tables.version("cleaned/users") == 0
    assert lakehouse.tables.dataset("quarantine/users").count_rows() == 2
    monkeypatch.setenv("DMP_MAX_BAD_SHARE", "0.5")
    assert failed_checks(run(users.users)) == []
    assert lakehouse.tables.dataset("cleaned/users").count_rows() == 4


def test_empty_tables_are_cleaned_to_empty_tables(lakehouse: Lakehouse) -> None:
    receive(lakehouse, users=[], promo_codes=[], promo_usages=[])
    assert failed_checks(run()) == []
    for name in ("users", "promo_codes", "promo_usages"):
        for layer in ("cleaned", "quarantine"):
            assert lakehouse.tables.dataset(f"{layer}/{name}").count_rows() == 0


def test_the_same_input_twice_gives_the_same_tables(lakehouse: Lakehouse) -> None:
    given = {"users": [user("a", city="x"), user("a", city="y"), user("b"), user("c"), user("d")],
             "promo_codes": [{"promo_code": "A"}],
             "promo_usages": [usage("a"), usage("a")]}  # fmt: skip
    seen = []
    for _ in range(2):
        receive(lakehouse, **given)
        assert failed_checks(run()) == []
        seen.append(
            [
                lakehouse.tables.sql(query).to_pylist()
                for query in (
                    "SELECT * FROM cleaned.users ORDER BY ALL",
                    "SELECT * FROM cleaned.promo_usages ORDER BY ALL",
                    "SELECT * EXCLUDE (quarantined_at) FROM quarantine.users ORDER BY ALL",
                )
            ]
        )
    assert seen[0] == seen[1]


@pytest.mark.parametrize(("seed", "size"), [(1, "home"), (2, "large")])
def test_of_any_dirt_no_row_falls_between_kept_duplicates_and_quarantine(
    request: pytest.FixtureRequest,
    lakehouse: Lakehouse,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    size: str,
) -> None:
    request.getfixturevalue(size)
    monkeypatch.setenv("DMP_MAX_BAD_SHARE", "1")
    dice = random.Random(seed)
    words = [None, "", " ", "a", "A", "b", "0", "-1", "NaN", "null", "\\N", "'", '"', "é",
             "2024-01-01", "2024-01-01 10:00:00", "01/02/2024 10:00", "1709273107", "1e400",
             "9" * 30, "a@x.org", "+14154421542", "1.2.3.4", "percentage", "true", "x" * 2000,
             ]  # fmt: skip
    keys = {"user_id": ["a", "b", " a ", None, "c"], "promo_code": ["A", "B", "", "A "]}
    given = {
        name: [
            {column: dice.choice(keys.get(column, words)) for column in TABLES[name].columns}
            | {"load": dice.choice([0, 0, 1])}
            for _ in range(150)
        ]
        for name in ("users", "promo_codes", "promo_usages")
    }
    for rows in given.values():
        rows += [dict(dice.choice(rows)) for _ in range(20)]
    receive(lakehouse, **given)
    # drawn at random, times tell of no one order, and few values can be read
    assert set(failed_checks(run())) <= {"columns_unambiguous", "columns_read"}
    for name in given:
        kept = f"SELECT coalesce(sum(received_rows), 0)::BIGINT FROM cleaned.{name}"
        bad = f"SELECT count(*) FROM quarantine.{name}"
        assert lakehouse.tables.scalar(kept) + lakehouse.tables.scalar(bad) == 170


# whole shops -----------------------------------------------------------------------------------


def exported(folder: Path) -> dict[str, pa.Table]:
    """The CSV exports of a folder as raw tables."""
    found = {}
    for name in ("users", "promo_codes", "promo_usages"):
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            found[name] = raw(name, [
                {key: value or None for key, value in row.items()} for row in csv.DictReader(file)
            ])  # fmt: skip
    return found


def test_what_becomes_of_each_row_of_a_simulated_shop_is_what_its_ledger_says(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    made = demo.generate(tmp_path, users=1000, seed=7, end=date(2024, 3, 31), dirt=1.5)
    given = exported(made.export)
    receive(lakehouse, **given)
    assert failed_checks(run()) == []
    tables = lakehouse.tables
    with duckdb.connect() as connection:
        book: dict[tuple[str, str], int] = {
            (table, rule): count
            for table, rule, count in connection.execute(
                'SELECT "table", rule, count(*) FROM read_parquet(?) GROUP BY ALL',
                [str(made.truth / "ledger.parquet")],
            ).fetchall()
        }
    for name, received in given.items():
        rows = tables.sql(f"SELECT unnest(failed_rules) AS rule FROM quarantine.{name}")["rule"]
        failed = {rule: rows.to_pylist().count(rule) for rule in set(rows.to_pylist())}
        noted = {
            rule: book[name, rule]
            for rule in (*UNUSABLE[name], "contradictory")
            if (name, rule) in book
        }
        assert failed == noted, name
        twice = tables.scalar(f"SELECT sum(received_rows - 1)::BIGINT FROM cleaned.{name}")
        assert twice == book[name, "duplicate"], name
        kept = tables.dataset(f"cleaned/{name}").count_rows()
        assert kept == len(received) - twice - len(rows), name
        ambiguous = tables.scalar(f"SELECT count(*) FROM cleaned.{name} WHERE is_ambiguous")
        assert ambiguous == book[name, "contradictory"], name
    early = tables.scalar("SELECT count(*) FROM cleaned.promo_usages WHERE is_before_registration")
    assert early == book["promo_usages", "used_before_registration"]
    for column in ("email", "ip"):
        invalid = f"SELECT count(*) FROM cleaned.users WHERE is_{column}_valid = false"
        assert tables.scalar(invalid) == book["users", f"{column}_malformed"], column


@pytest.mark.given_data
def test_the_real_export_keeps_every_usage_once(lakehouse: Lakehouse) -> None:
    receive(lakehouse, **exported(NOAAT))
    assert failed_checks(run()) == []
    tables = lakehouse.tables
    assert tables.dataset("cleaned/promo_codes").count_rows() == 947
    assert tables.dataset("quarantine/promo_codes").count_rows() == 53
    assert tables.sql(
        "SELECT count(*) AS kept, count(DISTINCT (user_id, promo_code, used_at)) AS once, "
        "sum(received_rows)::BIGINT AS received FROM cleaned.promo_usages"
    ).to_pylist() == [{"kept": 8091, "once": 8091, "received": 8091}]
    assert tables.dataset("quarantine/promo_usages").count_rows() == 0
