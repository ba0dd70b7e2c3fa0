"""Files of a lakehouse beside its layers, by their names: what is noted of the whole.

Each function raises StorageError where a storage elsewhere does not do it.
"""

from collections.abc import Mapping

from dmp_assets.platform.lake.files import Mark
from dmp_assets.platform.lake.storage_errors import in_words
from dmp_assets.platform.lake.tables import Tables


def path(tables: Tables, name: str) -> str:
    """Where the file or folder lies."""
    return f"{tables.root.rstrip('/')}/{name}"


def read(tables: Tables, name: str) -> bytes | None:
    """What the file holds; None where it is not there."""
    with in_words(tables.root):
        return tables.files.read(path(tables, name))


def below(tables: Tables, name: str) -> Mapping[str, Mark]:
    """All files in the folder, by their names from the root on."""
    with in_words(tables.root):
        found = tables.files.below(path(tables, name))
    return {one.removeprefix(path(tables, "")): mark for one, mark in found.items()}


def write(tables: Tables, name: str, content: bytes) -> None:
    """Make or replace the file whole."""
    with in_words(tables.root):
        tables.files.write(path(tables, name), content)


def remove(tables: Tables, name: str) -> None:
    """Remove the file, or the folder with all that is in it; it need not be there."""
    with in_words(tables.root):
        tables.files.remove(path(tables, name))
