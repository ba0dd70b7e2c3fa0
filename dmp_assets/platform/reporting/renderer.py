"""Rendering a report: a `.qmd` becomes one self-contained HTML file.

The Quarto CLI (1.4 or newer) renders when it is found; else the embedded renderer does, on
Jupyter's own libraries, for the part of Quarto that our reports use (see `document.py`). Both run
the cells with the same environment, so a report cannot tell them apart.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import filelock
import yaml

from dmp_assets.home import Home
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.lake.tables import TableError, Tables
from dmp_assets.platform.reporting import document
from dmp_assets.platform.reporting.document import Document, DocumentError
from dmp_assets.platform.reporting.page import page
from dmp_assets.platform.reporting.pinned_tables import is_complete
from dmp_assets.platform.reporting.quarto_problems import problems
from dmp_assets.platform.reporting.reader import RECORD, VERSIONS
from dmp_assets.platform.text.foreign_text import without_colours

QUARTO_MINIMUM = (1, 4)
CELL_SECONDS = 300
_ASIDE = re.compile(r"^\s+at |^(?:WARN|WARNING|\[WARNING\])\b|^-+$|^Stack trace:", re.IGNORECASE)
"""Lines of Quarto that do not name what went wrong."""
_AHEAD = (
    "import pandas, plotly.graph_objects\n"
    "from dmp_assets import domains\n"
    "domains.rooms('report.figures')"
)
_WARNING = re.compile(r"^(?:\[WARNING\]|WARN(?:ING)?:?)\s*", re.IGNORECASE)


class RenderError(UserError):
    """A report that could not be rendered: which report, which cell, and the cell's error."""


@dataclass(frozen=True)
class Rendered:
    """One rendered report: the file, how long it took, and what it was made from.

    `warnings` is what the engine said of a page that it nevertheless made.
    """

    name: str
    path: Path
    seconds: float
    engine: str
    table_versions: Mapping[str, int] = field(default_factory=dict)
    data_through: datetime | None = None
    warnings: tuple[str, ...] = ()


def state(target: Path) -> dict[str, Any]:
    """What is noted beside a rendered file: `table_versions`, `rendered_at`, `warnings`, …"""
    note = target.with_suffix(".json")
    return dict(json.loads(note.read_text())) if target.exists() and note.exists() else {}


def versions_shown(home: Home, name: str) -> dict[str, int]:
    """Versions of the tables that the rendered report shows.

    One that was deleted since (old versions go) is left out: the table as it is holds the same
    data, or the report would have been rendered anew.
    """
    tables = Tables.of(home)
    shown = dict(state(home.reports / f"{name}.html").get("table_versions", {}))
    return {key: made for key, made in shown.items() if _is_there(tables, key, made)}


def _is_there(tables: Tables, key: str, version: int) -> bool:
    try:
        return is_complete(tables, key, version)
    except TableError:
        return False


def render(
    name: str,
    *,
    project_dir: Path,
    home: Home,
    params: Mapping[str, Any] | None = None,
    versions: Mapping[str, Any] | None = None,
    to: Path | None = None,
) -> Rendered:
    """Render one report in a kernel of its own; see `Renderer.render`."""
    with Renderer(project_dir, home) as renderer:
        return renderer.render(name, params=params, versions=versions, to=to)


