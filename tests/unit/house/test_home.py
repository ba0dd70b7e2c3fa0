"""The home: its profile for life, and what it remembers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.base import whole_file


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").prepare("sandbox")


def test_nothing_is_created_before_the_first_command(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert home.profile == "live"
    assert home.state() == {}
    assert not home.root.exists()


def test_the_current_home_is_the_one_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "a" / ".." / "b"))
    assert Home.current().root == tmp_path / "b"
    monkeypatch.delenv("DMP_HOME")
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    (tmp_path / "config.yaml").write_text(f"home: {tmp_path}/c\n")
    assert Home.current().root == tmp_path / "c"


def test_the_profile_is_fixed_by_the_first_command(tmp_path: Path) -> None:
    assert Home(tmp_path / "new").prepare().profile == "live"
    demo = Home(tmp_path / "demo").prepare("sandbox")
    assert demo.prepare().profile == "sandbox"
    assert demo.prepare("sandbox").profile == "sandbox"
    with pytest.raises(HomeError, match="is a sandbox home and this command needs a live one"):
        demo.prepare("live")
    assert demo.profile == "sandbox"


def test_a_home_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match=r"cannot write to the home .*file/home.*set DMP_HOME"):
        Home(tmp_path / "file" / "home").prepare()
    with pytest.raises(HomeError, match="cannot write to the home"):
        Home(tmp_path / "file").prepare()


@pytest.mark.parametrize("text", ["", "{", "[]", '"sandbox"', '{"profile": "play"}', "\udcff"])
def test_a_broken_state_file_is_named_and_nothing_counts_as_live(home: Home, text: str) -> None:
    (home.root / "home.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(HomeError, match=r"home\.json"):
        home.settings()
    with pytest.raises(HomeError, match=r"home\.json"):
        home.prepare("sandbox")


def test_what_a_home_remembers_is_added_to_and_dropped_one_by_one(home: Home) -> None:
    home.remember(shop={"id": "1"})
    home.remember(other=2)
    home.forget("shop")
    assert home.state() == {"profile": "sandbox", "other": 2}
    assert {path.name for path in home.root.iterdir()} == {"home.json", whole_file.LOCK}


def test_now_is_the_end_of_the_history_in_a_sandbox_and_the_clocks_in_a_live_home(
    home: Home, tmp_path: Path
) -> None:
    assert home.now().date() == home.settings().demo_end + timedelta(days=1)
    live = Home(tmp_path / "live").prepare("live")
    assert abs(live.now() - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("name", ["a [1]", "50%20", "a|b", "a\\b", "a^b"])
def test_a_folder_that_no_table_can_lie_in_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(HomeError, match=r"no tables can be kept in .*set DMP_HOME to another"):
        Home(tmp_path / name).prepare("sandbox")
    assert list(tmp_path.iterdir()) == []
