"""Normal forms of what people type: tables of cases, and properties that hold for any text."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from dmp_assets.abuse.service.store import lists
from dmp_assets.platform.cleaning import normalise
from dmp_assets.platform.cleaning.normalise import Email, Ip, Phone, UserAgent
from dmp_assets.platform.values import zones

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
        ("mailto:Bob@example.org?subject=Hi", "bob@example.org", False),
        ('"Lee, Bob" <BOB@example.org>', "bob@example.org", False),
        ("<bob\u200b＠example.org.>;", "bob@example.org", False),
        ("'bob@example.org'", "bob@example.org", False),
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
     "bob@x.org, eve@x.org", "bob@x.org <eve@x.org>",
     "<bob@x.org> <eve@x.org>",
     "bob@böb", "bob@x.1", "bob@-ö.de", "bob@x\u2028y.org", "@", "b" * 400],
)  # fmt: skip
def test_a_malformed_address_is_invalid_and_has_no_normal_form(typed: str) -> None:
    assert normalise.email(typed) == Email(None, None, False, None)


@pytest.mark.parametrize(
    "typed",
    ["+14154421542", "14154421542", "0014154421542", "(415) 442-1542", "415.442.1542 x12",
     "+1 415-442-1542 ext. 9", "001 (415) 442 1542", " 415 442 1542 ", "tel:+1-415-442-1542;ext=9",
     "Tel.: (415) 442-1542", "415 442 1542 доб. 12", "４１５ ４４２ １５４２", "'+14154421542",
     "\u202a+1 (415) 442-1542\u202c", "tel:4154421542;phone-context=+1", "+1 (0) 415 442 1542"],
)  # fmt: skip
def test_a_phone_number_has_one_form_however_it_was_typed(typed: str) -> None:
    assert normalise.phone(typed, "US") == Phone("+14154421542", "US", True)


@pytest.mark.parametrize(
    ("typed", "region", "e164"),
    [("(646) 253-4567", "US", "+16462534567"), ("646 253 4567", "US", "+16462534567"),
     ("49302000000.0", "US", "+49302000000"), ("442079460958", "US", "+442079460958"),
     ("(+44) 20 7946 0958", "US", "+442079460958"), ("011 44 20 7946 0958", "US", "+442079460958"),
     ("12025550143", "DE", "+12025550143"), ("tel:+442079460958", "DE", "+442079460958")],
)  # fmt: skip
def test_the_configured_region_comes_first_and_others_only_where_the_number_says_so(
    typed: str, region: str, e164: str
) -> None:
    assert normalise.phone(typed, region).e164 == e164


@pytest.mark.parametrize("typed", ["(555) 123-4567", "555-123-4567", "(120) 255-5014"])
def test_an_impossible_number_of_the_region_does_not_become_a_foreign_one(typed: str) -> None:
    assert normalise.phone(typed, "US") == Phone(None, None, False)


def test_national_numbers_of_every_region_stay_there() -> None:
    read = 0
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE):
            number = phonenumbers.example_number_for_type(region, kind)
            if number is None or not phonenumbers.is_valid_number_for_region(number, region):
                continue
            e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
            for form in (PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL):
                typed = phonenumbers.format_number(number, form)
                assert normalise.phone(typed, region).e164 == e164, (region, typed)
                read += 1
    assert read > 900


def test_a_national_number_is_read_in_the_shops_region() -> None:
    assert normalise.phone("030 901820", "DE") == Phone("+4930901820", "DE", True)
    assert normalise.phone("+39 333 7831577", "DE") == Phone("+393337831577", "IT", True)


@pytest.mark.parametrize(
    "typed",
    ["12", "abc", "+1 415 CALL NOW", "00000000000", "+99912345678", "4.9302E+10", "1" * 500],
)
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


@pytest.mark.parametrize(
    ("typed", "domain"),
    [("иван@почта.рф", "xn--80a1acny.xn--p1ai"), ("ann@MÜLLER.de", "xn--mller-kva.de"),
     ("ann@xn--mller-kva.de", "xn--mller-kva.de"), ("用户@例え.テスト", "xn--r8jz45g.xn--zckzah"),
     ("o'brien@x.photography", "x.photography")],
)  # fmt: skip
def test_an_address_of_any_script_is_valid_and_has_one_domain(typed: str, domain: str) -> None:
    found = normalise.email(typed)
    assert (found.is_valid, found.domain) == (True, domain)
    assert lists.normalise("email_domain", typed.partition("@")[2]) == domain


@pytest.mark.parametrize(
    ("alias", "zone"),
    [("US/Eastern", "America/New_York"), ("asia/calcutta", "Asia/Kolkata"), ("GMT", "UTC"),
     ("Europe/Kiev", "Europe/Kyiv"), ("Europe/Oslo", "Europe/Oslo"), ("PRC", "Asia/Shanghai"),
     ("Zulu", "UTC"), ("CET", "CET"), ("Factory", None), ("posix/Europe/Berlin", None)],
)  # fmt: skip
def test_a_zone_has_one_name_whatever_the_system_has(alias: str, zone: str | None) -> None:
    assert normalise.timezone(alias) == (zone, zone is not None)
    assert (zones.hour(zone, 1.7e9) is not None) == (zone is not None)


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
