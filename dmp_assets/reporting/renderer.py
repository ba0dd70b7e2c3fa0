"""Rendering a report: a `.qmd` becomes one self-contained HTML file.

The Quarto CLI (1.4 or newer) renders when it is found; else the embedded renderer does, on
Jupyter's own libraries, for the part of Quarto that our reports use (see `document.py`). Both run
the cells with the same environment, so a report cannot tell them apart.
"""

import ast
import base64
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Any

import yaml

from dmp_assets.home import Home
from dmp_assets.reporting import document
from dmp_assets.reporting.document import Cell, Document, DocumentError
from dmp_assets.reporting.reader import RECORD, VERSIONS

QUARTO_MINIMUM = (1, 4)
CELL_SECONDS = 300
_PLACE = "DMPCELL{}END"
_KINDS = {"fig": "Figure", "tbl": "Table"}


class RenderError(Exception):
    """A report that could not be rendered: which report, which cell, and the cell's error."""


@dataclass(frozen=True)
class Rendered:
    """One rendered report: the file, how long it took, and what it was made from."""

    name: str
    path: Path
    seconds: float
    engine: str
    table_versions: Mapping[str, int] = field(default_factory=dict)
    data_through: datetime | None = None


def state(target: Path) -> dict[str, Any]:
    """What is noted beside a rendered file: `table_versions`, `rendered_at`, `fingerprint`, …"""
    note = target.with_suffix(".json")
    return dict(json.loads(note.read_text())) if target.exists() and note.exists() else {}


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

    def __enter__(self) -> "Renderer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def render(
        self,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        versions: Mapping[str, Any] | None = None,
        to: Path | None = None,
        fingerprint: str = "",
    ) -> Rendered:
        """Render `reports/<name>.qmd` to `to` (default: the home's `reports/<name>.html`).

        `params` replace the values of the cell tagged `parameters`; `versions` (table → Delta
        version, or the note that lies beside a rendered file) render the report as of then. The
        file is replaced as a whole, so a failure leaves the old one; a note of what it was made
        from, and `fingerprint`, is left beside it (see `state`). Raises RenderError.
        """
        began = time.monotonic()
        try:
            source = document.read(self.folder / f"{name}.qmd")
        except DocumentError as error:
            raise RenderError(str(error)) from error
        params = dict(params or {})
        _check_parameters(source, params)
        target = to or self.home.reports / f"{name}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        quarto = find_quarto()
        with tempfile.TemporaryDirectory(prefix="dmp-report-") as scratch:
            record = Path(scratch) / "read.json"
            wanted = dict(versions or {})
            wanted = wanted.get("table_versions", wanted)
            told = {VERSIONS: json.dumps(wanted), RECORD: str(record)}
            if quarto:
                page = self._by_quarto(quarto, source, params, told, Path(scratch))
            else:
                page = self._embedded(source, params, told)
            noted = json.loads(record.read_text()) if record.exists() else {}
        part = target.with_suffix(".html.part")
        part.write_text(page)
        note = target.with_suffix(".json")
        note.unlink(missing_ok=True)
        os.replace(part, target)
        seconds, engine = round(time.monotonic() - began, 2), "quarto" if quarto else "embedded"
        noted |= {"fingerprint": fingerprint, "params": params, "engine": engine}
        note.write_text(json.dumps(noted | {"seconds": seconds}, indent=2) + "\n")
        through = noted.get("data_through")
        return Rendered(
            name,
            target,
            seconds,
            engine,
            noted.get("table_versions", {}),
            datetime.fromisoformat(through) if through else None,
        )

    # the Quarto CLI ------------------------------------------------------------------------------
    def _by_quarto(
        self,
        quarto: Path,
        source: Document,
        params: Mapping[str, Any],
        told: Mapping[str, str],
        scratch: Path,
    ) -> str:
        """Render a copy, because the checkout may not be writable (Docker)."""
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
        output = done.stdout + done.stderr
        made = sorted(work.rglob(f"{name}.html"))
        if done.returncode or not made:
            raise RenderError(f"report {name}, {_quarto_failure(output)}")
        return made[0].read_text()

    # the embedded engine -------------------------------------------------------------------------
    def _embedded(
        self, source: Document, params: Mapping[str, Any], told: Mapping[str, str]
    ) -> str:
        outputs = self._execute(source, params, told)
        return page(source, outputs, (self.folder / "theme.css").read_text())

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

    def _kernel(self) -> Any:
        if self._client is None:
            import nbformat
            from jupyter_client.manager import AsyncKernelManager
            from nbclient import NotebookClient

            scratch = self._open.enter_context(tempfile.TemporaryDirectory(prefix="dmp-kernel-"))
            environment = os.environ | self._environment | {"IPYTHONDIR": scratch}
            client = NotebookClient(
                nbformat.NotebookNode(cells=[], metadata={}, nbformat=4, nbformat_minor=5),
                kernel_name="python3",
                timeout=CELL_SECONDS,
                resources={"metadata": {"path": str(self.folder)}},
                extra_arguments=["--HistoryManager.enabled=False"],
            )
            client.km = AsyncKernelManager(
                kernel_name="python3", transport="ipc", connection_file=f"{scratch}/kernel.json"
            )
            self._open.enter_context(client.setup_kernel(env=environment))
            self._client = client
        return self._client


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
    """Cell and error from what Quarto printed."""
    cells = re.findall(r"Cell (\d+)/\d+(?:: '([^']*)')?", output)
    where = f"cell {cells[-1][1] or cells[-1][0]}" if cells else "Quarto"
    errors = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception)\b.*$", output, re.MULTILINE)
    lines = [line for line in output.splitlines() if line.strip()]
    return f"{where}: {(errors or lines or ['no output'])[-1].strip()}"


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


