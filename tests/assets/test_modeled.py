"""The modeled layer on Spark, DuckDB and Delta: daily tables, usage tables, links and clusters."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import pyarrow as pa
import pytest

from dmp_assets.abuse.tables import (
    account_clusters,
    account_links,
    promo_usage_by_code,
    promo_usage_by_user,
    promo_usage_daily,
    registrations_daily,
)
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.window import Window

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TIME = pa.timestamp("us", tz="UTC")
START = datetime(2024, 1, 1, tzinfo=UTC)
USERS = pa.schema(
    [
        ("user_id", pa.string()),
        ("created_at", TIME),
        ("email", pa.string()),
        ("email_domain", pa.string()),
        ("is_email_verified", pa.bool_()),
        ("phone", pa.string()),
        ("is_phone_verified", pa.bool_()),
        ("first_name", pa.string()),
        ("last_name", pa.string()),
        ("date_of_birth", pa.date32()),
        ("ip", pa.string()),
        ("ip_prefix", pa.string()),
        ("device_id", pa.string()),
        ("user_agent_received", pa.string()),
        ("is_abuser", pa.bool_()),
    ]
)
CODES = pa.schema(
    [
        ("promo_code", pa.string()),
        ("discount_type", pa.string()),
        ("discount_value", pa.decimal128(12, 2)),
        ("min_purchase_amount", pa.decimal128(12, 2)),
        ("valid_from", TIME),
        ("valid_until", TIME),
        ("max_uses_per_user", pa.int32()),
    ]
)
USAGES = pa.schema(
    [
        ("user_id", pa.string()),
        ("promo_code", pa.string()),
        ("used_at", TIME),
        ("used_promo", pa.bool_()),
    ]
)
MODELED = [
    registrations_daily.registrations_daily,
    promo_usage_daily.promo_usage_daily,
    promo_usage_by_user.promo_usage_by_user,
    promo_usage_by_code.promo_usage_by_code,
    account_links.account_links,
    account_clusters.account_clusters,
]


def at(days: float = 0, **more: float) -> datetime:
    return START + timedelta(days=days, **more)


def rows(schema: pa.Schema, *given: dict[str, Any]) -> pa.Table:
    """Rows of a cleaned table; what is not given is null."""
    return pa.Table.from_pylist(list(given), schema=schema)


def user(user_id: str, days: float = 0, **attributes: Any) -> dict[str, Any]:
    return {"user_id": user_id, "created_at": at(days), **attributes}


def usage(user_id: str, code: str, days: float, granted: bool | None = True) -> dict[str, Any]:
    return {"user_id": user_id, "promo_code": code, "used_at": at(days), "used_promo": granted}


def link(*users: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The links of these users, by pair."""
    with duckdb.connect() as connection:
        connection.register("given", rows(USERS, *users))
        connection.execute("CREATE SCHEMA cleaned; CREATE VIEW cleaned.users AS FROM given")
        found = connection.sql(account_links.links_sql()).to_arrow_table()
    assert found.column_names == list(account_links.COLUMNS)
    return {(row["user_a"], row["user_b"]): row for row in found.to_pylist()}


def clusters(order: Sequence[str], *pairs: tuple[str, str]) -> pa.Table:
    """Clusters of users in order of registration, linked by pairs of weight 1.

    Nobody is verified, so an account sees those before it only.
    """
    members = [name for name in order if any(name in pair for pair in pairs)]
    return account_clusters.clusters(
        pa.table(
            {
                "user_id": pa.array(members, pa.string()),
                "created": pa.array(range(len(members)), pa.int64()),
                "is_verified": pa.array([False] * len(members), pa.bool_()),
            }
        ),
        pa.table(
            {
                "left": pa.array([members.index(a) for a, _ in pairs], pa.int64()),
                "right": pa.array([members.index(b) for _, b in pairs], pa.int64()),
                "weight": pa.array([1.0] * len(pairs), pa.float64()),
                "against_left": pa.array(
                    [float(members.index(b) < members.index(a)) for a, b in pairs], pa.float64()
                ),
                "against_right": pa.array(
                    [float(members.index(a) < members.index(b)) for a, b in pairs], pa.float64()
                ),
            }
        ),
    )


