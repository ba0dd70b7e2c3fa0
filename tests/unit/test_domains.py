"""Machinery asks the table of contents and names no domain."""

from pathlib import Path
from typing import Any

import pytest

from dmp_assets import domains, platform
from dmp_assets.definitions import defs
from dmp_assets.platform.faces.domain import known_domains
from dmp_assets.platform.faces.lake import PLATFORM, TAG, lakes
from dmp_assets.platform.reporting.report_spec import reports_of_domains


@pytest.fixture(scope="module")
def repository() -> Any:
    return defs.get_repository_def()


def test_the_platform_names_no_domain() -> None:
    (folder,) = platform.__path__
    texts = {path.name: path.read_text().casefold() for path in Path(folder).glob("*.py")}
    assert len(texts) > 1
    assert [
        (n, name) for name in domains.DOMAINS for n, text in texts.items() if name in text
    ] == []


def test_every_domain_has_its_faces_under_its_name() -> None:
    assert [domain.name for domain in known_domains()] == list(domains.DOMAINS)
    assert list(lakes()) == list(reports_of_domains()) == list(domains.DOMAINS)


def test_every_asset_is_of_a_domain_and_in_a_shared_job_by_it_alone(repository: Any) -> None:
    graph = repository.asset_graph
    of = {key: graph.get(key).tags[TAG] for key in graph.get_all_asset_keys()}
    assert set(of.values()) == {*domains.DOMAINS, PLATFORM}
    shared = {name for name, given in lakes().items() if given.in_shared_jobs} | {PLATFORM}
    made = repository.get_job("weekly_report").asset_layer.executable_asset_keys
    assert set(made) == {key for key, domain in of.items() if domain in shared}
