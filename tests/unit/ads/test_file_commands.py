"""The commands that take exports, list them, and take them back."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dmp_assets.ads import commands
from dmp_assets.cli.main import app
from dmp_assets.home import Home
from dmp_assets.sources.exports import kept
from tests.support.exports import AD, ORDER, ad, order, written


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


def test_a_home_with_a_store_needs_no_other_steps(
    live: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_known", lambda home, advertiser: None)
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
