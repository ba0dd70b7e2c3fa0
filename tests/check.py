"""What `make test` does: lint, security, types, contracts, configuration files, then every test.

Prints how long each part took; ends with the first exit code that is not 0.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

STATIC = {
    "ruff lint": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "import contracts": ["lint-imports"],
    "security": ["bandit", "--quiet", "-c", "pyproject.toml", "-r", "dmp_assets"],
    "types": ["mypy"],
    "compose file": [
        "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml",
    ],
}  # fmt: skip
_TWO = ("-n", "2", "--dist", "loadfile")
_THREE = ("-n", "3", "--dist", "loadfile")  # they wait for servers and for each other's ends a lot
# These start whole runs, each of which keeps a core and a quarter busy: two pytest processes beside
# each other, because all tests of the first share one demo; both take about as long.
_RUNS = ("pytest", "tests/integration", "tests/browser")
_OTHER_HOMES = [
    *(f"tests/integration/test_{name}.py" for name in ("attribution", "faults", "real_data")),
    *(f"tests/browser/test_{name}.py" for name in ("oidc", "reports", "review")),
]
TESTS: dict[str, list[list[str]]] = {
    "unit tests": [["pytest", "tests/unit", *_THREE]],
    # The integration tests run under the machine's own zone; these show that the zone is nothing.
    "asset tests in another time zone": [["pytest", "tests/assets", *_TWO]],
    "integration and browser tests": [
        [*_RUNS, *(f"--ignore={path}" for path in _OTHER_HOMES)],
        ["pytest", *_OTHER_HOMES],
    ],
}


def run(name: str, commands: list[list[str]], environment: dict[str, str]) -> tuple[int, float]:
    """Run the commands of one part beside each other; its worst exit code and its seconds.

    The first one's output is shown as it comes, that of the others when they have ended.
    """
    print(f"\n=== {name}", flush=True)
    began = time.monotonic()
    with ExitStack() as stack:
        started = []
        for number, command in enumerate(commands):
            out = stack.enter_context(tempfile.TemporaryFile()) if number else None
            child = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                cwd=ROOT,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT if out else None,
            )
            started.append((child, out))
        codes = [child.wait() for child, _ in started]
        for _, out in started:
            if out:
                out.seek(0)
                sys.stdout.buffer.write(out.read())
                sys.stdout.flush()
    return next((code for code in codes if code), 0), time.monotonic() - began


def main() -> int:
    """Run the parts; static checks alone with `--static`."""
    parts = {name: [command] for name, command in STATIC.items()}
    if "--static" not in sys.argv:
        parts |= TESTS
    spent: dict[str, tuple[int, float]] = {}
    for name, commands in parts.items():
        environment = os.environ | {"DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}  # one core each
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # every test's processes would compile all
        if "another time zone" in name:
            environment["TZ"] = "America/New_York"
        if name == "integration and browser tests":
            from tests.support.chromium import find_or_install

            find_or_install()
        spent[name] = run(name, commands, environment)
    print()
    for name, (code, seconds) in spent.items():
        print(f"{'ok    ' if code == 0 else 'FAILED'} {seconds:7.1f} s  {name}")
    return next((code for code, _ in spent.values() if code), 0)


if __name__ == "__main__":
    sys.exit(main())
