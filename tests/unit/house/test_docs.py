"""README and docs/ say what is there: commands, options, settings, files, links, figures."""

import re
import runpy
import shlex
from configparser import ConfigParser
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import typer.main
from fastapi.routing import APIRoute

from dmp_assets import domains
from dmp_assets.abuse.model import explain, limits, rules
from dmp_assets.attribution.model.models import names_of
from dmp_assets.cleaned.shop import promo_codes, promo_usages, users
from dmp_assets.cli.main import app
from dmp_assets.platform.automation import catalogue
from dmp_assets.platform.config import example
from dmp_assets.platform.faces.service import services
from dmp_assets.platform.lake.tables import LAYERS
from dmp_assets.platform.store import database, roles
from dmp_assets.settings import Settings, in_order
from dmp_assets.sources import contract
from tests.support.docs import PAGES, ROOT, commands, files, inline, links

DATA = ROOT.parent / "shared" / "data" / "noaat"
COMMANDS = sorted({(page.name, line) for page in PAGES for line in commands(page)})
MAKEFILE = (ROOT / "Makefile").read_text()
CODE = "\n".join(path.read_text() for path in (ROOT / "dmp_assets").rglob("*.py"))
NOT_THERE_YET = {"config.yaml"}  # optional, written by the user
PLACES = (
    ROOT,
    *(ROOT / "dmp_assets" / room for room in ("", *domains.DOMAINS, "platform", "platform/lake")),
)


def test_every_kind_of_page_was_found() -> None:
    assert len(PAGES) > 10
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_command_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(line.partition(" > ")[0])
    program = words[0].removeprefix(".venv/bin/")
    if program == "make":
        _check_make(words[1:])
    elif program == "dmp":
        _check_dmp(words[1:])
    elif program == "python":
        file = f"{words[2].replace('.', '/')}.py" if words[1] == "-m" else words[1]
        assert (ROOT / file).is_file()
    else:
        assert program == "export", f"{page}: nobody checks {line!r}"


def _check_make(words: list[str]) -> None:
    for word in words:
        name, is_variable, _ = word.partition("=")
        if is_variable:
            assert re.search(rf"^{name} \?=", MAKEFILE, re.M), f"make knows no {name}"
        else:
            assert re.search(rf"^{name}:", MAKEFILE, re.M), f"make knows no {name}"


