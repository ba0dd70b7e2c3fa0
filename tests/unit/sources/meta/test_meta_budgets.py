"""Budgets and states written to Meta over real HTTP: once, checked before, read back after."""

import subprocess
import sys
import time as real_time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dmp_assets.platform.connect.errors import ConnectError, NoAnswerError
from dmp_assets.sources.meta.budgets import Change, Changed, Writer, WriteRefusedError
from dmp_assets.sources.meta.client import MetaClient
from dmp_assets.sources.meta.errors import BadParameterError, WriteLimitError
from dmp_assets.sources.meta.intents import Journal
from dmp_assets.sources.meta.money import AmountError
from tests.support.meta import BERLIN, BUDAPEST, TOKYO, Meta, fill

ACCOUNT, ADSET, CAMPAIGN = f"act_{BERLIN}", f"{BERLIN}20", f"{BERLIN}11"
"""An ad set with a budget of 15.00 EUR of its own, and a campaign with one of 50.00."""


@pytest.fixture(autouse=True)
def as_it_was(meta: Meta) -> None:
    """The stand-in's objects as they were before any test wrote."""
    fill(meta.world)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "intents.jsonl")


@pytest.fixture
def client(meta: Meta, token: str) -> Iterator[MetaClient]:
    with meta.client(token) as client:
        yield client


@pytest.fixture
def writer(client: MetaClient, journal: Journal) -> Writer:
    return Writer(client, journal)


def to(amount: str, object_id: str = ADSET, account: str = ACCOUNT) -> Change:
    return Change(account, object_id, "daily_budget", Decimal(amount))


def written(meta: Meta, object_id: str = ADSET) -> list[dict[str, Any]]:
    """Calls that really write."""
    calls = meta.calls(object_id, "POST")
    return [call for call in calls if "execution_options" not in call["given"]]


def stands(meta: Meta, adset: str = ADSET) -> int:
    rows = meta.world.rows("SELECT daily_budget FROM adset WHERE adset_id = ?", adset)
    return int(rows[0]["daily_budget"])


def test_a_budget_is_checked_written_once_and_read_back(
    meta: Meta, writer: Writer, journal: Journal
) -> None:
    done = writer.apply(to("18.50"))
    assert done == Changed(to("18.50"), Decimal(15), Decimal("18.5"), is_done=True)
    assert stands(meta) == 1850 and journal.open() == []
    asked = [(call["method"], call["given"]) for call in meta.calls(ADSET)]
    assert [method for method, _ in asked] == ["GET", "POST", "POST", "GET"]
    assert asked[1][1]["execution_options"] == '["validate_only"]'
    assert asked[2][1] == {"daily_budget": "1850"}
    back = writer.apply(Change(ACCOUNT, ADSET, "daily_budget", Decimal(15)))
    assert back.is_done and stands(meta) == 1500


def test_what_stands_there_already_is_not_written(meta: Meta, writer: Writer) -> None:
    assert writer.apply(to("15")).is_done
    assert meta.calls(ADSET, "POST") == []


@pytest.mark.parametrize(
    ("account", "amount", "minor"), [(TOKYO, "1800", 1800), (BERLIN, "18", 1800)]
)
def test_amounts_are_written_in_the_accounts_minor_units(
    meta: Meta, writer: Writer, account: str, amount: str, minor: int
) -> None:
    done = writer.apply(to(amount, f"{account}20", f"act_{account}"))
    assert done.is_done and done.after == Decimal(amount)
    assert stands(meta, f"{account}20") == minor


def test_forints_are_whole_units(meta: Meta, writer: Writer) -> None:
    for table, key in (("campaign", f"{BERLIN}10"), ("adset", f"{BERLIN}20")):
        row = meta.world.rows(f"SELECT * FROM {table} WHERE {table}_id = ?", key)[0]
        ids = {name: f"{BUDAPEST}{row[name][3:]}" for name in row if name.endswith("_id")}
        meta.world.add(table, [row | ids])
    done = writer.apply(to("1800", f"{BUDAPEST}20", f"act_{BUDAPEST}"))
    assert done.is_done and stands(meta, f"{BUDAPEST}20") == 1800
    with pytest.raises(AmountError):
        writer.apply(to("18.50", f"{BUDAPEST}20", f"act_{BUDAPEST}"))


