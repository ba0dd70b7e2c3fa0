"""How the house is built: no module imports itself by a detour, nothing is too large to read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import grimp
import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import dmp_assets

(PACKAGE,) = map(Path, dmp_assets.__path__)
MOST_METHODS, MOST_LINES = 20, 500
REASON = f"More than {MOST_METHODS} methods:"
"""With this a class says in its docstring why it has more."""


def circles(graph: grimp.ImportGraph) -> list[list[str]]:
    """Modules that import each other, directly or by others; imports in functions count, too."""
    modules = sorted(graph.modules)
    place = {name: n for n, name in enumerate(modules)}
    edges = [
        (place[name], place[other])
        for name in modules
        for other in graph.find_modules_directly_imported_by(name)
    ]
    rows, columns = np.array(edges).reshape(-1, 2).T
    size = len(modules)
    matrix = coo_array((np.ones(len(edges)), (rows, columns)), shape=(size, size))
    _, labels = connected_components(matrix, connection="strong")
    found = [[modules[n] for n in np.flatnonzero(labels == label)] for label in set(labels)]
    return sorted(group for group in found if len(group) > 1)


def classes() -> dict[str, tuple[ast.ClassDef, list[str]]]:
    """Each class by its module and name: what it says, and the names of its bases."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                found[f"{module}.{node.name}"] = node, bases
    return found


def methods(name: str, known: dict[str, tuple[ast.ClassDef, list[str]]]) -> Iterator[str]:
    """The methods of a class and of those of our classes that it is derived from."""
    node, bases = known[name]
    for part in node.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            yield part.name
    for base in bases:
        for other in known:
            if other.rpartition(".")[2] == base and other != name:
                yield from methods(other, known)


def too_many(known: dict[str, tuple[ast.ClassDef, list[str]]]) -> set[str]:
    """Classes with too many methods that do not say why."""
    return {
        name
        for name, (node, _) in known.items()
        if len(set(methods(name, known))) > MOST_METHODS
        and REASON not in (ast.get_docstring(node) or "")
    }


def test_no_module_imports_itself_by_a_detour() -> None:
    assert circles(grimp.build_graph("dmp_assets")) == []


def test_a_circle_is_found_wherever_its_imports_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "circular_house"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "one.py").write_text("from circular_house import two\n")
    (package / "two.py").write_text("def late():\n    from circular_house import three\n")
    (package / "three.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from circular_house import one\n"
    )
    (package / "four.py").write_text("from circular_house import one\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = circles(grimp.build_graph("circular_house", cache_dir=None))
    assert found == [[f"circular_house.{name}" for name in ("one", "three", "two")]]


def test_a_class_with_many_methods_says_why() -> None:
    assert too_many(classes()) == set()


def test_methods_of_our_base_classes_count() -> None:
    body = "\n".join(f"    def m{n}(self): ..." for n in range(15))
    more = body.replace("m", "n")
    text = f"class Many:\n{body}\nclass More(Many):\n{more}\n"
    reasoned = f'class Told(Many):\n    """One word a method. {REASON} so."""\n{more}\n'
    known = {
        f"m.{node.name}": (node, [ast.unparse(base) for base in node.bases])
        for node in ast.parse(text + reasoned).body
        if isinstance(node, ast.ClassDef)
    }
    assert too_many(known) == {"m.More"}


def test_no_file_is_too_long_to_read() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert len(lines) > 100
    assert [path for path, count in lines.items() if count > MOST_LINES] == []