# links ---------------------------------------------------------------------------------------


def test_a_family_on_one_device_is_linked_pair_by_pair() -> None:
    found = link(*(user(name, days=100 * n, device_id="d") for n, name in enumerate("abcd")))
    assert len(found) == 6
    assert all(row["shared"] == ["device"] for row in found.values())
    assert len({row["weight"] for row in found.values()}) == 1


def test_a_campus_address_of_500_people_links_nobody() -> None:
    people = [
        user(f"{n:03}", n / 1440, ip="141.20.1.1", ip_prefix="141.20.1.0/24",
             user_agent_received=f"browser {n % 3}", device_id=f"d{n}")
        for n in range(500)
    ]  # fmt: skip
    assert link(*people) == {}


def test_two_on_a_campus_that_share_a_device_are_linked_by_the_device_alone() -> None:
    people = [
        user(f"{n:03}", n / 1440, ip="141.20.1.1", device_id=f"d{max(n, 1)}") for n in range(500)
    ]
    found = link(*people)
    assert list(found) == [("000", "001")]
    assert found["000", "001"]["shared"] == ["device"]


def test_links_grow_linearly_with_the_holders_of_a_value_and_keep_them_together() -> None:
    found = link(*(user(f"{n:02}", n, device_id="farm") for n in range(50)))
    assert len(found) == 4 * 50 - 10
    names = sorted({name for pair in found for name in pair})
    assert set(clusters(names, *found)["cluster_id"].to_pylist()) == {"00"}


def test_a_household_address_links_only_registrations_near_in_time() -> None:
    found = link(
        user("a", 0, ip="84.1.2.3"), user("b", 20, ip="84.1.2.3"), user("c", 200, ip="84.1.2.3")
    )
    assert list(found) == [("a", "b")]


def test_a_rotating_address_with_one_browser_links_within_the_hour() -> None:
    def one(name: str, days: float, last: int) -> dict[str, Any]:
        return user(name, days, ip=f"84.1.2.{last}", ip_prefix="84.1.2.0/24",
                    user_agent_received="an odd browser")  # fmt: skip

    assert list(link(one("a", 0, 1), one("b", 0.02, 2), one("c", 0.5, 3))) == [("a", "b")]


def test_addresses_in_series_within_a_day_are_linked_and_namesakes_are_not() -> None:
    def one(name: str, days: float, email: str) -> dict[str, Any]:
        return user(name, days, email=email, email_domain=email.split("@")[1])

    found = link(
        one("a", 0.0, "offers001@mail.example"), one("b", 0.1, "offers002@mail.example"),
        one("c", 0.2, "ann.walker@mail.example"), one("d", 0.3, "ann.walker@other.example"),
        one("e", 0.0, "ann1@mail.example"), one("f", 0.1, "ann2@mail.example"),
    )  # fmt: skip
    assert list(found) == [("a", "b")]
    assert found["a", "b"]["shared"] == ["email_series"]


def test_the_same_coincidence_is_not_counted_twice() -> None:
    same = {"ip": "84.1.2.3", "ip_prefix": "84.1.2.0/24", "user_agent_received": "a browser"}
    (both,) = link(user("a", 0, **same), user("b", 0.01, **same)).values()
    assert both["shared"] == ["ip", "network"]
    assert both["weight"] == pytest.approx(0.6)


def test_a_pair_is_weighed_on_all_that_it_shares() -> None:
    (both,) = link(
        user("a", 0, device_id="d", phone="+49151", email="ann@mail.example"),
        user("b", 9, device_id="d", phone="+49151", email="bob@mail.example"),
    ).values()
    assert both["shared"] == ["device", "phone"]
    assert both["weight"] == pytest.approx(1.9)


def test_unknown_values_and_private_addresses_link_nobody() -> None:
    assert link(user("a"), user("b"), user("c", ip="10.0.0.1"), user("d", ip="10.0.0.1")) == {}


def test_no_users_have_no_links() -> None:
    assert link() == {}


# clusters ------------------------------------------------------------------------------------


