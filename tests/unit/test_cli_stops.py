"""How the command line begins and is stopped, and what it says can be typed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from dmp_assets.cli import shared
from dmp_assets.cli.shared import explained, typed
from dmp_assets.home import Home, HomeError

_INTERRUPTED_WHILE_LOADING = """
import os, signal, sys

class Meddler:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.{name})

sys.meta_path.insert(0, Meddler())
sys.argv = ["dmp", *{words}]
from dmp_assets.cli.start import main
main()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("dmp_assets.cli.main", ["--help"]),
        ("dmp_assets.cli.up", ["up"]),
        ("dmp_assets.cli.runs", ["run"]),
        ("dmp_assets.home", ["db", "start"]),
    ],
)
def test_a_stop_while_the_program_loads_is_silent(name: str, module: str, words: list[str]) -> None:
    code = _INTERRUPTED_WHILE_LOADING.format(name=name, module=module, words=words)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (128 + getattr(signal, name), "", "")


def test_a_stopped_command_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, explained():
        raise KeyboardInterrupt
    assert (ended.value.exit_code, capsys.readouterr().err) == (130, "stopped\n")


def test_commands_are_said_as_they_can_be_typed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path(sys.executable).parent
    monkeypatch.chdir(here.parent.parent)
    for path, expected in ((str(tmp_path), f"{here.parent.name}/bin/dmp"), (str(here), "dmp")):
        monkeypatch.setenv("PATH", path)
        shared.program.cache_clear()
        assert typed("`dmp migrate` makes it; make some: dmp demo, dmp run") == (
            f"`{expected} migrate` makes it; make some: {expected} demo, {expected} run"
        )
        assert typed("/srv/dmp run.lock, dmp_assets, a/dmp x") == (
            "/srv/dmp run.lock, dmp_assets, a/dmp x"
        )
    shared.program.cache_clear()


def test_one_demo_at_a_time_works_in_a_home(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").prepare("sandbox")
    busy = rf"`dmp demo` is at work .* \(process {os.getpid()}\)"
    with home.alone("demo"):
        with pytest.raises(HomeError, match=busy), home.alone("demo"):
            pass
        with home.alone("another"):
            pass
    with home.alone("demo"):
        pass