def _check_dmp(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    known = {option: p for p in command.params for option in (*p.opts, *p.secondary_opts)}
    allowed = sum(p.param_type_name == "argument" for p in command.params)
    given = 0
    while words:
        word = words.pop(0)
        if word == "--help":
            continue
        if not word.startswith("-"):
            given += 1
            continue
        assert word in known, f"{command.name} has no option {word}"
        if words and not getattr(known[word], "is_flag", False):
            del words[: known[word].nargs]
    assert given <= allowed, f"{command.name} takes {allowed} arguments"


UNITS = sorted((ROOT / "docs" / "systemd").glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_systemd_unit_starts_a_command_that_exists_and_is_held_in(unit: Path) -> None:
    parts = ConfigParser(interpolation=None)
    parts.optionxform = str  # type: ignore[assignment,method-assign]
    parts.read(unit)
    service = parts["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program == "/opt/dmp/.venv/bin/dmp"
    _check_dmp(words)
    assert service["Restart"] == "on-failure"
    assert service["EnvironmentFile"] == "/etc/dmp/environment"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == service["PrivateTmp"] == service["ProtectHome"] == "yes"
    assert (service["User"], service["CapabilityBoundingSet"]) == ("dmp", "")
    assert f"systemd/{unit.name}" in links(ROOT / "docs" / "deploy.md")


def test_the_three_systemd_units_differ_in_what_they_start_only() -> None:
    own = ("# ", "Description=", "ExecStart=", "TimeoutStopSec=")
    assert len(UNITS) == 3
    shared = {
        "\n".join(line for line in unit.read_text().splitlines()[1:] if not line.startswith(own))
        for unit in UNITS
    }
    assert len(shared) == 1


def test_a_machine_is_sized_by_figures_that_were_measured() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    table = re.search(r"<!-- measured -->\n(.*)\n<!-- /measured -->", page, re.S)
    assert table is not None
    measured = "".join(
        (ROOT / "docs" / name).read_text().partition("## Measured")[2]
        for name in ("scalability.md", "api.md")
    )
    known = set(re.findall(r"(?<=\| )[\d,.]+(?= \|)", measured.replace(" | ", " |  | ")))
    for row in table[1].splitlines()[2:]:
        used = re.findall(r"(?<!\w)\d[\d,.]*\b", row.split("|")[2])
        assert used and set(used) <= known, row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    inside = [link for link in links(page) if not link.startswith(("http", "#", "mailto:"))]
    gone = [
        link for link in inside if not (page.parent / link.partition("#")[0]).resolve().exists()
    ]
    assert gone == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"\bDMP_[A-Z][A-Z0-9_]*", page.read_text()))
    fields = {f"DMP_{name.upper()}" for name in Settings.model_fields} | {
        f"DMP_{name.upper()}"
        for path, text in files(page)
        if path.endswith("/settings.py")
        for name in re.findall(r"^    (\w+): ", text, re.M)
    }
    assert [n for n in named - fields if not re.search(rf"[\"']{n}[\"']", CODE)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_folder_that_is_named_exists(page: Path) -> None:
    written = NOT_THERE_YET | {
        end
        for path, _ in files(page)
        for place in (Path(path), *(Path(f"{folder}/_") for folder in Path(path).parents))
        for end in _ends(place)
    }
    layers = {f"{layer}/" for layer in LAYERS}
    named = {
        text
        for text in inline(page)
        if re.fullmatch(r"[\w.-][\w./-]*(?:\.(?:py|qmd|md|toml|yaml|ipynb|css|js)|/)", text)
        and not text.startswith("var/")
    }
    gone = [
        text
        for text in named - written - layers
        if not any((place / text).exists() for place in PLACES)
    ]
    assert gone == []


def _ends(path: Path) -> list[str]:
    """The path from each of its folders on; of `…/_` the folder."""
    parts = path.parts
    return ["/".join(parts[at:]).removesuffix("_") for at in range(len(parts))]


def test_the_page_of_assets_is_what_the_code_says() -> None:
    from dmp_assets.definitions import defs

    made = catalogue.markdown(defs.get_repository_def())
    assert (ROOT / "docs" / "assets.md").read_text() == made, "dmp catalogue > docs/assets.md"


def test_the_page_of_inputs_is_what_the_code_reads() -> None:
    assert (ROOT / "docs" / "inputs.md").read_text() == contract.markdown(), (
        "dmp catalogue --inputs > docs/inputs.md"
    )


def test_every_column_of_every_table_is_described() -> None:
    assert "|  |" not in (ROOT / "docs" / "assets.md").read_text()


@pytest.mark.given_data
def test_the_figures_of_the_findings_are_those_of_the_data() -> None:
    page = (ROOT / "docs" / "findings.md").read_text()
    table = re.search(r"<!-- findings -->\n(.*)\n<!-- /findings -->", page, re.S)
    assert table is not None
    assert runpy.run_path(str(ROOT / "docs" / "findings.py"))["table"](DATA) == table[1]


def test_the_figures_in_the_text_of_the_findings_are_in_its_table() -> None:
    page = (ROOT / "docs" / "findings.md").read_text()
    text, _, table = page.partition("<!-- findings -->")
    counted = set(re.findall(r"\b\d{1,3}(?:,\d{3})+\b", text))
    known = set(re.findall(r"\| ([\d,]+) \|", table))
    assert counted - known == set()


def test_every_rule_of_cleaning_is_on_its_page() -> None:
    page = (ROOT / "docs" / "cleaning.md").read_text()
    rules = chain(users.RULES, promo_codes.RULES, promo_usages.RULES)
    assert [rule.name for rule in rules if f"`{rule.name}`" not in page] == []


def test_the_reason_codes_of_the_api_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    table = re.search(r"<!-- reasons -->\n(.*)\n<!-- /reasons -->", page, re.S)
    assert table is not None
    told = re.findall(r"^\| `([^`]+)` \| (.+) \|$", table[1], re.M)
    assert [code for code, _ in told] == [
        *rules.CODES, limits.CODE, f"{explain.FEATURE_PREFIX}…",
    ]  # fmt: skip
    assert {code: text for code, text in told if code in rules.TEXTS} == rules.TEXTS


def test_every_route_of_a_domain_for_programs_is_on_the_page_of_the_api() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    routes = [
        f"{method} {route.path}"
        for face in services().values()
        for router in face.routers
        for route in router.routes
        if isinstance(route, APIRoute) and route.path.startswith("/v1/")
        for method in route.methods or ()
    ]
    assert len(routes) > 5
    assert [route for route in routes if f"| `{route}` |" not in page] == []


def test_the_example_of_a_domain_goes_on_from_the_newest_migration() -> None:
    page, newest = (ROOT / "docs" / "domain.md").read_text(), database.head()
    if "refunds" in domains.DOMAINS:  # a copy that has it
        newest = f"{int(newest) - 1:04}"
    assert f'down_revision = "{newest}"' in page
    following = f"{int(newest) + 1:04}"
    assert f'\nrevision = "{following}"' in page and f"/v{following}_" in page


def test_every_attribution_model_is_on_its_page_in_its_order() -> None:
    page = (ROOT / "docs" / "attribution.md").read_text()
    table = page.partition("## Models")[2].partition("\n## ")[0]
    told = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", table, re.M)))
    service, *own = names_of()
    assert told == [*own, service], "in the order of attribution/model/models.py"


def test_the_page_of_scopes_and_roles_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "access.md").read_text() == roles.markdown(), (
        "dmp catalogue --access > docs/access.md"
    )


def test_the_example_of_settings_is_what_the_code_says() -> None:
    assert (ROOT / ".env.example").read_text() == example.text(in_order()), (
        "dmp catalogue --settings > .env.example"
    )


def test_the_readme_leads_to_every_page() -> None:
    led_to = {link.removeprefix("docs/") for link in links(ROOT / "README.md")}
    assert [page.name for page in PAGES[1:] if page.name not in led_to] == []
