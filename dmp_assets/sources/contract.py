"""The page of the input contract, docs/inputs.md: tables, columns, formats, what others call them.

Made from what the code reads, so that it cannot say otherwise; `contract.txt` is its prose.
"""

from importlib.resources import files

from dmp_assets.platform.cleaning.received import ReceivedColumns
from dmp_assets.sources.csv.header import DELIMITERS
from dmp_assets.sources.shop import tables as shop
from dmp_assets.sources.web import tables as web


def markdown() -> str:
    """The page."""
    about = files("dmp_assets.sources").joinpath("contract.txt").read_text(encoding="utf-8")
    parts = [about.replace("DELIMITERS", ", ".join(DELIMITERS.values())), "## Tables of the shop\n"]
    for spec in shop.TABLES.values():
        title = f"### {spec.name}" + (
            " (may be missing; loaded and not used yet)" if spec.optional else ""
        )
        parts.append(f"{title}\n\n{_table(spec.columns)}")
    parts.append("## Tables of the web database\n")
    for name, columns in web.TABLES.items():
        parts.append(f"### {name}\n\n{_table(columns)}")
    return "\n".join(parts)


def _table(columns: ReceivedColumns) -> str:
    lines = ["| column | | format | what | others call it |", "| --- | --- | --- | --- | --- |"]
    for name, column in columns.items():
        others = ", ".join(f"`{other}`" for other in column.aliases)
        need = "required" if column.required else ""
        form = column.traits.format
        lines.append(f"| `{name}` | {need} | {form} | {column.about} | {others} |")
    return "\n".join(lines) + "\n"
