"""One account's view out of the index, against the SQL that makes it for all accounts."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_assets.abuse.model import keys, snapshot, view
from dmp_assets.abuse.model.index import AccountIndex, LiveAccount
from dmp_assets.abuse.model.received import normal_form
from dmp_assets.cleaned.shop import users
from dmp_assets.home import Home
from dmp_assets.identity.evidence import LEAST_CROWD
from dmp_assets.platform.cleaning import normalise
from tests.support import accounts, model_quality, serving

HELD_OUT = 300
NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(
    scope="module", params=["simulated", pytest.param("real", marks=pytest.mark.given_data)]
)
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[duckdb.DuckDBPyConnection]:
    if request.param == "real":
        connection = accounts.shop(accounts.received(model_quality.REAL))
    else:
        connection = serving.simulated(tmp_path_factory.mktemp("shop"), users=1_500)
    yield connection
    connection.close()


def views(c: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    rows = c.sql(view.account_view_sql()).to_arrow_table().cast(view.VIEW).to_pylist()
    return {row["user_id"]: row for row in rows}


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        name: (found[name], value)
        for name, value in wanted.items()
        if found[name] != value and found[name] != pytest.approx(value, abs=1e-12)
    }


def test_accounts_old_and_new_are_seen_as_the_tables_would_see_them(
    shop: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    users = shop.sql("SELECT user_id FROM cleaned.users ORDER BY md5(user_id)").fetchall()
    new = [user for (user,) in users[:HELD_OUT]]
    shop.register("new_ones", pa.table({"user_id": new}))
    rows = shop.sql("FROM cleaned.users SEMI JOIN new_ones USING (user_id)").to_arrow_table()
    before = serving.without(shop, new)
    home = Home(tmp_path / "home").prepare("sandbox")
    serving.write_snapshot(home, before)
    index = AccountIndex(serving.opened(home))
    live = rows.to_pylist()
    random.Random(1).shuffle(live)
    for row in live:
        index.put(LiveAccount.of(row))

    # the tables, had the new ones been in them without a redemption
    for name in ("cleaned.users",):
        before.register("rows_", rows)
        before.execute(f"INSERT INTO {name} BY NAME FROM rows_")
    accounts.link(before)
    wanted = views(before)
    assert len(wanted) == len(index) == len(users)
    for user in [*new, *random.Random(2).sample(sorted(set(wanted) - set(new)), 300)]:
        number = index.number(user)
        assert number is not None
        assert differences(index.view_of(number), wanted[user]) == {}, user
    linked = [index.number(user) for user in new if wanted[user]["links"]]
    assert linked

    # and without them again
    for user in new:
        index.remove(user)
    untouched = views(serving.without(shop, new))
    for user in random.Random(3).sample(sorted(untouched), 200):
        number = index.number(user)
        assert number is not None and not index.touched(number)
        assert differences(index.view_of(number), untouched[user]) == {}, user


def test_the_same_account_again_replaces_itself_and_never_links_to_itself() -> None:
    index = AccountIndex()
    for _ in range(5):
        number = index.put(LiveAccount.of(_account("a", device_id="d", email="ann@shop.example")))
    assert len(index) == 1
    assert index.view_of(number)["device_accounts"] == 1
    assert index.neighbours(number) == []
    index.put(LiveAccount.of(_account("b", device_id="d")))
    assert [index.id_of(n) for n in index.neighbours(number)] == ["b"]
    index.remove("a")
    assert index.view_of(index.number("b") or 0)["device_accounts"] == 1


def test_a_cluster_shows_its_members_links_and_size() -> None:
    index = AccountIndex()
    for n in range(9):
        index.put(LiveAccount.of(_account(f"a{n}", device_id="d", at=n)))
    cluster = index.cluster("a4", at_most=5)
    assert cluster.size == 9
    assert cluster.members[0] == "a4" and len(cluster.members) == 5
    assert all({link.a, link.b} <= set(cluster.members) for link in cluster.links)
    assert {link.shared for link in cluster.links} == {("device",)}
    with pytest.raises(KeyError):
        index.cluster("nobody")


def test_accounts_are_found_by_whatever_a_person_types() -> None:
    index = AccountIndex()
    index.put(
        LiveAccount.of(
            normal_form(
                "a-1",
                {"email": "Ann.Lee+x@gmail.com", "phone": "+1 202 555 0143", "ip": "2001:db8::7",
                 "device_id": "D-1"},
                datetime(2024, 3, 1, tzinfo=UTC), "US",
            )
        )
    )  # fmt: skip
    for text in (
        "a-1", "annlee@gmail.com", " ANNLEE@googlemail.com ", "(202) 555-0143", "D-1",
        "2001:0db8:0::7",
    ):  # fmt: skip
        assert index.search(text) == ["a-1"], text
    assert index.search("bob@gmail.com") == []
    assert index.search("") == []


def _account(name: str, *, at: int = 0, **received: Any) -> dict[str, Any]:
    return normal_form(name, received, datetime(2024, 3, 1, 12, at, tzinfo=UTC), "US")


_NAMES = st.one_of(
    st.none(),
    st.text(alphabet="aZ éßİŉǅΣ'-09\u00a0", max_size=6),
    st.sampled_from(["Ann", "ANN", "ann", " Ann ", "Al", "AL", "İnci", "Strauß", "Ǆ", "1", "?"]),
)
_MAILS = st.one_of(
    st.none(),
    st.sampled_from(
        ["ann.lee1@gmail.com", "shop0017@mail.example", "ann+7@mail.example", "a1@b.example",
         "1234abcd5@mail.example", "x@", "ab12cd34@mail.example"]
    ),
    st.from_regex(r"[a-z0-9.+]{1,12}@(gmail|mail)\.(com|org)", fullmatch=True),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            _NAMES, _NAMES, _MAILS,
            st.sampled_from([None, "+12025550143", "12", "555-0143 x9", "٣٤٥٦٧٨٩", "0000000"]),
            st.sampled_from([None, "10.1.2.3", "172.16.0.1", "172.32.0.1", "8.8.8.8",
                             "2001:db8::1", "fd00::1", "::ffff:8.8.8.8", "x"]),
            st.sampled_from([None, "", "curl/8.1", "Mozilla/5.0"]),
            st.dates(),
        ),
        min_size=20, max_size=60,
    )
)  # fmt: skip
def test_keys_in_python_are_those_in_sql(rows: list[tuple[Any, ...]]) -> None:
    people = []
    for first, last, mail, phone, ip, agent, born in rows:
        email, number, address = normalise.email(mail), normalise.phone(phone), normalise.ip(ip)
        people.append({
            "first_name": first, "last_name": last, "email": email.canonical,
            "email_domain": email.domain, "phone_received": phone, "phone": number.e164,
            "ip": address.address, "ip_prefix": address.prefix, "user_agent_received": agent,
            "date_of_birth": born, "device_id": first, "city": last, "timezone": None,
        })  # fmt: skip
    columns = ", ".join(f"{keys.key_sql(sql)} AS {name}" for name, sql in keys.SQL.items())
    schema = pa.schema(
        [(name, pa.date32() if name == "date_of_birth" else pa.string()) for name in people[0]]
    )
    with duckdb.connect() as c:
        c.register("people", pa.Table.from_pylist(people, schema=schema))
        wanted = {"": c.sql(f"SELECT {columns} FROM people").fetchall()}
        c.execute(f"SET VARIABLE {keys.SQL_VARIABLE} = 'a secret'")
        wanted["a secret"] = c.sql(f"SELECT {columns} FROM people").fetchall()
    for secret, rows_ in wanted.items():
        for person, in_sql in zip(people, rows_, strict=True):
            assert keys.keys_of(person, secret) == in_sql, person


def test_a_damaged_snapshot_is_named_with_what_to_do(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").prepare("sandbox")
    assert serving.opened(home).size == 0
    serving.write_snapshot(home, serving.simulated(tmp_path / "shop", users=300))
    assert serving.opened(home).size > 250
    (home.serving / "v1" / "index.arrow").write_bytes(b"not arrow")
    with pytest.raises(snapshot.SnapshotError, match="materialize published/account_snapshot"):
        serving.opened(home)


def test_old_versions_of_the_snapshot_are_removed_but_not_the_last(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").prepare("sandbox")
    shop = serving.simulated(tmp_path / "shop", users=300)
    for version in ("v1", "v2", "v3"):
        serving.write_snapshot(home, shop, version)
    assert snapshot.current(home.serving) == "v3"
    kept = {path.parent.name for path in home.serving.glob("*/snapshot.json")}
    assert kept == {"v2", "v3"}


CROWDED = {
    "device_id": "some-form", "email": "till@shop.example", "phone": "+12025550143",
    "first_name": "Web", "last_name": "Order", "date_of_birth": date(1970, 1, 1),
}  # fmt: skip


@pytest.mark.parametrize("holders", [LEAST_CROWD, LEAST_CROWD + 1])
def test_a_value_that_far_too_many_hold_is_no_identity_in_the_tables_and_in_the_index(
    tmp_path: Path, holders: int
) -> None:
    people = [
        _account(f"a{n:03}", at=n % 60, ip=f"84.1.{n % 9}.{n % 3}", city="Rome")
        | ({name: CROWDED[name] for name in CROWDED} if n < holders else {"device_id": f"d{n}"})
        for n in range(120)
    ]
    shop = accounts.empty()
    home = Home(tmp_path / "home").prepare("sandbox")
    accounts.add(shop, people[::2])
    accounts.link(shop)
    serving.write_snapshot(home, shop)
    index = AccountIndex(serving.opened(home))
    for row in people[1::2]:
        index.put(LiveAccount.of(row))
    accounts.add(shop, people[1::2])
    accounts.link(shop)
    wanted = views(shop)
    for user, row in wanted.items():
        number = index.number(user)
        assert number is not None
        assert differences(index.view_of(number), row) == {}, user
    crowded = wanted[f"a{holders - 1:03}"]  # the last of them: it sees all that came before
    shared = [crowded[name] for name in ("device_accounts", "email_accounts", "phone_accounts")]
    assert shared == [1 if holders > LEAST_CROWD else holders] * 3
    assert crowded["identity_accounts"] == 1, "20 namesakes of one birthday are none"
    assert (crowded["links"] is None) == (holders > LEAST_CROWD)
    (crowds,) = shop.sql(users.CROWDS).fetchall()
    assert crowds[0] == 4 and f"device so…: {holders} accounts" in crowds[2]
    assert "some-form" not in crowds[2] and "till@" not in crowds[2]


def _shop_of(devices: list[str]) -> duckdb.DuckDBPyConnection:
    """An account for each device id as received, with nothing else in common."""
    people = [
        normal_form(f"a{n:03}", {"device_id": device}, NOW + timedelta(days=n), "US")
        for n, device in enumerate(devices)
    ]
    shop = accounts.empty()
    accounts.add(shop, people)
    accounts.link(shop)
    return shop


def test_words_for_nothing_of_any_language_link_nobody() -> None:
    words = ["無し", "－", "ー", "ＮＵＬＬ", "該当なし", "n.v.t.", "<nil>"]
    shop = _shop_of([device for word in words for device in [word] * 12])
    assert shop.sql("SELECT count(*), count(device_id) FROM cleaned.users").fetchall() == [(84, 0)]
    assert shop.sql("FROM modeled.account_links").fetchall() == []


def test_what_most_of_a_small_shop_hold_is_named_and_a_ring_is_found() -> None:
    unknown = _shop_of(["geraet-leer"] * 40 + [f"d{n}" for n in range(80)])
    assert unknown.sql(users.CROWDS).fetchall() == [(1, 40, "device ge…: 40 accounts")]
    ring = _shop_of(["one"] * 30 + [f"d{n}" for n in range(370)])
    assert ring.sql(users.CROWDS).fetchall() == [(0, 0, None)]
    (found,) = ring.sql("SELECT max(links) FROM modeled.account_clusters").fetchall()
    assert found[0] >= 4


def test_accounts_without_a_device_behind_one_address_are_no_farm() -> None:
    index = AccountIndex()
    for n in range(8):
        index.put(LiveAccount.of(_account(f"a{n}", at=n, ip="84.1.2.3")))
    assert index.view_of(index.number("a7") or 0)["ip_devices"] == 8
