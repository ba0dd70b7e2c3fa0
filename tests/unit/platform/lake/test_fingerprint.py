"""Which code decides a result: found by what is imported, the same wherever it lies."""

import re
from pathlib import Path

import pytest

import dmp_assets
from dmp_assets import domains
from dmp_assets.platform.lake import fingerprint
from dmp_assets.platform.lake.tables import LAYERS

ONE = """
from typing import TYPE_CHECKING
from dmp_assets.platform.values import times, words
from dmp_assets.abuse.model.money import (
    Thresholds,
    costs,
)
if TYPE_CHECKING:
    from dmp_assets.settings import Settings

def half(x):
    from dmp_assets.abuse.model import rules
    return x / 2
"""
MOVED = """
from typing import TYPE_CHECKING
from dmp_assets.platform.values import words, times
from dmp_assets.abuse.model.money import Thresholds, costs
if TYPE_CHECKING:
    from dmp_assets.elsewhere import Settings

def half(x):
    from dmp_assets.abuse.model import rules
    return x / 2
"""


def test_code_that_moved_is_the_same_code_and_other_code_is_not() -> None:
    own, _ = fingerprint._parsed(ONE)
    assert fingerprint._parsed(MOVED)[0] == own
    for other in (
        ONE.replace("x / 2", "x / 3"),
        ONE.replace("times, words", "times, zones"),
        ONE.replace("    costs,", "    costs as money,"),
    ):
        assert fingerprint._parsed(other)[0] != own


DECLARED = """
COLUMNS = {
    "user_id": Column("string", "The user (of the shop (ours)).", "identifier", "user_id"),
    "n": Column(
        "long",
        f"How {MANY}.",
    ),
}
"""


def test_of_a_declared_column_name_and_type_count_and_what_is_said_of_it_does_not() -> None:
    own, _ = fingerprint._parsed(DECLARED)
    for other in (
        DECLARED.replace("The user (of", "Who (by"),
        DECLARED.replace(', "identifier", "user_id"', ""),
        DECLARED.replace('"n": Column(\n        "long",\n', '"n": Column("long",'),
    ):
        assert other != DECLARED
        assert fingerprint._parsed(other)[0] == own
    for other in (
        DECLARED.replace('"long"', '"double"'),
        DECLARED.replace('"n":', '"m":'),
        DECLARED.replace("Column(", "F.Column("),
    ):
        assert fingerprint._parsed(other)[0] != own


RECEIVED = """
COLUMNS = {
    "day": Received("day", "Its day (UTC).", personal=None, aliases=("date",)),
    "clock": Received(
        "clock", "Its time.", personal="behaviour", required=True, days="day", aliases=("at", "t")
    ),
}
"""


def test_of_a_received_column_name_kind_and_days_count_and_what_is_said_of_it_does_not() -> None:
    own, _ = fingerprint._parsed(RECEIVED)
    for old, new in (
        ("Its day (UTC)", "The day"), ('aliases=("date",)', 'aliases=("date", "dated")'),
        ("personal=None", 'personal="behaviour"'), (', aliases=("at", "t")', ""),
        ("required=True, ", ""),
    ):  # fmt: skip
        assert old in RECEIVED
        assert fingerprint._parsed(RECEIVED.replace(old, new))[0] == own
    for old, new in (
        ('"clock":', '"time":'), ('"clock", "Its', '"time", "Its'), ('days="day"', 'days="date"'),
        (', days="day"', ""),
    ):  # fmt: skip
        assert old in RECEIVED
        assert fingerprint._parsed(RECEIVED.replace(old, new))[0] != own


def test_every_column_that_is_declared_is_seen_as_one() -> None:
    seen = dict.fromkeys(("Column", "Received"), 0)
    for file in Path(dmp_assets.__path__[0]).rglob("*.py"):
        text = file.read_text()
        found = [match["class"] for match in fingerprint._DECLARED.finditer(text)]
        for name in seen:
            seen[name] += found.count(name)
            assert found.count(name) == len(re.findall(rf"(?<![\w.]){name}\(\s*\"", text)), file
    assert min(seen.values()) > 20


def test_what_is_imported_anywhere_in_a_module_counts_but_for_types() -> None:
    _, imported = fingerprint._parsed(ONE)
    assert set(imported) == {
        "dmp_assets.platform.values.times", "dmp_assets.platform.values.words",
        "dmp_assets.abuse.model.money", "dmp_assets.abuse.model.rules",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("module", "counts"),
    [
        ("attribution.tables.attribution", {
            "attribution.model.channel_values", "attribution.model.journeys",
            "attribution.model.paths", "attribution.model.shapley"}),
        ("abuse.tables.account_links", {"identity.evidence", "identity.witness"}),
        ("cleaned.shop.users", {"platform.values.times", "platform.values.words",
                                "platform.cleaning.rules", "platform.cleaning.normalise",
                                "platform.cleaning.received", "sources.shop.tables"}),
        ("abuse.tables.model_registry", {"abuse.model.train", "abuse.model.models",
                                         "abuse.model.evaluate", "abuse.model.features"}),
        ("abuse.tables.abuse_scores", {"abuse.model.explain", "abuse.model.rules"}),
        ("abuse.tables.account_snapshot", {"abuse.model.view", "abuse.model.keys",
                                           "identity.evidence"}),
    ],
)  # fmt: skip
def test_a_table_counts_all_that_its_values_come_from(module: str, counts: set[str]) -> None:
    found = fingerprint.closure(f"dmp_assets.{module}")
    assert {f"dmp_assets.{name}" for name in counts} <= found
    machinery = {
        "dmp_assets.platform.lake.table_asset",
        "dmp_assets.platform.lake.lakehouse",
        "dmp_assets.settings",
    }
    assert not machinery & found


def test_a_change_below_changes_the_code_of_what_stands_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed, source = "dmp_assets.attribution.model.channel_values", fingerprint._source
    above, beside = (
        "dmp_assets.attribution.tables.attribution",
        "dmp_assets.abuse.tables.account_links",
    )
    before = fingerprint.code(above), fingerprint.code(beside)
    monkeypatch.setattr(
        fingerprint, "_source",
        lambda name: f"{source(name)}\nMORE = 1\n" if name == changed else source(name),
    )  # fmt: skip
    assert fingerprint.code(above) != before[0]
    assert fingerprint.code(beside) == before[1]


def test_the_code_of_a_page_is_that_of_its_cells() -> None:
    text = "# A page\n\n```{python}\nfrom dmp_assets.abuse.model import fairness\n```\n"
    assert "dmp_assets.abuse.model.fairness" in fingerprint.closure(text=text)
    assert fingerprint.code(text=text) != fingerprint.code(text=text.replace("A page", "Another"))


def test_the_machinery_is_there() -> None:
    rooms = {
        f"dmp_assets.{domain}.{room}"
        for domain in domains.DOMAINS
        for room in fingerprint._OF_A_DOMAIN
    }  # of which a domain has those that it needs
    assert rooms < set(fingerprint.MACHINERY)
    for name in set(fingerprint.MACHINERY) - rooms:
        assert fingerprint._source(name) is not None, name
    with pytest.raises(ImportError, match=r"no module dmp_assets\.nowhere"):
        fingerprint.code("dmp_assets.nowhere")


def test_what_earlier_versions_knew_is_named_by_tables_that_there_are() -> None:
    assert all(key == "model" or key.partition("/")[0] in LAYERS for key in fingerprint._known())
