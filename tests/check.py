"""What `make test` does: lint, types, import contracts, configuration files, then every test.

Prints how long each part took; ends with the first exit code that is not 0.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

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
TESTS = {
    "unit tests": ["pytest", "tests/unit", *_TWO],
    # The integration tests run under the machine's own zone; these show that the zone is nothing.
    "asset tests in another time zone": ["pytest", "tests/assets", *_TWO],
    # These start whole runs, each of which keeps both cores busy by itself.
    "integration and browser tests": ["pytest", "tests/integration", "tests/browser"],
}


def run(name: str, command: list[str], environment: dict[str, str]) -> tuple[int, float]:
    """Run one part and return its exit code and its seconds."""
    print(f"\n=== {name}", flush=True)
    began = time.monotonic()
    code = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, env=environment
    ).returncode
    return code, time.monotonic() - began


def main() -> int:
    """Run the parts; static checks alone with `--static`."""
    parts = STATIC if "--static" in sys.argv else STATIC | TESTS
    spent: dict[str, tuple[int, float]] = {}
    for name, command in parts.items():
        environment = os.environ | {"DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}  # one core each
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # every test's processes would compile all
        if "another time zone" in name:
            environment["TZ"] = "America/New_York"
        if name == "integration and browser tests":
            from tests.support.chromium import find_or_install

            find_or_install()
        spent[name] = run(name, command, environment)
    print()
    for name, (code, seconds) in spent.items():
        print(f"{'ok    ' if code == 0 else 'FAILED'} {seconds:7.1f} s  {name}")
    return next((code for code, _ in spent.values() if code), 0)


if __name__ == "__main__":
    sys.exit(main())