def test_a_cluster_bears_the_id_of_its_earliest_member() -> None:
    found = clusters(["z", "m", "a", "k", "j"], ("a", "m"), ("m", "z"), ("k", "j"))
    assert found.schema == account_clusters.SCHEMA
    assert found.to_pydict() == {
        "user_id": ["z", "m", "a", "k", "j"],
        "cluster_id": ["z", "z", "z", "k", "k"],
        "cluster_size": [3, 3, 3, 2, 2],
        "links": [1, 2, 1, 1, 1],
        "link_weight": [1.0, 2.0, 1.0, 1.0, 1.0],
        "counted_size": [1, 2, 3, 1, 2],
        "counted_weight": [0.0, 1.0, 1.0, 0.0, 1.0],
    }


def test_no_links_make_an_empty_table_with_all_columns() -> None:
    found = clusters([])
    assert found.num_rows == 0
    assert found.schema == account_clusters.SCHEMA


def test_when_clusters_merge_the_older_id_survives_and_the_history_says_so() -> None:
    before = clusters("abcdef", ("a", "b"), ("c", "d"), ("d", "e"))
    after = clusters("abcdef", ("a", "b"), ("c", "d"), ("d", "e"), ("b", "e"))
    merged = account_clusters.merges(before, after, at(9))
    assert set(after["cluster_id"].to_pylist()) == {"a"}
    assert merged.to_pylist() == [
        {"cluster_id": "c", "merged_into": "a", "merged_at": at(9), "users": 3}
    ]
    assert account_clusters.merges(after, after, at(9)).num_rows == 0


def test_a_cluster_that_falls_apart_merged_into_none() -> None:
    before = clusters("abc", ("a", "b"), ("b", "c"))
    assert account_clusters.merges(before, clusters("abc", ("b", "c")), at(9)).num_rows == 0


def test_the_history_takes_each_merge_once() -> None:
    before = clusters("abcd", ("a", "b"), ("c", "d"))
    after = clusters("abcd", ("a", "b"), ("c", "d"), ("b", "c"))
    merged = account_clusters.merges(before, after, at(9))
    empty = account_clusters.HISTORY_SCHEMA.empty_table()
    once = account_clusters.with_merges(empty, merged)
    assert account_clusters.with_merges(once, merged) == once == merged
    later = account_clusters.merges(before, after, at(10))
    assert account_clusters.with_merges(once, later).num_rows == 2


# usage tables ----------------------------------------------------------------------------------


def test_days_are_utc_and_unknown_flags_count_as_no(spark: "SparkSession") -> None:
    people = rows(
        USERS,
        user("a", 0.999, is_email_verified=True, is_abuser=True),
        user("b", 1.0, is_phone_verified=True),
        user("c", 1.5),
    )
    found = registrations_daily.per_day(spark.createDataFrame(people)).orderBy("date").collect()
    assert [tuple(row) for row in found] == [
        (date(2024, 1, 1), 1, 1, 0, 1),
        (date(2024, 1, 2), 2, 0, 1, 0),
    ]


def test_a_user_has_exactly_one_first_usage_also_when_two_tie(spark: "SparkSession") -> None:
    usages = rows(USAGES, usage("a", "X", 1), usage("a", "Y", 1), usage("a", "X", 2),
                  usage("b", "X", 2))  # fmt: skip
    found = promo_usage_daily.per_day(spark.createDataFrame(usages)).orderBy("date").collect()
    assert [tuple(row) for row in found] == [
        (date(2024, 1, 2), 2, 1, 2, 1),
        (date(2024, 1, 3), 2, 2, 1, 1),
    ]


def codes_and_usages() -> tuple[pa.Table, pa.Table, pa.Table]:
    people = rows(USERS, user("a", 1), user("b", 1), user("idle", 1))
    codes = rows(
        CODES,
        {"promo_code": "TEN", "discount_type": "percentage", "discount_value": Decimal(10),
         "max_uses_per_user": 1, "valid_from": at(0), "valid_until": at(5)},
        {"promo_code": "TWENTY", "discount_type": "percentage", "discount_value": Decimal(20)},
        {"promo_code": "FIVE_OFF", "discount_type": "fixed_amount", "discount_value": Decimal(5)},
        {"promo_code": "UNUSED"},
    )  # fmt: skip
    usages = rows(
        USAGES,
        usage("a", "TEN", 0.5), usage("a", "TEN", 1.5), usage("a", "TEN", 6.0, granted=False),
        usage("a", "TWENTY", 30), usage("b", "FIVE_OFF", 1 + 1 / 1440, granted=None),
    )  # fmt: skip
    return people, codes, usages


