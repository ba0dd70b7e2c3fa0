"""The catalogue of assets as a Markdown page, made from the code: `dmp catalogue`."""

import textwrap
from collections.abc import Iterator

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph, AssetNode

from dmp_assets.platform.automation.personal_data import personal_data
from dmp_assets.platform.lake.columns import CATEGORIES
from dmp_assets.platform.lake.table_metadata import FURTHER, PERSONAL_TAG

LAYERS = {
    "raw": "Rows as received from the shop and the web database, every column as text; the logs of "
    "the service.",
    "cleaned": "Typed, keyed, deduplicated, normalised; what cannot be used is in `quarantine/`.",
    "modeled": "Business tables: days, users, codes, links between accounts, clusters, labels; "
    "journeys, credits and channels.",
    "ml": "The model: features, versions, scores, drift.",
    "marts": "Tables for people in `warehouse.duckdb`, without the prefix.",
    "published": "Tables that the API serves.",
    "reports": "HTML reports, the CSV of channels, and delivery to Slack.",
}

_BESIDE = {"quarantine": "cleaned", "exports": "reports", "delivery": "reports"}

INTRO = """\
# Assets

Made from the code by `dmp catalogue > docs/assets.md`; a test fails when this page is out of date.
A table's key is its place: `cleaned/users` lies in `$DMP_HOME/lakehouse/cleaned/users` and is the
node `cleaned/users` in Dagster's UI, whose code link leads to the file that writes it.

## What incremental loads cannot see

- **Landing tables** (filled by `dmp load-shop` or the demo) are read from the last `_row_id` on.
  Not seen: a row that was edited or deleted in place, and a row that an outside writer commits late
  with a lower `_row_id` than one already read.
- **Your own database** is read in full whenever the hash of a table's rows has changed: every
  insert, edit and deletion is seen.
- **A table of your own that `DMP_SHOP_WATERMARK_COLUMNS` names** is read from the greatest known
  value of that column on. Not seen: an older row that was edited without touching that column, and
  a deleted row.

An edited row of a landing table is read again by a run over its days, which replaces rows by
`_row_id`:

```sh
dmp run --start 2024-01-01 --end 2024-01-31
```

To read everything again, drop what came from the shop and start over (the shop itself is only read;
the outbox and Dagster's history stay):

```sh
dmp run --replace
```

After `dmp load-shop DIR --replace` that is needed once, because a reloaded shop counts as another
shop and is refused until you say so. Above the raw layer nothing is incremental but by days:
cleaned and user-level tables are computed from all rows, so a late user or a corrected row frees
what waited in quarantine.
"""

PERSONAL = """\
## Personal data

Every column that leads to a person or tells of one, as the tables declare it. No preview, event,
tag or log shows them. A column with a subject is one by which a person's rows are found: all
columns of such a row are about that person.
`*` stands for further columns of a source, which raw tables keep.
"""


UNATTENDED = """\
## What runs unattended

All are on by default, unless their source is not configured, and can be switched in Dagster's UI.
Times are in `DMP_TIMEZONE`.

| name | when | what |
| --- | --- | --- |
"""


def markdown(repository: dg.RepositoryDefinition) -> str:
    """All assets by layer (description, inputs, checks, owner and columns), the personal data in
    them, schedules and sensors."""
    graph = repository.asset_graph
    lines = [INTRO]
    known = [graph.get(key) for key in graph.get_all_asset_keys()]
    for layer, about in LAYERS.items():
        members = sorted(
            (node for node in known if _layer(node.key) == layer), key=lambda node: _name(node.key)
        )
        lines += [f"## {layer}", "", about, ""]
        for node in members:
            lines += _asset(graph, node)
    lines += _personal_data(graph)
    lines += ["", UNATTENDED + "\n".join(_unattended(repository))]
    return "\n".join(lines).rstrip() + "\n"


def _layer(key: dg.AssetKey) -> str:
    return _BESIDE.get(key.path[0], key.path[0])


def _name(key: dg.AssetKey) -> str:
    return "/".join(key.path)


def _asset(graph: AssetGraph, node: AssetNode) -> Iterator[str]:
    yield f"### {_name(node.key)}"
    yield ""
    yield textwrap.dedent(node.description or "").strip()
    yield ""
    parents = ", ".join(sorted(f"`{_name(key)}`" for key in node.parent_keys))
    yield f"- Reads: {parents or 'a source outside of the lakehouse'}"
    yield f"- Group: `{node.group_name}`"
    yield f"- Owner: {', '.join(node.owners) or 'nobody'}"
    checks = sorted(
        (graph.get_check_spec(key) for key in node.check_keys), key=lambda check: check.name
    )
    for check in checks:
        kind = "blocking check" if check.blocking else "check"
        yield f"- {kind.capitalize()} `{check.name}`: {check.description}"
    yield ""
    schema = node.metadata.get("dagster/column_schema")
    if isinstance(schema, dg.TableSchema):
        yield "| column | type | what it holds | personal |"
        yield "| --- | --- | --- | --- |"
        for column in schema.columns:
            about = (column.description or "").replace("|", "\\|")
            kind, personal = f"`{column.type}`", column.tags.get(PERSONAL_TAG, "–")
            yield f"| `{column.name}` | {kind} | {about} | {personal} |"
        yield ""
    if further := node.metadata.get(FURTHER):
        yield f"Further columns: {further}"
        yield ""


def _unattended(repository: dg.RepositoryDefinition) -> Iterator[str]:
    for schedule in sorted(repository.schedule_defs, key=lambda one: one.name):
        yield f"| `{schedule.name}` | `{schedule.cron_schedule}` | {schedule.description} |"
    for sensor in sorted(repository.sensor_defs, key=lambda one: one.name):
        seconds = sensor.minimum_interval_seconds or 30
        yield f"| `{sensor.name}` | every {seconds} s | {sensor.description} |"


def _personal_data(graph: AssetGraph) -> Iterator[str]:
    yield PERSONAL
    yield "| category | what it is |"
    yield "| --- | --- |"
    yield from (f"| {category} | {about} |" for category, about in CATEGORIES.items())
    yield ""
    yield "| table | column | category | subject |"
    yield "| --- | --- | --- | --- |"
    for found in personal_data(graph):
        subject = f"`{found.subject}`" if found.subject else "–"
        yield f"| `{found.table}` | `{found.column}` | {found.category} | {subject} |"
