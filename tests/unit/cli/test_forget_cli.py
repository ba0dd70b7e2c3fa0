"""`dmp forget` before it begins: it asks, and shows no id whatever it is given."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dmp_assets.cli import forget
from dmp_assets.cli.main import app
from dmp_assets.home import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    return Home(tmp_path / "home")


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ([], 2, "name users to forget"),
        (["--user", " \u200b"], 2, "name users to forget"),
        (["zqid01"], 2, "ids are named by --user"),
        (["--user", "zqid01", "zqid02"], 2, "ids are named by --user"),
        (["--file", "nowhere/zqid01"], 1, "cannot be read: No such file"),
        (["--file", "-"], 2, "add --yes"),
        (["--user", "zqid01"], 1, "Delete all that is held of 1 users?"),
        (["--user", "zqid01", "--user", "zqid01 ", "--now"], 1, "Old versions go as well"),
    ],
)
def test_what_cannot_be_done_is_said_without_an_id_and_nothing_is_changed(
    home: Home, given: list[str], code: int, said: str
) -> None:
    ran = CliRunner().invoke(app, ["forget", *given], input="n\n")
    text = " ".join(ran.output.split())
    assert (ran.exit_code, said in text) == (code, True), text
    assert "zqid" not in text
    assert not (home.root / "forgotten.json").exists()


def test_a_file_that_is_no_text_is_refused(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "ids"
    file.write_bytes(b"zqid01\n\xff\xfe")
    ran = CliRunner().invoke(app, ["forget", "--file", str(file), "--yes"])
    assert ran.exit_code == 1
    assert "it is no text in UTF-8" in ran.output and "zqid" not in ran.output


def test_ids_that_nothing_held_are_told_by_where_they_were_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ids"
    file.write_text("zqid03\n\nzqid01\n zqid04\n")
    places = forget._people(["zqid01", "zqid02"], file)
    assert places == {
        "zqid01": "--user number 1", "zqid02": "--user number 2", "zqid03": "line 1 of the file",
        "zqid04": "line 4 of the file",
    }  # fmt: skip
    forget._tell_unknown([places["zqid04"], places["zqid02"]], len(places))
    forget._tell_unknown([f"line {n} of the file" for n in range(1, 31)], 40)
    forget._tell_unknown([], 40)
    few, many = capsys.readouterr().out.splitlines()
    assert "held 2 of the 4 ids: --user number 2, line 4 of the file; are they right?" in few
    assert "line 20 of the file and 10 more" in many and "line 21" not in many