# from outputs to a page ---------------------------------------------------------------------------
def page(source: Document, outputs: Mapping[int, list[Any]], css: str) -> str:
    """The whole HTML page: nothing in it is loaded from anywhere."""
    numbers = _numbered(source)
    lines: list[str] = []
    shown: dict[str, str] = {}
    for part in source.parts:
        if isinstance(part, str):
            lines.append(part)
        elif source.execution(part, "output") == "asis":
            lines.append(_as_text(outputs.get(part.number, [])))
        else:
            token = _PLACE.format(part.number)
            shown[token] = _cell_html(source, part, outputs.get(part.number, []), numbers)
            lines.append(f"\n\n{token}\n\n")
    body = _blocks(iter(_referenced("\n".join(lines), numbers).splitlines()))
    for token, text in shown.items():
        body = body.replace(f"<p>{token}</p>", text)
    template = Template((Path(__file__).parent / "page.html").read_text())
    subtitle = str(source.front.get("subtitle") or "")
    return template.substitute(
        lang=html.escape(str(source.front.get("lang", "en"))),
        title=html.escape(str(source.front.get("title", source.path.stem))),
        subtitle=f'<p class="subtitle lead">{html.escape(subtitle)}</p>' if subtitle else "",
        css=css,
        body=body,
    )


def _numbered(source: Document) -> dict[str, str]:
    """Label → `Figure 2`, by order of appearance."""
    counts = dict.fromkeys(_KINDS, 0)
    numbers = {}
    for cell in source.cells:
        label = str(cell.options.get("label", ""))
        kind = label.partition("-")[0]
        if kind in _KINDS and f"{kind}-cap" in cell.options:
            counts[kind] += 1
            numbers[label] = f"{_KINDS[kind]} {counts[kind]}"
    return numbers


def _referenced(text: str, numbers: Mapping[str, str]) -> str:
    def link(match: re.Match[str]) -> str:
        label = match.group(1)
        return f"[{numbers[label]}](#{label})" if label in numbers else f"**?@{label}**"

    return document.REFERENCE.sub(link, text)


