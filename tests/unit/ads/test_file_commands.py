"""The commands that take exports, list them, and take them back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from dmp_assets.cli.main import app
from dmp_assets.home import Home
from dmp_assets.sources.exports import kept
from dmp_assets.sources.meta import removed
from tests.support.exports import AD, ORDER, ad, order, written
from tests.support.lakehouse import write


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A live home without a store."""
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    return Home(tmp_path / "home")


def dmp(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output


def test_files_are_taken_listed_and_taken_back(live: Home, tmp_path: Path) -> None:
    ads = written(tmp_path / "ads.csv", AD, [ad("2024-03-01")])
    orders = written(tmp_path / "orders.csv", ORDER, [order("#1")])
    code, said = dmp("ads", "import", str(ads), str(orders), "--advertiser", "acme",
                     "--timezone", "Europe/Berlin")  # fmt: skip
    assert code == 0, said
    assert "ads.csv: 1 rows" in said
    assert "orders.csv: 1 rows" in said
    steps = ("dmp migrate", "dmp advertiser add acme", "dmp run --select group:ads", "dmp up")
    assert sorted(steps, key=said.index) == list(steps), said
    code, said = dmp("ads", "import", str(ads), "--advertiser", "acme")
    assert (code, "ads.csv: there already, left alone" in said) == (0, True)
    code, said = dmp("ads", "files")
    assert [line.split("\t")[1:3] for line in said.splitlines()] == [
        ["acme", "meta"], ["acme", "shopify"],
    ]  # fmt: skip
    (first, _) = kept.kept(live)
    code, said = dmp("ads", "files", "--remove", first.sha256[:8])
    assert code == 0
    assert [one.kind for one in kept.kept(live)] == ["shopify"]
    assert dmp("ads", "files", "--remove", "zz")[0] == 2


def test_an_account_is_taken_back_once_it_is_not_granted_any_more(
    live: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.prepare("live")
    at = datetime(2026, 3, 1, tzinfo=UTC)
    write(live, "raw/meta_accounts", pa.Table.from_pylist([
        {"advertiser_id": whose, "account_id": account, "name": f"Account {account}",
         "is_listed": is_listed, "read_at": at + timedelta(days=n)}
        for n, (whose, account, is_listed) in enumerate((
            ("acme", "101", True), ("bolt", "101", True), ("bolt", "101", False),
            ("gone", "202", True),
        ))
    ]))  # fmt: skip
    monkeypatch.setattr("dmp_assets.ads.commands._holders", lambda home: ["acme", "bolt"])
    assert dmp("ads", "accounts")[1].splitlines() == [
        "acme\t101\tgranted\tAccount 101", "bolt\t101\tnot granted any more\tAccount 101",
        "gone\t202\tgranted\tAccount 202",
    ]  # fmt: skip
    for whose, account, why in (("acme", "101", "granted to acme still"),
                                ("acme", "202", "has no such account")):  # fmt: skip
        code, said = dmp("ads", "accounts", "--remove", whose, account)
        assert code == 2 and why in " ".join(said.split())
    for whose, account in (("bolt", "act_101"), ("gone", "202")):
        assert dmp("ads", "accounts", "--remove", whose, account)[0] == 0
    assert removed.noted(live) == [("bolt", "101"), ("gone", "202")]
    assert "taken back" in dmp("ads", "accounts")[1]
    assert kept.kept(live) == []


def test_a_home_with_a_store_needs_no_other_steps(
    live: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmp_assets.cli.service.in_store", lambda home, work: None)
    live.prepare("live").remember(store="embedded")
    file = written(tmp_path / "ads.csv", AD, [ad("2024-03-01")])
    code, said = dmp("ads", "import", str(file), "--advertiser", "acme")
    assert code == 0, said
    assert "dmp migrate" not in said
    assert "dmp run --select group:ads" in said


def test_what_is_wrong_is_said_in_a_line(live: Home, tmp_path: Path) -> None:
    file = written(tmp_path / "ads.csv", AD, [ad("2024-03-01", "1.234", "1.000")])
    code, said = dmp("ads", "import", str(file), "--advertiser", "acme")
    assert code == 1
    assert "2 values can be read in two ways" in " ".join(said.split())
    assert "Traceback" not in said
    code, said = dmp("ads", "import", str(file), "--advertiser", "../x")
    assert code == 2
    code, said = dmp("ads", "import", str(tmp_path / "none.csv"), "--advertiser", "acme")
    assert code == 1
    assert "cannot be read" in " ".join(said.split())
    assert kept.kept(live) == []
