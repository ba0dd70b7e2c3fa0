"""Machinery asks the table of contents and names no domain."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import grimp
import pytest
from pydantic import BaseModel

import dmp_assets
from dmp_assets import domains, platform
from dmp_assets.definitions import defs
from dmp_assets.platform.automation.personal_data import personal_data
from dmp_assets.platform.config.setting_kinds import Outside, distinct, is_outside
from dmp_assets.platform.faces.domain import Domain, known_domains, known_sources
from dmp_assets.platform.faces.lake import TAG, lakes
from dmp_assets.platform.reporting.report_spec import first_report, reports_of_domains

ROOMS = ("commands", "sandbox", "lake", "report", "tables", "service", "model", "figures")
"""From what may know most to what may know least; `domain` asks whom it needs, when it is asked."""


@pytest.fixture(scope="module")
def repository() -> Any:
    return defs.get_repository_def()


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("dmp_assets")


def imported(graph: grimp.ImportGraph, package: str) -> set[tuple[str, str]]:
    """(module, what it imports) of all modules of a package, at its top or anywhere in it."""
    inside = {package, *graph.find_descendants(package)}
    return {
        (one, other) for one in inside for other in graph.find_modules_directly_imported_by(one)
    }


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def test_the_platform_names_no_domain() -> None:
    (folder,) = platform.__path__
    named = [name for name in domains.DOMAINS if name != "overview"]  # a word of every day
    texts = {
        path.relative_to(folder): path.read_text().casefold()
        for path in Path(folder).rglob("*.py")
        if "migrations" not in path.parts  # what has been is told as it was
    }
    assert len(texts) > 150
    word = {name: re.compile(rf"(?<![a-z]){name}(?![a-z])") for name in named}
    assert [
        (n, name) for name in named for n, text in texts.items() if word[name].search(text)
    ] == []


@pytest.mark.parametrize("domain", domains.DOMAINS)
def test_nobody_below_knows_a_domain_and_none_another(
    graph: grimp.ImportGraph, domain: str
) -> None:
    others = [f"dmp_assets.{name}" for name in domains.DOMAINS if name != domain]
    below = ["dmp_assets.platform", "dmp_assets.cleaned", "dmp_assets.raw", "dmp_assets.sources"]
    for package in (*below, *others):
        known = imported(graph, package) if package in graph.modules else set()
        assert {pair for pair in known if is_in(pair[1], f"dmp_assets.{domain}")} == set()


@pytest.mark.parametrize("domain", domains.DOMAINS)
def test_the_rooms_of_a_domain_import_leftwards_only(graph: grimp.ImportGraph, domain: str) -> None:
    rooms = [f"dmp_assets.{domain}.{room}" for room in ROOMS]
    for place, room in enumerate(rooms):
        if room in graph.modules:
            known = {other for _, other in imported(graph, room)}
            assert [o for o in known for left in rooms[:place] if is_in(o, left)] == [], room


def test_every_domain_has_its_faces_under_its_name() -> None:
    assert [domain.name for domain in known_domains()] == list(domains.DOMAINS)
    assert list(lakes()) == list(domains.DOMAINS)
    assert list(reports_of_domains()) == list(domains.DOMAINS)


def test_every_asset_is_of_a_domain_and_in_a_shared_job_by_it_alone(repository: Any) -> None:
    graph = repository.asset_graph
    of = {key: graph.get(key).tags[TAG] for key in graph.get_all_asset_keys()}
    assert set(of.values()) == set(domains.DOMAINS)
    shared = {name for name, given in lakes().items() if given.in_shared_jobs}
    made = repository.get_job("weekly_report").asset_layer.executable_asset_keys
    assert set(made) == {key for key, domain in of.items() if domain in shared}


def test_the_sources_that_domains_read_are_the_groups_of_what_is_received(repository: Any) -> None:
    graph = repository.asset_graph
    groups: dict[str, set[str]] = {}
    for key in graph.get_all_asset_keys():
        if key.path[0] in ("raw", "cleaned", "quarantine"):
            groups.setdefault(graph.get(key).group_name, set()).add("/".join(key.path))
    assert known_sources()
    for source in known_sources():
        own = {key for key in groups[source.name] if key.partition("/")[2] in source.tables}
        assert own == set(source.keys)
        assert set(source.events) <= {f"cleaned/{table}" for table in source.tables}
    shared = [keys for group, keys in groups.items() if group not in domains.DOMAINS]
    received = {key for keys in shared for key in keys if key.startswith("cleaned/")}
    assert received == {f"cleaned/{t}" for source in known_sources() for t in source.tables}


def unsaid(declared: Collection[tuple[str, str]], known: Sequence[Domain]) -> set[tuple[str, str]]:
    """Of (domain, subject of a table of it) those of which the domain does not say what becomes."""
    said = {(one.name, subject) for one in known for subject in (*one.forgets, *one.keeps)}
    return set(declared) - said


def test_every_subject_of_a_table_is_forgotten_by_its_domain_or_said_to_be_kept(
    repository: Any,
) -> None:
    graph = repository.asset_graph
    domain_of = {"/".join(key.path): graph.get(key).tags[TAG] for key in graph.get_all_asset_keys()}
    declared = {(domain_of[one.table], one.subject) for one in personal_data(graph) if one.subject}
    assert ("abuse", "user_id") in declared
    assert unsaid(declared, known_domains()) == set(), "add it to `forgets` of its `domain.py`"
    for domain in known_domains():
        said = [*domain.forgets, *domain.keeps]
        assert len(said) == len(set(said)), domain.name
        assert {(domain.name, subject) for subject in said} <= declared, "no table has it"


def test_a_subject_that_only_another_domain_forgets_is_found() -> None:
    one = Domain(name="one", title="One", forgets=("user_id",), keeps=("visit",))
    other = Domain(name="other", title="Other", forgets=("order_id",))
    declared = {("one", "user_id"), ("one", "visit"), ("other", "order_id"), ("other", "user_id")}
    assert unsaid(declared, [one, other]) == {("other", "user_id")}


def test_the_report_that_is_meant_when_none_is_named_is_the_first_of_the_first_domain() -> None:
    first, *_ = reports_of_domains()[domains.DOMAINS[0]]
    assert first_report() == first.name == "promo_abuse"


def test_a_domain_that_is_named_and_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domains, "DOMAINS", ("abuse", "abusse"))
    with pytest.raises(ImportError, match="names abusse, and there is no dmp_assets/abusse/domain"):
        domains.rooms("figures")


@pytest.mark.parametrize("missing", ["dmp_assets.mislai", "dmp", "dmp_assets.mislaid.nothing"])
def test_a_domain_that_imports_what_is_not_there_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    folder = tmp_path / "mislaid"
    folder.mkdir()
    (folder / "__init__.py").write_text(f"import {missing}\n")
    (folder / "domain.py").touch()
    monkeypatch.setattr(dmp_assets, "__path__", [*dmp_assets.__path__, str(tmp_path)])
    monkeypatch.setattr(domains, "DOMAINS", ("mislaid",))
    with pytest.raises(ModuleNotFoundError, match=f"'{missing}"):
        domains.rooms("service.face")


def test_settings_of_one_name_are_refused() -> None:
    class One(BaseModel):
        token: str = ""

    class Two(One):
        other: str = ""

    class Three(BaseModel):
        token: Annotated[str, Outside()] | None = None

    distinct((One, Two))
    with pytest.raises(TypeError, match="Three and One both declare token"):
        distinct((Two, Three))
    assert [is_outside(one.model_fields["token"]) for one in (One, Three)] == [False, True]