def test_an_accounts_spend_cap_may_change_ten_times_a_day(meta: Meta, writer: Writer) -> None:
    def cap(amount: int) -> Change:
        return Change(ACCOUNT, ACCOUNT, "spend_cap", Decimal(amount))

    for amount in range(1_000, 1_010):
        assert writer.apply(cap(amount)).is_done
    with pytest.raises(WriteLimitError) as raised:
        writer.apply(cap(2_000))
    assert raised.value.seconds == 86_400
    meta.pass_(86_401)
    assert writer.apply(cap(2_000)).after == Decimal(2_000)


def test_a_part_of_a_yen_is_refused_before_anything_is_asked(meta: Meta, writer: Writer) -> None:
    with pytest.raises(AmountError):
        writer.apply(to("1800.5", f"{TOKYO}20", f"act_{TOKYO}"))
    assert meta.calls(method="POST") == []


def test_an_object_is_paused_and_started_again(meta: Meta, writer: Writer) -> None:
    for status in ("PAUSED", "ACTIVE"):
        done = writer.apply(Change(ACCOUNT, CAMPAIGN, "status", status))
        assert done.is_done and done.after == status
    with pytest.raises(WriteRefusedError):
        writer.apply(Change(ACCOUNT, CAMPAIGN, "status", "DELETED"))
    assert len(written(meta, CAMPAIGN)) == 2


def test_what_meta_finds_wrong_is_not_written_and_its_parameter_named(
    meta: Meta, writer: Writer, journal: Journal
) -> None:
    with pytest.raises(BadParameterError, match="daily_budget"):
        writer.apply(to("0.50"))
    with pytest.raises(ConnectError):  # the campaign has a budget of its own
        writer.apply(to("20", f"{BERLIN}21"))
    assert written(meta) == [] and journal.open() == []


def test_the_fifth_change_of_an_hour_is_refused_until_the_next(
    meta: Meta, writer: Writer, journal: Journal
) -> None:
    meta.pass_(7_200)
    for amount in ("16", "17", "18", "19"):
        assert writer.apply(to(amount)).is_done
    with pytest.raises(WriteLimitError) as raised:
        writer.apply(to("20"))
    assert raised.value.seconds == 3_600 and stands(meta) == 1900 and journal.open() == []
    meta.pass_(3_601)
    assert writer.apply(to("20")).is_done


def test_an_account_that_is_not_active_is_not_written_to(meta: Meta, writer: Writer) -> None:
    rows = meta.world.rows("SELECT * FROM account WHERE account_id = ?", BUDAPEST)
    meta.world.add("account", [rows[0] | {"account_status": 3}])
    with pytest.raises(WriteRefusedError, match="account_status 3"):
        writer.apply(Change(f"act_{BUDAPEST}", "1", "status", "PAUSED"))
    assert meta.calls(method="POST") == []


# lost answers and kills --------------------------------------------------------------------------
@pytest.mark.parametrize("is_done", [True, False])
def test_a_write_whose_answer_is_lost_is_looked_up_and_never_repeated(
    meta: Meta, writer: Writer, journal: Journal, is_done: bool
) -> None:
    # the first POST is the check; the second is done and then answered by an error, or refused
    meta.refuse(path=ADSET, method="POST", after=1, status=500, html=True, done=is_done, times=9)
    if is_done:
        assert writer.apply(to("18")).is_done
    else:
        with pytest.raises(ConnectError):
            writer.apply(to("18"))
    assert len(written(meta)) == 1 and journal.open() == []
    assert stands(meta) == (1800 if is_done else 1500)


