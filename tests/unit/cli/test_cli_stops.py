"""How the command line begins and is stopped, and what it says can be typed."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import typer

from dmp_assets.cli import shared
from dmp_assets.cli.shared import explained, typed
from dmp_assets.home import Home, HomeError
from dmp_assets.platform.base.aside import done_aside
from dmp_assets.platform.lake import leases
from tests.support.service import until

ROOT = Path(__file__).parents[3]

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


_WORK_ASIDE = """
import pathlib, time
from dmp_assets.platform.base.aside import done_aside

def take_long():
    pathlib.Path({began!r}).touch()
    time.sleep(600)

if __name__ == "__mp_main__" and {starting}:
    take_long()
if __name__ == "__main__":
    if {asked_slowly}:  # it comes while the other process is being started
        from concurrent.futures import ProcessPoolExecutor as Pool
        submit = Pool.submit
        def slowly(*arguments):
            asked = submit(*arguments)
            time.sleep(5)
            return asked
        Pool.submit = slowly
    try:
        done_aside(take_long)
    except KeyboardInterrupt:
        print("stopped")
"""


@pytest.mark.parametrize("starting", [True, False])
@pytest.mark.parametrize("asked_slowly", [True, False])
def test_a_stop_of_work_in_another_process_is_silent_and_leaves_nothing(
    starting: bool, asked_slowly: bool, tmp_path: Path
) -> None:
    """Ctrl-C goes to every process of a terminal, whatever it is at."""
    began, script = tmp_path / "began", tmp_path / "script.py"
    script.write_text(
        _WORK_ASIDE.format(began=str(began), starting=starting, asked_slowly=asked_slowly)
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as asking:  # fmt: skip
        try:
            until(began.exists, 60)
            os.killpg(asking.pid, signal.SIGINT)
            said, _ = asking.communicate(timeout=60)  # until nobody holds its output any more
        finally:
            with suppress(ProcessLookupError):
                os.killpg(asking.pid, signal.SIGKILL)
    assert said == "stopped\n"


def test_work_in_another_process_gives_what_it_returns_or_raises() -> None:
    assert done_aside(os.path.join, "a", "b") == "a/b"
    with pytest.raises(FileNotFoundError):
        done_aside(os.listdir, "/nothing/here")
    assert done_aside(os.getpid) != os.getpid()


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
    with leases.alone(home, "demo"):
        with pytest.raises(HomeError, match=busy), leases.alone(home, "demo"):
            pass
        with leases.alone(home, "another"):
            pass
    with leases.alone(home, "demo"):
        pass