def test_usage_of_a_user_is_counted_by_time_limit_and_validity(spark: "SparkSession") -> None:
    people, codes, usages = map(spark.createDataFrame, codes_and_usages())
    frame = promo_usage_by_user.per_user(usages, people, codes)
    assert frame.columns == list(promo_usage_by_user.COLUMNS)
    a, b = (row.asDict() for row in frame.orderBy("user_id").collect())
    times = ("first_used_at", "last_used_at")
    assert {name: value for name, value in a.items() if name not in times} == {
        "user_id": "a", "usages": 4, "codes": 2, "granted": 3, "minutes_to_first_use": -720.0,
        "usages_before_registration": 1, "usages_first_day": 1, "usages_first_week": 2,
        "usages_over_limit": 2, "usages_out_of_validity": 1, "mean_discount_percent": 12.5,
    }  # fmt: skip
    assert (b["usages"], b["granted"], b["usages_over_limit"]) == (1, 0, 0)
    assert b["minutes_to_first_use"] == 1.0
    assert b["mean_discount_percent"] is None


def test_a_code_that_was_never_used_has_its_row(spark: "SparkSession") -> None:
    _, codes, usages = map(spark.createDataFrame, codes_and_usages())
    frame = promo_usage_by_code.per_code(codes, usages)
    assert frame.columns == list(promo_usage_by_code.COLUMNS)
    found = {row["promo_code"]: row for row in frame.collect()}
    assert {code: (row["usages"], row["users"]) for code, row in found.items()} == {
        "TEN": (3, 1), "TWENTY": (1, 1), "FIVE_OFF": (1, 1), "UNUSED": (0, 0),
    }  # fmt: skip
    assert found["UNUSED"]["first_used_at"] is None


# the assets --------------------------------------------------------------------------------------


def put(lakehouse: Lakehouse, people: pa.Table, codes: pa.Table, usages: pa.Table) -> None:
    """Write the cleaned tables; their data version is their content's."""
    given = {"users": people, "promo_codes": codes, "promo_usages": usages}
    for name, table in given.items():
        lakehouse.overwrite(f"cleaned/{name}", table, stamp={"data_version": str(table)})


def materialize(
    lakehouse: Lakehouse, start: str = "", end: str = "", assets: Sequence[Any] = MODELED
) -> dg.ExecuteInProcessResult:
    result = dg.materialize(
        list(assets), resources={"lakehouse": lakehouse, "window": Window(start=start, end=end)}
    )
    assert result.success
    failed = [e.check_name for e in result.get_asset_check_evaluations() if not e.passed]
    assert failed == []
    return result


def unchanged(result: dg.ExecuteInProcessResult) -> set[bool]:
    events = result.get_asset_materialization_events()
    return {bool(event.materialization.metadata["unchanged"].value) for event in events}


def test_the_layer_is_written_once_and_left_alone_when_nothing_is_new(
    lakehouse: Lakehouse,
) -> None:
    people, codes, usages = codes_and_usages()
    put(lakehouse, people, codes, usages)
    assert unchanged(materialize(lakehouse)) == {False}
    tables = lakehouse.tables
    for name in ("daily", "by_user", "by_code"):
        assert tables.scalar(f"SELECT sum(usages) FROM modeled.promo_usage_{name}") == 5
    assert unchanged(materialize(lakehouse)) == {True}