def test_a_connection_that_breaks_after_the_write_is_looked_up(
    meta: Meta, client: MetaClient, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = journal.begin

    def begin_and_break(*given: Any) -> Any:
        meta.faults({"method": ADSET, "kind": "drop"})
        return begin(*given)

    monkeypatch.setattr(journal, "begin", begin_and_break)
    assert Writer(client, journal).apply(to("18")).is_done
    assert len(written(meta)) == 1 and journal.open() == []


def test_where_it_cannot_be_read_back_the_intent_stays_until_somebody_looks(
    meta: Meta, writer: Writer, journal: Journal
) -> None:
    meta.behave(refusals=[{"path": ADSET, "method": "GET", "after": 1, "times": 9, "code": 2}])
    with pytest.raises(ConnectError):
        writer.apply(to("18"))
    (intent,) = journal.open()
    assert (intent.before, intent.after) == ("1500", "1800")
    meta.behave()
    assert writer.settle() == [(intent, True)]
    assert journal.open() == [] and written(meta) == [] and writer.settle() == []


KILLED = """
import sys, time
from decimal import Decimal
from pathlib import Path
from pydantic import SecretStr
from dmp_assets.sources.meta.budgets import Change, Writer
from dmp_assets.sources.meta.client import FixedToken, MetaClient
from dmp_assets.sources.meta.config import MetaConfig
from dmp_assets.sources.meta.intents import Journal
from dmp_assets.sources.meta.usage import Governor

url, app, file, account, adset = sys.argv[1:]
secret, token = sys.stdin.read().split()
config = MetaConfig(url, url, app, SecretStr(secret), loopback_only=True)
client = MetaClient(config, FixedToken(SecretStr(token)), Governor())
Writer(client, Journal(Path(file))).apply(Change(account, adset, "daily_budget", Decimal(18)))
"""


def test_a_kill_between_the_write_and_its_record_writes_nothing_twice(
    meta: Meta, token: str, writer: Writer, journal: Journal, tmp_path: Path
) -> None:
    # the answer to the write comes late, after it was done: killed meanwhile
    meta.faults(
        {"method": ADSET, "kind": "slow", "seconds": 0},  # what stands there
        {"method": ADSET, "kind": "slow", "seconds": 0},  # the check
        {"method": ADSET, "kind": "slow", "seconds": 20, "after": True},
    )
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, meta.settings["meta_url"], meta.settings["meta_app_id"],
         str(tmp_path / "intents.jsonl"), ACCOUNT, ADSET],
        stdin=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdin
    child.stdin.write(f"{meta.settings['meta_app_secret']} {token}")
    child.stdin.close()
    deadline = real_time.monotonic() + 30
    while not written(meta) and real_time.monotonic() < deadline:
        real_time.sleep(0.05)
    child.kill()
    child.wait()
    assert stands(meta) == 1800 and len(written(meta)) == 1
    (intent,) = journal.open()
    assert writer.settle() == [(intent, True)]
    assert writer.apply(to("18")).is_done
    assert len(written(meta)) == 1


def test_a_line_that_a_kill_cut_short_spoils_no_other(journal: Journal, tmp_path: Path) -> None:
    first = journal.begin("act_1", "2", "status", None, "PAUSED")
    with (tmp_path / "intents.jsonl").open("a") as file:
        file.write('{"state": "intended", "intent_id": "x')
    second = journal.begin("act_1", "3", "status", None, "PAUSED")
    assert journal.open() == [first, second]
    journal.end(first, "done")
    assert journal.open() == [second]


def test_a_lost_answer_is_no_reason_to_think_that_it_was_not_done(
    meta: Meta, client: MetaClient
) -> None:
    meta.faults({"method": ADSET, "kind": "drop"})
    with pytest.raises(NoAnswerError) as raised:
        client.post(ACCOUNT, ADSET, daily_budget="1700")
    assert raised.value.is_unknown and stands(meta) == 1700