class Renderer:
    """Renders reports one after the other; the embedded engine runs them all in one kernel.

    The kernel starts at the first report (about 2 s) and is emptied before each further one.
    """

    def __init__(self, project_dir: Path, home: Home) -> None:
        self.folder = project_dir / "reports"
        self.home = home
        self._environment = {
            "TZ": "UTC",
            "DMP_HOME": str(home.root),
            "DMP_PROJECT_DIR": str(project_dir),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        self._open = ExitStack()
        self._client: Any = None
        self._started: Any = None
        self._scratch = ""

    def __enter__(self) -> "Renderer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._started is not None:
            from nbclient.util import run_sync

            run_sync(self._started.km.shutdown_kernel)(now=True)
            self._started = None
        self._open.close()

    def render(
        self,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        versions: Mapping[str, Any] | None = None,
        to: Path | None = None,
        fingerprint: str = "",
        made_of: Callable[[], Any] = lambda: None,
    ) -> Rendered:
        """Render `reports/<name>.qmd` to `to` (default: the home's `reports/<name>.html`).

        `params` replace the values of the cell tagged `parameters`; `versions` (table → Delta
        version, or the note that lies beside a rendered file) render the report as of then. The
        file is replaced as a whole, so a failure leaves the old one; a note of what it was made
        from, and `fingerprint`, is left beside it (see `state`). `made_of` tells before and after
        what the page is made of: where that changed meanwhile, nobody knows which of the two it
        shows, and the fingerprint is left out. Raises RenderError.
        """
        with ExitStack() as stack:
            if to is None:
                stack.enter_context(_alone(self.home, name))
            before = made_of()
            return self._rendered(
                name, params or {}, versions or {}, to or self.home.reports / f"{name}.html",
                lambda: fingerprint if made_of() == before else "",
            )  # fmt: skip

    def _rendered(
        self,
        name: str,
        params: Mapping[str, Any],
        versions: Mapping[str, Any],
        target: Path,
        fingerprint: Callable[[], str],
    ) -> Rendered:
        began = time.monotonic()
        try:
            source = document.read(self.folder / f"{name}.qmd")
        except DocumentError as error:
            raise RenderError(str(error)) from error
        params = dict(params)
        _check_parameters(source, params)
        target.parent.mkdir(parents=True, exist_ok=True)
        quarto = find_quarto()
        with tempfile.TemporaryDirectory(prefix="dmp-report-") as scratch:
            record = Path(scratch) / "read.json"
            wanted = dict(versions)
            wanted = wanted.get("table_versions", wanted)
            told = {
                VERSIONS: json.dumps(wanted),
                RECORD: str(record),
                "DMP_HOME": str(self.home.root),
            }
            if quarto:
                made, warnings = self._by_quarto(quarto, source, params, told, Path(scratch))
            else:
                made, warnings = self._embedded(source, params, told)
            noted = json.loads(record.read_text()) if record.exists() else {}
        note = target.with_suffix(".json")
        note.unlink(missing_ok=True)
        whole_file.write(target, made, mode=None)
        seconds, engine = round(time.monotonic() - began, 2), "quarto" if quarto else "embedded"
        noted |= {"fingerprint": fingerprint(), "params": params, "engine": engine}
        noted |= {"warnings": list(warnings)}
        told_of = json.dumps(noted | {"seconds": seconds}, indent=2) + "\n"
        whole_file.write(note, told_of, mode=None)
        through = noted.get("data_through")
        return Rendered(
            name,
            target,
            seconds,
            engine,
            noted.get("table_versions", {}),
            datetime.fromisoformat(through) if through else None,
            warnings,
        )

    # the Quarto CLI ------------------------------------------------------------------------------
    def _by_quarto(
        self,
        quarto: Path,
        source: Document,
        params: Mapping[str, Any],
        told: Mapping[str, str],
        scratch: Path,
    ) -> tuple[str, tuple[str, ...]]:
        """Page and warnings of a copy, because the checkout may not be writable (Docker)."""
        work = scratch / "reports"
        shutil.copytree(self.folder, work, ignore=shutil.ignore_patterns(".quarto", "_site"))
        name = source.path.stem
        command = [str(quarto), "render", f"{name}.qmd", "--to", "html"]
        if params:
            (scratch / "params.yml").write_text(yaml.safe_dump(dict(params)))
            command += ["--execute-params", str(scratch / "params.yml")]
        done = subprocess.run(
            command,
            cwd=work,
            env={**os.environ, **self._environment, **told, "QUARTO_PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=False,
        )
        output = without_colours(f"{done.stdout}\n{done.stderr}")
        made = sorted(work.rglob(f"{name}.html"))
        if done.returncode or not made:
            raise RenderError(f"report {name}, {_quarto_failure(output)}")
        return made[0].read_text(), _quarto_warnings(output)

    # the embedded engine -------------------------------------------------------------------------
    def _embedded(
        self, source: Document, params: Mapping[str, Any], told: Mapping[str, str]
    ) -> tuple[str, tuple[str, ...]]:
        """Page and warnings; what Quarto would refuse is a warning here."""
        outputs = self._execute(source, params, told)
        try:
            made = page(source, outputs, (self.folder / "theme.css").read_text())
        except DocumentError as error:
            raise RenderError(str(error)) from error
        return made, tuple(problems(source))

    def _execute(
        self, source: Document, params: Mapping[str, Any], told: Mapping[str, str]
    ) -> dict[int, list[Any]]:
        """Outputs of every cell by its number."""
        from papermill.translators import PythonTranslator

        self._run(source, "set-up", f"%reset -f\nimport os\nos.environ.update({dict(told)!r})")
        outputs = {}
        for cell in source.cells:
            outputs[cell.number] = self._run(source, cell.name, cell.code)
            if cell.is_parameters and params:
                self._run(source, "parameters", PythonTranslator.codify(dict(params)))
        return outputs

    def _run(self, source: Document, label: str, code: str) -> list[Any]:
        import nbformat
        from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

        cell: Any = nbformat.NotebookNode(
            cell_type="code", source=code, metadata={}, outputs=[], execution_count=None
        )
        client = self._kernel()
        client.nb.cells.append(cell)
        try:
            client.execute_cell(cell, len(client.nb.cells) - 1)
        except CellExecutionError as error:
            raise RenderError(
                f"report {source.path.stem}, cell {label}: {error.ename}: {error.evalue}"
            ) from error
        except (CellTimeoutError, DeadKernelError) as error:
            self._open.close()
            self._client = None
            raise RenderError(f"report {source.path.stem}, cell {label}: {error}") from error
        return list(cell.outputs)

    def start(self) -> None:
        """Start the kernel and let it import what reports use, while the caller does other work.

        Rendering waits for it. Does nothing where the Quarto CLI renders, which has its own.
        """
        if self._client is None and self._started is None and find_quarto() is None:
            self._started = self._notebook(f"--IPKernelApp.exec_lines={_AHEAD}")
            self._started.start_new_kernel(env=self._kernel_environment)

    @property
    def _kernel_environment(self) -> dict[str, str]:
        return os.environ | self._environment | {"IPYTHONDIR": self._scratch}

    def _notebook(self, *arguments: str) -> Any:
        """A client with an empty notebook, and the manager of a kernel that does not run yet."""
        import nbformat
        from jupyter_client.manager import AsyncKernelManager
        from nbclient import NotebookClient

        self._scratch = self._open.enter_context(tempfile.TemporaryDirectory(prefix="dmp-kernel-"))
        client = NotebookClient(
            nbformat.NotebookNode(cells=[], metadata={}, nbformat=4, nbformat_minor=5),
            kernel_name="python3",
            timeout=CELL_SECONDS,
            startup_timeout=CELL_SECONDS,
            resources={"metadata": {"path": str(self.folder)}},
            extra_arguments=["--HistoryManager.enabled=False", *arguments],
        )
        client.km = AsyncKernelManager(
            kernel_name="python3",
            transport="ipc",
            connection_file=f"{self._scratch}/kernel.json",
        )
        return client

    def _kernel(self) -> Any:
        if self._client is None:
            client, self._started = self._started or self._notebook(), None
            self._open.enter_context(client.setup_kernel(env=self._kernel_environment))
            self._client = client
        return self._client


@contextmanager
def _alone(home: Home, name: str) -> Iterator[None]:
    """Held by who renders a report of the home: page and note belong together, and two runs render
    what shows what either has made."""
    home.reports.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(home.reports / f".{name}.lock", mode=0o600):
        yield


_kept: list[Renderer] = []


@contextmanager
def kept(project_dir: Path, home: Home) -> Iterator[Renderer]:
    """An engine whose kernel serves everything that `engine` is asked for meanwhile."""
    with Renderer(project_dir, home) as own:
        _kept.append(own)
        try:
            yield own
        finally:
            _kept.remove(own)


@contextmanager
def engine(project_dir: Path, home: Home) -> Iterator[Renderer]:
    """The engine that is kept for this project and home, else one of its own."""
    for one in _kept:
        if (one.folder, one.home) == (project_dir / "reports", home):
            yield one
            return
    with Renderer(project_dir, home) as own:
        yield own


def find_quarto() -> Path | None:
    """The Quarto CLI when it is there (on PATH or in $QUARTO_PATH) and new enough."""
    import quarto

    version = quarto_version()
    numbers = re.match(r"(\d+)\.(\d+)", version or "")
    new_enough = numbers and tuple(map(int, numbers.groups())) >= QUARTO_MINIMUM
    return Path(quarto.path()) if new_enough else None


def quarto_version() -> str | None:
    """What the Quarto CLI says of itself; None when there is none."""
    import quarto

    found = quarto.path()
    if not found or not shutil.which(found):
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return said.stdout.strip() or None


def _quarto_failure(output: str) -> str:
    """Cell and error from what Quarto printed, without colours.

    A traceback's heading names its exception, whose last mention says what was wrong; without one
    it is Quarto's own error, else the last line that is neither a warning nor a stack frame.
    """
    cells = re.findall(r"Cell (\d+)/\d+(?:: '([^']*)')?", output)
    where = f"cell {cells[-1][1] or cells[-1][0]}" if cells else "Quarto"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    raised = re.findall(r"^([\w.]+) +Traceback \(most recent call last\)", output, re.MULTILINE)
    name = re.escape(raised[-1]) if raised else r"(?:\w+\.)*\w*(?:Error|Exception)"
    named = [line for line in lines if re.match(rf"(?:\w+\.)*{name}(?::|$)", line)]
    own = [line for line in lines if re.match(r"ERROR:?\s*\S", line)]
    said = [line for line in lines if not _ASIDE.match(line)]
    return f"{where}: {(named or own or said or lines or ['no output'])[-1]}"


def _quarto_warnings(output: str) -> tuple[str, ...]:
    """What Quarto and Pandoc warned of, each once, with the lines that are indented below it."""
    found: list[str] = []
    goes_on = False
    for line in output.splitlines():
        if match := _WARNING.match(line):
            found.append(line[match.end() :].strip())
        elif goes_on and line.startswith("  ") and line.strip():
            found[-1] = f"{found[-1]} {line.strip()}".strip()
        goes_on = bool(match) or (goes_on and line.startswith("  "))
    return tuple(dict.fromkeys(text for text in found if text))


def _check_parameters(source: Document, params: Mapping[str, Any]) -> None:
    known: set[str] = set()
    for cell in source.cells:
        if cell.is_parameters:
            for node in ast.walk(ast.parse(cell.code)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    known.add(node.id)
    if unknown := sorted(set(params) - known):
        raise RenderError(
            f"report {source.path.stem} has no parameter {', '.join(unknown)}; "
            f"it takes: {', '.join(sorted(known)) or 'none'}"
        )