def _markdown(text: str) -> str:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.footnote import footnote_plugin

    parser = MarkdownIt("commonmark", {"html": True, "typographer": True})
    return str(parser.enable(["table", "strikethrough"]).use(footnote_plugin).render(text))


def _blocks(lines: Any) -> str:
    """Markdown with fenced divs, up to the end of the div that is open."""
    out: list[str] = []
    text: list[str] = []
    in_code = False
    for line in lines:
        in_code ^= line.startswith("```")
        fence = None if in_code else document.FENCE.match(line)
        if not fence:
            text.append(line)
            continue
        out.append(_markdown("\n".join(text)))
        text = []
        if not fence.group(2):
            return "".join(out)
        out.append(_div(fence.group(2), _blocks(lines)))
    return "".join(out) + _markdown("\n".join(text))


def _div(fence: str, inner: str) -> str:
    names, attributes = document.classes(fence)
    callout = next((n for n in names if n.startswith("callout-")), None)
    if callout:
        title = html.escape(attributes.get("title") or callout[8:].capitalize())
        if "collapse" in attributes:
            return (
                f'<details class="callout {callout}"><summary class="callout-header">{title}'
                f'</summary><div class="callout-body">{inner}</div></details>'
            )
        return (
            f'<div class="callout {callout}"><div class="callout-header">{title}</div>'
            f'<div class="callout-body">{inner}</div></div>'
        )
    extra = "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items())
    return f'<div class="{" ".join(names)}"{extra}>{inner}</div>'


def _cell_html(source: Document, cell: Cell, outputs: list[Any], numbers: Mapping[str, str]) -> str:
    if source.execution(cell, "include") is False:
        return ""
    code = ""
    if source.execution(cell, "echo") is not False and cell.code.strip():
        code = f'<pre class="sourceCode"><code>{html.escape(cell.code)}</code></pre>'
    if source.execution(cell, "output") is False:
        return code
    warn = source.execution(cell, "warning") is not False
    shown = "".join(_output(output, warn=warn) for output in outputs)
    label = str(cell.options.get("label", ""))
    if label in numbers and shown:
        kind = label.partition("-")[0]
        caption = _markdown(str(cell.options[f"{kind}-cap"])).strip()
        caption = caption.removeprefix("<p>").removesuffix("</p>")
        caption = f"<figcaption>{numbers[label]}: {caption}</figcaption>"
        inner = caption + shown if kind == "tbl" else shown + caption
        return f'{code}<figure id="{label}" class="quarto-float">{inner}</figure>'
    return code + (f'<div class="cell-output">{shown}</div>' if shown else "")


def _as_text(outputs: list[Any]) -> str:
    """Output that is Markdown itself (`output: asis`)."""
    return (
        "\n"
        + "\n\n".join(
            str(o["text"])
            if o["output_type"] == "stream"
            else str(o["data"].get("text/markdown") or o["data"].get("text/html") or "")
            for o in outputs
            if o["output_type"] == "display_data"
            or o["output_type"] == "execute_result"
            or o.get("name") == "stdout"
        )
        + "\n"
    )


def _output(output: Any, *, warn: bool) -> str:
    if output["output_type"] == "stream":
        if output["name"] == "stderr" and not warn:
            return ""
        return f"<pre>{html.escape(output['text'])}</pre>"
    data = output.get("data", {})
    if "text/html" in data:
        return str(data["text/html"])
    if "text/markdown" in data:
        return _markdown(data["text/markdown"])
    if "image/svg+xml" in data:
        return str(data["image/svg+xml"])
    if "image/png" in data:
        encoded = base64.b64encode(base64.b64decode(data["image/png"])).decode()
        return f'<img alt="" src="data:image/png;base64,{encoded}">'
    return f"<pre>{html.escape(str(data.get('text/plain', '')))}</pre>"
