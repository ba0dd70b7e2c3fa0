"""What `make test` does: lint, security, types, contracts, configuration files, then every test.

Prints how long each part took; ends with the first exit code that is not 0.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from dmp_assets.domains import DOMAINS

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Part:
    """One command: its name for people, its words, what its environment says beside the usual."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    gives_way: bool = False
    """Whether it takes only what the parts beside it leave of the machine."""


STATIC = (
    Part("ruff lint", ["ruff", "check", "."]),
    Part("ruff format", ["ruff", "format", "--check", "."]),
    Part("import contracts", ["lint-imports"]),
    Part("security", ["bandit", "--quiet", "-c", "pyproject.toml", "-r", "dmp_assets"]),
    Part(
        "compose file",
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"],
    ),
)
TYPES = Part("types", ["mypy"], gives_way=True)
_OTHER_HOMES = [
    *(
        f"tests/integration/test_{name}.py"
        for name in (
            "attribution",
            "domain",
            "faults",
            "personal_data",
            "real_data",
            "side_by_side",
        )
    ),
    *(
        f"tests/browser/test_{name}.py"
        for name in (
            "ads",
            "ads_connect",
            "ads_experiments",
            "ads_planner",
            "oidc",
            "reports",
            "review",
        )
    ),
]
_IGNORED = [f"--ignore={path}" for path in _OTHER_HOMES]
_BY_FILE = ("--dist", "loadfile", "--no-loadscope-reorder")  # conftest.py puts the longest first
LANES = (
    # Each of these starts whole runs, one after the other, which keep more than half a machine of
    # two cores busy; all tests of the first share one demo. What they leave is for the others.
    (Part("integration: the demo", ["pytest", "tests/integration", "tests/browser", *_IGNORED]),),
    (Part("integration: other homes", ["pytest", *_OTHER_HOMES]),),
    (
        # The integration tests run under the machine's own zone; these show that it is nothing.
        Part(
            "asset tests in another time zone",
            ["pytest", "tests/assets", "-n", "2", *_BY_FILE],
            {"TZ": "America/New_York"},
            gives_way=True,
        ),
        # They wait for servers and for each other's ends a lot: more of them than there are cores.
        Part("unit tests", ["pytest", "tests/unit", "-n", "3", *_BY_FILE], gives_way=True),
    ),
    (TYPES,),
)
CLUSTER = Part("beyond one machine", ["pytest", "tests/cluster", "--durations", "10"])
"""Not among the tests of a machine alone: it starts the systems of a larger installation."""
_printing = threading.Lock()


def run(part: Part) -> tuple[Part, int, float]:
    """Run a part to its end and print what it said as a whole; its exit code and its seconds."""
    usual = {"DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}  # one core each
    environment = os.environ | usual | dict(part.environment)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # every test's processes would compile all
    command = [str(BIN / part.command[0]), *part.command[1:]]
    if part.gives_way:
        command = ["nice", "-n", "5", *command]
    began = time.monotonic()
    print(f"begins: {part.name}", flush=True)
    with tempfile.TemporaryFile() as said:
        code = subprocess.call(
            command, cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT
        )
        seconds = time.monotonic() - began
        with _printing:
            print(f"\n=== {part.name}", flush=True)
            said.seek(0)
            sys.stdout.buffer.write(said.read())
            print(_line(part, code, seconds), flush=True)
    return part, code, seconds


def _line(part: Part, code: int, seconds: float) -> str:
    return f"{'ok    ' if code == 0 else 'FAILED'} {seconds:7.1f} s  {part.name}"


def of_domain(name: str) -> Part:
    """The tests that have to do with a domain: those that name its package, and how it is built.

    Raises SystemExit for a name that is no domain's.
    """
    if name not in DOMAINS:
        raise SystemExit(f"DOMAIN={name} is none of {', '.join(DOMAINS)}")
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if f"dmp_assets.{name}" in path.read_text() or path.stem in ("test_domains", "test_house")
    ]
    return Part(f"tests of {name}", ["pytest", *found, "-n", "2", *_BY_FILE])


def main() -> int:
    """Run the parts; static checks alone with `--static`, tests of `$DOMAIN` alone where it is set,
    what takes other systems with `--cluster`.

    All of them are the gate; a part is for whoever is at work on it.
    """
    began = time.monotonic()
    domain = os.environ.get("DOMAIN", "")
    chosen = of_domain(domain) if domain else None
    if "--cluster" in sys.argv:
        return run(CLUSTER)[1]
    done = [run(part) for part in STATIC]
    if "--static" in sys.argv:
        done.append(run(TYPES))
    elif chosen is not None:
        done += [run(TYPES), run(chosen)]
    else:
        from tests.support.chromium import find_or_install

        find_or_install()
        with ThreadPoolExecutor(len(LANES)) as pool:
            for lane in pool.map(lambda parts: [run(part) for part in parts], LANES):
                done += lane
    print()
    for part, code, seconds in done:
        print(_line(part, code, seconds))
    print(f"       {time.monotonic() - began:7.1f} s  in all")
    return next((code for _, code, _ in done if code), 0)


if __name__ == "__main__":
    sys.exit(main())
