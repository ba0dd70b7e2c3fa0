"""Ids that people read: short ones whole, others told apart; figures: one label, one meaning."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmp_assets.platform.figures.catalogue import CATALOGUE, figure
from dmp_assets.platform.figures.kinds import AS_OF
from dmp_assets.platform.figures.short_ids import case_link, short_id, short_ids
from dmp_assets.platform.reporting.privacy import find_personal_data


def test_short_ids_stay_whole() -> None:
    ids = [str(number) for number in range(1000, 1300)]
    assert short_ids(ids) == {one: one for one in ids}


@pytest.mark.parametrize(
    "ids",
    [
        [f"customer-{n:06}" for n in range(1000, 1300)],
        [f"customer-{n:06}-shop-eu" for n in range(1000, 1300)],
        [f"{n}-1f5c-4d0a-9b57-8e8a3c7e{n % 7:04}" for n in range(10_000_000, 10_000_300)],
        ["x" * n for n in range(11, 40)],
        [f"gid://shopify/Customer/{n}" for n in range(7_204_000_000_000, 7_204_000_000_090)],
    ],
)
def test_ids_that_look_alike_are_told_apart(ids: list[str]) -> None:
    shown = short_ids(ids)
    assert list(shown) == ids
    assert len(set(shown.values())) == len(ids)
    assert max(map(len, shown.values())) <= 22


@given(st.lists(st.text(min_size=1, max_size=60), max_size=40))
def test_different_ids_never_look_alike(ids: list[str]) -> None:
    shown = short_ids(ids)
    assert set(shown) == set(ids)
    assert len(set(shown.values())) == len(set(ids))


def test_ids_that_are_addresses_or_numbers_of_people_are_masked_whatever_their_length() -> None:
    ids = ["a@b.de", "a2@b.de", "+4930123456", "+1 212 555", "10.0.0.1", "2001:db8::1"]
    shown = short_ids(ids)
    assert shown["a@b.de"] == "a…@b.de"
    assert shown["a2@b.de"] == "a…@b.de (2)"
    assert find_personal_data(" ".join(shown.values())) == []
    assert not set(shown.values()) & set(ids)


def test_one_id_is_shortened_as_on_a_page_of_its_own() -> None:
    one = str(uuid.UUID(int=1))
    assert short_id(one) == short_ids([one])[one] == "0000…01"
    assert short_id("1042") == "1042"


@pytest.mark.parametrize(
    ("base", "link"),
    [
        ("https://dmp.example.com", "https://dmp.example.com/review/account?id=user+1"),
        ("https://dmp.example.com/reports/", "https://dmp.example.com/review/account?id=user+1"),
        ("http://h:8000/x", "http://h:8000/x/review/account?id=user+1"),
        (None, None),
        ("", None),
        ("reports.example.com", None),
        ("javascript:alert(1)", None),
    ],
)
def test_a_case_is_linked_where_the_service_has_an_address(
    base: str | None, link: str | None
) -> None:
    assert case_link(base, "user 1") == link


def test_every_figure_has_one_label_and_one_sentence_that_defines_it() -> None:
    for name, entry in CATALOGUE.items():
        assert figure(name) is entry
        assert entry.name == name
        assert entry.definition.endswith(".") and len(entry.definition) > 20
        assert entry.when == AS_OF[entry.as_of]
    assert len({entry.label for entry in CATALOGUE.values()}) == len(CATALOGUE)
    assert figure("cost").titled("CHF") == "Cost, CHF"
    with pytest.raises(KeyError):
        figure("flagged")
