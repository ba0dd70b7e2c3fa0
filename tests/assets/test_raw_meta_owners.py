"""raw/meta_accounts: an account is of one advertiser; what a wrong tick brought is taken back."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.connect.errors import NeedsConsentError
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.tokens import Connections
from dmp_assets.platform.store import database
from dmp_assets.raw import meta as raw
from dmp_assets.sources.meta import removed
from tests.assets.test_raw_meta import (
    Sql,
    connect,  # noqa: F401
    home,  # noqa: F401
    meta,  # noqa: F401
    problems,
    run,
    sql,  # noqa: F401
    store_url,  # noqa: F401
    versions,
)
from tests.support.meta import BERLIN, TOKYO, Meta

OF_WHOM = """
    SELECT advertiser_id, list(DISTINCT account_id ORDER BY account_id)
    FROM raw.meta_campaigns GROUP BY 1 ORDER BY 1
"""


def healths(
    store_url: SecretStr,  # noqa: F811
    home: Home,  # noqa: F811
) -> dict[str, str | None]:
    """Advertiser → the kind of the last failure of its connection."""
    store = database.engine(store_url)
    found = {o.account: o.last_failure_kind for o in Connections(store, KeyRing.of(home)).health()}
    store.dispose()
    return found


@pytest.mark.parametrize("are_read_between", [False, True])
def test_an_account_is_of_the_advertiser_that_connected_it_first(
    connect: Callable[..., None],  # noqa: F811
    sql: Sql,  # noqa: F811
    home: Home,  # noqa: F811
    store_url: SecretStr,  # noqa: F811
    meta: Meta,  # noqa: F811
    are_read_between: bool,
) -> None:
    connect("shop-2", accounts=(BERLIN,))
    meta.pass_(60)
    if are_read_between:
        run(raw.meta_accounts)
    connect("shop-1", accounts=(BERLIN, TOKYO))
    for _ in range(2):
        result = run(raw.meta_accounts, raw.meta_campaigns)
        assert sql(OF_WHOM) == [("shop-1", [TOKYO]), ("shop-2", [BERLIN])]
        assert problems(result) == {"raw/meta_accounts": True, "raw/meta_campaigns": False}
    assert healths(store_url, home) == {"shop-1": "account of another", "shop-2": None}
    meta.pass_(60)
    connect("shop-2", accounts=(BERLIN,))  # consents anew, which changes nothing
    run(raw.meta_accounts, raw.meta_campaigns)
    assert sql(OF_WHOM) == [("shop-1", [TOKYO]), ("shop-2", [BERLIN])]
    assert healths(store_url, home)["shop-2"] is None


def test_an_account_whose_advertiser_is_not_read_now_is_nobody_elses(
    meta: Meta,  # noqa: F811
    home: Home,  # noqa: F811
    connect: Callable[..., None],  # noqa: F811
    sql: Sql,  # noqa: F811
    store_url: SecretStr,  # noqa: F811
) -> None:
    connect("shop-1", accounts=(BERLIN,))
    run(raw.meta_accounts)
    store = database.engine(store_url)
    connections = Connections(store, KeyRing.of(home))
    (first,) = connections.health()
    connections.note_failure(first.connection_id, NeedsConsentError("its consent has ended"))
    connect("shop-2", accounts=(BERLIN, TOKYO))
    listed = "SELECT advertiser_id, account_id FROM raw.meta_accounts ORDER BY 1, 2"
    run(raw.meta_accounts)
    assert sql(listed) == [("shop-1", BERLIN), ("shop-2", TOKYO)]
    with store.begin() as rows:  # given back: from then on whoever ticked it has it
        rows.execute(sa.text("DELETE FROM service_connection WHERE account = 'shop-1'"))
    store.dispose()
    run(raw.meta_accounts)
    assert sql(listed) == [("shop-1", BERLIN), ("shop-2", BERLIN), ("shop-2", TOKYO)]


def test_what_a_wrong_tick_brought_is_left_out_and_dropped_when_it_is_taken_back(
    meta: Meta,  # noqa: F811
    home: Home,  # noqa: F811
    connect: Callable[..., None],  # noqa: F811
    sql: Sql,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect("shop-1", accounts=(BERLIN,))
    run(raw.meta_accounts)
    meta.pass_(60)
    connect("shop-2", accounts=(BERLIN, TOKYO))
    with monkeypatch.context() as before:  # as it was once: both had it
        before.setattr(raw, "_own_accounts", lambda run, jobs, work, known: list(
            raw._read(run, jobs, work)))  # fmt: skip
        run()
    counts = "SELECT advertiser_id, account_id, count(*) FROM raw.meta_{} GROUP BY 1, 2"
    tables = ("accounts", "campaigns", "ads", "insights", "insight_readings")
    foreign = {name: [r for r in sql(counts.format(name)) if r[:2] == ("shop-2", BERLIN)]
               for name in tables}  # fmt: skip
    assert all(foreign.values())
    others = {name: [r for r in sql(counts.format(name)) if r[:2] != ("shop-2", BERLIN)]
              for name in tables}  # fmt: skip
    meta.pass_(60)
    run()
    state = (f"SELECT advertiser_id, arg_max(is_listed, read_at) FROM raw.meta_accounts "
             f"WHERE account_id = '{BERLIN}' GROUP BY 1 ORDER BY 1")  # fmt: skip
    assert sql(state) == [("shop-1", True), ("shop-2", False)]
    before_version = versions(run())
    removed.note(home, ("shop-2", BERLIN))
    after_version = versions(run())
    for name in tables:
        assert not [r for r in sql(counts.format(name)) if r[:2] == ("shop-2", BERLIN)], name
    assert [r[:2] for r in others["insights"]] and all(
        {r[:2] for r in sql(counts.format(name))} == {r[:2] for r in others[name]}
        for name in tables
    )
    changed = [f"raw/meta_{name}" for name in tables]
    assert all(after_version[key] != before_version[key] for key in changed)
    assert versions(run()) == after_version


def test_an_account_that_is_granted_again_is_not_dropped_any_more(
    meta: Meta,  # noqa: F811
    home: Home,  # noqa: F811
    connect: Callable[..., None],  # noqa: F811
    sql: Sql,  # noqa: F811
) -> None:
    connect("shop-1", accounts=(BERLIN,))
    removed.note(home, ("shop-1", BERLIN))
    run(raw.meta_accounts, raw.meta_campaigns)
    assert removed.noted(home) == []
    assert sql(OF_WHOM) == [("shop-1", [BERLIN])]