def test_empty_inputs_give_empty_tables_with_their_columns(lakehouse: Lakehouse) -> None:
    put(lakehouse, rows(USERS), rows(CODES), rows(USAGES))
    materialize(lakehouse)
    for key, columns in {
        "registrations_daily": registrations_daily.COLUMNS,
        "promo_usage_daily": promo_usage_daily.COLUMNS,
        "promo_usage_by_user": promo_usage_by_user.COLUMNS,
        "promo_usage_by_code": promo_usage_by_code.COLUMNS,
        "account_links": account_links.COLUMNS,
        "account_clusters": account_clusters.COLUMNS,
        "account_cluster_history": account_clusters.HISTORY_COLUMNS,
    }.items():
        written = lakehouse.tables.dataset(f"modeled/{key}")
        assert written.schema.names == list(columns)
        assert written.count_rows() == 0
    weight = lakehouse.tables.columns("modeled/account_links")["weight"]
    assert "double" in weight


@pytest.mark.usefixtures("large")
def test_a_range_run_replaces_its_days_and_no_other(lakehouse: Lakehouse) -> None:
    days = [registrations_daily.registrations_daily]
    put(lakehouse, rows(USERS, user("a", 0), user("b", 1), user("c", 2)), rows(CODES), rows(USAGES))
    materialize(lakehouse, assets=days)
    more = [user(name, day) for day, name in enumerate("abc")] + [user("d", 1), user("e", 2)]
    put(lakehouse, rows(USERS, *more), rows(CODES), rows(USAGES))
    result = dg.materialize(
        days,
        resources={"lakehouse": lakehouse, "window": Window(start="2024-01-02", end="2024-01-02")},
    )
    (differs,) = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert (result.success, differs.check_name) == (True, "sums_agree")
    counted = "SELECT registrations FROM modeled.registrations_daily ORDER BY date"
    assert lakehouse.tables.sql(counted)["registrations"].to_pylist() == [1, 2, 1]
    materialize(lakehouse, assets=days)
    assert lakehouse.tables.sql(counted)["registrations"].to_pylist() == [1, 2, 2]


def test_a_merge_of_clusters_is_recorded_once_over_repeated_runs(lakehouse: Lakehouse) -> None:
    assets = [account_links.account_links, account_clusters.account_clusters]
    apart = [user("old", 0, device_id="x"), user("b", 1, device_id="x"),
             user("c", 2, device_id="y", phone="+1"), user("a", 3, device_id="y")]  # fmt: skip
    bridge = user("new", 4, device_id="x", phone="+1")

    def history() -> list[tuple[str, str, int]]:
        found = lakehouse.tables.sql("SELECT * FROM modeled.account_cluster_history").to_pylist()
        return [(row["cluster_id"], row["merged_into"], row["users"]) for row in found]

    for people, expected in (
        (apart, []),
        ([*apart, bridge], [("c", "old", 2)]),
        ([*apart, bridge, user("other", 5)], [("c", "old", 2)]),
    ):
        put(lakehouse, rows(USERS, *people), rows(CODES), rows(USAGES))
        materialize(lakehouse, assets=assets)
        assert history() == expected
    ids = "SELECT DISTINCT cluster_id FROM modeled.account_clusters"
    assert lakehouse.tables.sql(ids)["cluster_id"].to_pylist() == ["old"]


def test_a_run_killed_between_history_and_clusters_records_the_merge_once(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = [account_links.account_links, account_clusters.account_clusters]
    apart = [user("a", 0, device_id="x"), user("b", 1, device_id="x"),
             user("c", 2, device_id="y", phone="+1"), user("d", 3, device_id="y")]  # fmt: skip
    put(lakehouse, rows(USERS, *apart), rows(CODES), rows(USAGES))
    materialize(lakehouse, assets=assets)
    together = [*apart, user("e", 4, device_id="x", phone="+1")]
    put(lakehouse, rows(USERS, *together), rows(CODES), rows(USAGES))
    materialize(lakehouse, assets=assets)
    # as a run leaves it that ended before the second write: the clusters are still the old ones
    tables = lakehouse.tables
    first = tables.dataset("modeled/account_clusters", 0).to_table()
    stale = {"data_version": "stale", "fingerprint": "stale"}
    lakehouse.overwrite("modeled/account_clusters", first, stamp=stale)
    materialize(lakehouse, assets=assets)
    assert tables.scalar("SELECT count(*) FROM modeled.account_cluster_history") == 1
    assert tables.scalar("SELECT count(DISTINCT cluster_id) FROM modeled.account_clusters") == 1
