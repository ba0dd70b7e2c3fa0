"""What `make test` does: lint, types, import contracts, configuration files, then every test.

Prints how long each part took; ends with the first exit code that is not 0.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

STATIC = {
    "ruff lint": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "import contracts": ["lint-imports"],
    "types": ["mypy"],
    "compose file": [
        "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml",
    ],
}  # fmt: skip
# Two processes: most tests wait for something (a start, a disk, a clock) half of the time.
_TWO = ("-n", "2", "--dist", "loadfile")
_OWN_HOMES = tuple(
    f"tests/integration/test_{name}.py" for name in ("attribution", "faults", "real_data")
)
TESTS = {
    "unit tests": ["pytest", "tests/unit", *_TWO],
    # The integration tests run under the machine's own zone; these show that the zone is nothing.
    "asset tests in another time zone": ["pytest", "tests/assets", *_TWO],
}
# At once: those that look at one demo, and those with homes of their own.
AT_ONCE = {
    "integration and browser tests": [
        "pytest", "tests/integration", "tests/browser", *(f"--ignore={p}" for p in _OWN_HOMES),
    ],
    "integration tests with homes of their own": ["pytest", *_OWN_HOMES],
}  # fmt: skip


def start(command: list[str], environment: dict[str, str], out: Any = None) -> subprocess.Popen:
    """Start one part from the top of the checkout."""
    return subprocess.Popen(
        [str(BIN / command[0]), *command[1:]],
        cwd=ROOT,
        env=environment,
        stdout=out,
        stderr=subprocess.STDOUT if out else None,
    )


def run(name: str, command: list[str], environment: dict[str, str]) -> tuple[int, float]:
    """Run one part and return its exit code and its seconds."""
    print(f"\n=== {name}", flush=True)
    began = time.monotonic()
    return start(command, environment).wait(), time.monotonic() - began


def run_at_once(
    parts: dict[str, list[str]], environment: dict[str, str]
) -> dict[str, tuple[int, float]]:
    """Run parts beside each other; what each said comes when all have ended."""
    print(f"\n=== at once: {', '.join(parts)}", flush=True)
    began = time.monotonic()
    with ExitStack() as stack:
        said = {name: stack.enter_context(tempfile.TemporaryFile()) for name in parts}
        running = {name: start(parts[name], environment, said[name]) for name in parts}
        ended: dict[str, tuple[int, float]] = {}
        while len(ended) < len(parts):
            time.sleep(0.5)
            for name, process in running.items():
                if name not in ended and (code := process.poll()) is not None:
                    ended[name] = (code, time.monotonic() - began)
        for name, file in said.items():
            file.seek(0)
            print(f"\n=== {name}\n{file.read().decode(errors='replace')}", flush=True)
    return ended


def main() -> int:
    """Run the parts; static checks alone with `--static`."""
    static = "--static" in sys.argv
    parts = STATIC if static else STATIC | TESTS
    spent: dict[str, tuple[int, float]] = {}
    environment = os.environ | {
        "PYTHONDONTWRITEBYTECODE": "1",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",  # one core each
    }
    for name, command in parts.items():
        zone = {"TZ": "America/New_York"} if "another time zone" in name else {}
        spent[name] = run(name, command, environment | zone)
    if not static:
        from tests.support.chromium import find_or_install

        find_or_install()
        spent |= run_at_once(AT_ONCE, environment)
    print()
    for name, (code, seconds) in spent.items():
        print(f"{'ok    ' if code == 0 else 'FAILED'} {seconds:7.1f} s  {name}")
    return next((code for code, _ in spent.values() if code), 0)


if __name__ == "__main__":
    sys.exit(main())
