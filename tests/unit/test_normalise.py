"""Normal forms of what people type: tables of cases, and properties that hold for any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmp_assets.cleaned import normalise
from dmp_assets.cleaned.normalise import Email, Ip, Phone, UserAgent

ANY_TEXT = st.none() | st.text(max_size=40)


@pytest.mark.parametrize(
    ("typed", "canonical", "has_alias"),
    [
        (" Bob@Example.ORG ", "bob@example.org", False),
        ("bob+shop@example.org", "bob@example.org", True),
        ("b.o.b@example.org", "b.o.b@example.org", False),
        ("b.o.b@gmail.com", "bob@gmail.com", True),
        ("B.ob+1@GoogleMail.com", "bob@gmail.com", True),
        ("bob.+x@example.org", "bob@example.org", True),
        ("+x@example.org", "+x@example.org", False),
    ],
)
def test_an_address_becomes_the_mailbox_that_it_reaches(
    typed: str, canonical: str, has_alias: bool
) -> None:
    assert normalise.email(typed) == Email(canonical, canonical.partition("@")[2], True, has_alias)


@pytest.mark.parametrize(
    "typed",
    ["bob", "bob@", "@example.org", "bob@@example.org", "bob @example.org", "bob@localhost",
     "bob@-x.org", "bob@x..org", "b..b@x.org", ".b@x.org", "b.@x.org", "bob at x.org",
     "bob@x.org, eve@x.org", "böb@x.org"],
)  # fmt: skip
def test_a_malformed_address_is_invalid_and_has_no_normal_form(typed: str) -> None:
    assert normalise.email(typed) == Email(None, None, False, None)


@pytest.mark.parametrize(
    "typed",
    ["+14154421542", "14154421542", "0014154421542", "(415) 442-1542", "415.442.1542 x12",
     "+1 415-442-1542 ext. 9", "001 (415) 442 1542", " 415 442 1542 "],
)  # fmt: skip
def test_a_phone_number_has_one_form_however_it_was_typed(typed: str) -> None:
    assert normalise.phone(typed, "US") == Phone("+14154421542", "US", True)


def test_a_national_number_is_read_in_the_shops_region() -> None:
    assert normalise.phone("030 901820", "DE") == Phone("+4930901820", "DE", True)
    assert normalise.phone("+39 333 7831577", "DE") == Phone("+393337831577", "IT", True)


@pytest.mark.parametrize("typed", ["12", "abc", "+1 415 CALL NOW", "00000000000", "+99912345678"])
def test_a_phone_number_that_no_plan_has_is_invalid(typed: str) -> None:
    assert normalise.phone(typed, "US") == Phone(None, None, False)


@pytest.mark.parametrize(
    ("typed", "address", "prefix"),
    [
        (" 84.1.2.3", "84.1.2.3", "84.1.2.0/24"),
        ("2001:DB8:0:0::1", "2001:db8::1", "2001:db8::/48"),
        ("::ffff:84.1.2.3", "84.1.2.3", "84.1.2.0/24"),
    ],
)
def test_an_address_of_the_internet_has_one_form_and_its_network(
    typed: str, address: str, prefix: str
) -> None:
    assert normalise.ip(typed) == Ip(address, prefix, True)


@pytest.mark.parametrize("typed", ["10.0.0", "256.1.1.1", "unknown", "1.2.3.4:80", "1.2.3.4/24"])
def test_what_is_no_ip_address_is_invalid(typed: str) -> None:
    assert normalise.ip(typed) == Ip(None, None, False)


def test_a_user_agent_tells_browser_version_and_system() -> None:
    chrome = (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/79.0.0.0 Safari/537.36"
    )
    assert normalise.user_agent(chrome)[:3] == ("Chrome", 79, "Windows")
    assert normalise.user_agent("no browser that anybody knows") == UserAgent(
        None, None, None, None
    )


def test_a_time_zone_is_known_in_any_case() -> None:
    assert normalise.timezone(" europe/BERLIN ") == ("Europe/Berlin", True)
    assert normalise.timezone("Mars/Olympus") == (None, False)


@pytest.mark.parametrize(
    ("word", "meaning"),
    [("TRUE", True), (" t ", True), ("1", True), ("Yes", True), ("False", False), ("n", False),
     ("0", False), ("", None), ("maybe", None), (None, None)],
)  # fmt: skip
def test_a_flag_is_read_in_the_usual_spellings(word: str | None, meaning: bool | None) -> None:
    assert normalise.flag(word) is meaning


@pytest.mark.parametrize("empty", [None, "", "   ", "\t"])
def test_nothing_received_is_unknown_and_not_invalid(empty: str | None) -> None:
    assert normalise.email(empty) == (None,) * 4
    assert normalise.phone(empty) == (None,) * 3
    assert normalise.ip(empty) == (None,) * 3
    assert normalise.user_agent(empty) == (None,) * 4
    assert normalise.timezone(empty) == (None, None)


@given(ANY_TEXT)
def test_no_text_is_too_bad_to_be_judged(text: str | None) -> None:
    normalise.email(text)
    normalise.phone(text)
    normalise.ip(text)
    normalise.user_agent(text)
    normalise.timezone(text)
    normalise.flag(text)


@given(
    st.from_regex(r"\A[A-Za-z0-9.+_-]{1,12}@(gmail\.com|googlemail\.com|mail\.example)\Z"),
    st.sampled_from([" {} ", "{}"]),
)
def test_the_normal_form_of_an_address_is_its_own_normal_form(typed: str, around: str) -> None:
    found = normalise.email(around.format(typed))
    if found.canonical is not None:
        assert normalise.email(found.canonical) == Email(found.canonical, found.domain, True, False)


@given(st.from_regex(r"\A\+?[0-9 ()-]{8,16}\Z"))
def test_the_normal_form_of_a_phone_number_is_its_own_normal_form(typed: str) -> None:
    found = normalise.phone(typed, "DE")
    if found.e164 is not None:
        assert normalise.phone(found.e164, "DE") == found


@given(st.ip_addresses())
def test_the_normal_form_of_an_ip_address_is_its_own_normal_form(address: object) -> None:
    found = normalise.ip(str(address))
    assert found.is_valid
    assert normalise.ip(found.address) == found
