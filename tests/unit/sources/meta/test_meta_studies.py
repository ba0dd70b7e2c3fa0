"""Split tests over real HTTP."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from dmp_assets.sources.meta import studies
from dmp_assets.sources.meta.client import MetaClient
from dmp_assets.sources.meta.connection import READING
from dmp_assets.sources.meta.errors import (
    BadParameterError,
    ObjectGoneError,
    PermissionMissingError,
)
from dmp_assets.sources.meta.studies import Cell, StudyError
from tests.support.meta import BERLIN, NOW, Meta

START, END = NOW + timedelta(days=1), NOW + timedelta(days=15)
ADSETS = (f"{BERLIN}20", f"{BERLIN}21")
CELLS = (Cell("A", 50, "adsets", ADSETS[:1]), Cell("B", 50, "adsets", ADSETS[1:]))


@pytest.fixture
def client(meta: Meta, token: str) -> Iterator[MetaClient]:
    with meta.client(token) as client:
        yield client


def made(client: MetaClient, name: str = "Which shoes") -> str:
    return studies.create(client, "501", name, START, END, CELLS)


def test_a_split_test_is_made_and_read_and_its_state_follows_from_its_times(
    client: MetaClient,
) -> None:
    found = studies.read(client, made(client))
    assert (found.name, found.start, found.end) == ("Which shoes", START, END)
    assert found.cells == (("A", 50), ("B", 50))
    states = [found.state(at) for at in (NOW, START, END - timedelta(seconds=1), END)]
    assert states == ["scheduled", "running", "running", "finished"]
    assert found in [
        studies.read(client, one.study_id) for one in studies.of(client, f"act_{BERLIN}", ADSETS[0])
    ]


def test_it_is_ended_early_or_canceled(client: MetaClient) -> None:
    one = made(client)
    sooner = START + timedelta(days=7)
    studies.end(client, one, sooner)
    assert studies.read(client, one).end == sooner
    studies.cancel(client, one)
    assert studies.read(client, one).state(NOW) == "canceled"
    with pytest.raises(ObjectGoneError):
        studies.cancel(client, "999")


def test_a_token_that_may_only_read_makes_none(meta: Meta) -> None:
    with meta.client(meta.token(scopes=READING)) as client, pytest.raises(PermissionMissingError):
        made(client)


@pytest.mark.parametrize(
    ("end", "cells", "words"),
    [
        (START, CELLS, "end after"),
        (END, CELLS[:1], "2 to 150"),
        (END, (CELLS[0], Cell("B", 60, "adsets", ("1",))), "together at most 100"),
        (END, (CELLS[0], Cell("B", 0, "adsets", ("1",))), "1 to 100"),
        (END, (CELLS[0], Cell("B", 50, "adsets", ())), "holds 1 to 100"),
        (END, (CELLS[0], Cell("B", 50, "campaigns", ADSETS[:1])), "in two cells"),
    ],
)
def test_what_meta_would_refuse_is_said_before(
    meta: Meta, client: MetaClient, end: datetime, cells: tuple[Cell, ...], words: str
) -> None:
    with pytest.raises(StudyError, match=words):
        studies.create(client, "501", "x", START, end, cells)
    assert meta.calls("ad_studies", "POST") == []


def test_the_stand_in_refuses_it_too(client: MetaClient) -> None:
    with pytest.raises(BadParameterError, match="cells"):
        client.post(
            "",
            "501/ad_studies",
            name="x",
            type="SPLIT_TEST",
            cells=[],
            start_time=str(int(START.timestamp())),
            end_time=str(int(END.timestamp())),
        )
