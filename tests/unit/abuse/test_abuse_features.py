"""Features: one function for many accounts and for one, unknown stays unknown."""

from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_assets.abuse.model import keys, rules
from dmp_assets.abuse.model.features import COLUMN, FEATURES, NAMES, matrix
from dmp_assets.abuse.model.view import VIEW, as_view
from dmp_assets.cleaned.shop import normal_batches
from dmp_assets.platform.values.readers import USUAL

ONE = {
    "user_id": ["u1"],
    "created_at": [datetime(2024, 1, 5, 3, 30)],
    "email_received": ["Ann.Lee99+promo@gmail.com"],
    "email": ["annlee99@gmail.com"],
    "email_domain": ["gmail.com"],
    "is_email_valid": [True],
    "has_email_alias": [True],
    "is_email_verified": [False],
    "phone_received": ["(706)884-9722x51733"],
    "phone_country": ["US"],
    "is_phone_valid": [True],
    "is_phone_verified": [False],
    "first_name": ["Ann"],
    "last_name": ["Lée"],
    "ip": ["10.0.0.7"],
    "user_agent_received": ["python-requests/2.31"],
    "browser_family": ["Chrome Mobile"],
    "browser_version": [50],
    "city": ["Berlin"],
    "date_of_birth": [date(1905, 1, 1)],
    "is_date_of_birth_valid": [True],
    "timezone": ["America/New_York"],
    "device_accounts": [4],
    "city_accounts": [101],
    "city_timezone_accounts": [1],
    "accounts": [1000],
    "accounts_with_phone": [1000],
    "phone_form_accounts": [1],
    "minutes_to_first_use": [7.5],
}


def value(name: str, **changed: object) -> float:
    given_ = {**ONE, **{key: [one] for key, one in changed.items()}}
    return float(matrix(given_)[0, COLUMN[name]])


def test_features_read_an_account_as_an_analyst_would() -> None:
    assert value("email_digits") == 2
    assert value("email_alias") == 1
    assert value("email_has_name") == 1, "Lée is found in ann.lee99"
    assert value("phone_extension") == 1
    assert value("phone_form_share") == pytest.approx(-3)
    assert value("age_implausible") == 1
    assert value("ip_private") == 1
    assert value("user_agent_automated") == 1
    assert value("phone_abroad") == 0
    assert value("hour_local") == 22, "3:30 UTC is 22:30 the day before in New York"
    assert value("city_timezone_share") == 0, "nobody else in Berlin lives in New York's time"
    assert value("device_others") == pytest.approx(np.log(4))
    assert value("browser_age") == pytest.approx(2024 - 2016.3, abs=0.1)
    assert value("nothing_verified") == 1


@pytest.mark.parametrize(
    ("agent", "automated"),
    [("Mozilla/5.0 (Linux; Android 13; CUBOT X30) Chrome/118.0 Mobile Safari/537.36", 0),
     ("Dalvik/2.1.0 (Linux; U; Android 11; CUBOT_NOTE_20)", 0), ("okhttp/4.9.3", 0),
     ("Shop/3.1 CFNetwork/1410.0.3 Darwin/22.6.0", 0), ("Dart/3.2 (dart:io)", 0),
     ("curl/8.1", 1), ("python-requests/2.31", 1), ("Mozilla/5.0 HeadlessChrome/120.0", 1),
     ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", 1),
     ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", 1)],
)  # fmt: skip
def test_apps_and_phones_are_no_scripts(agent: str, automated: int) -> None:
    assert value("user_agent_automated", user_agent_received=agent) == automated


@pytest.mark.parametrize(
    ("first", "last", "mailbox"),
    [("Jürgen", "Müller", "mueller77"), ("Łukasz", "Wójcik", "lukasz.w"), ("Bjørn", "Å", "bjorn"),
     ("Maria", "da Silva Santos", "msantos"), ("Thị Minh Khai", "Nguyễn", "nguyen.k"),
     ("Anne-Marie", "O’Brien", "marie.x"), ("Weiß", "O", "weiss")],
)  # fmt: skip
def test_a_name_is_found_however_its_letters_are_typed(first: str, last: str, mailbox: str) -> None:
    given_ = {"first_name": first, "last_name": last, "email_received": f"{mailbox}@x.org"}
    assert value("email_has_name", **given_) == 1


@pytest.mark.parametrize("name", ["Екатерина", "محمد", "李", "สมชาย", "नरेन्द्र", "O", "גל"])
def test_a_name_in_another_script_raises_no_suspicion(name: str) -> None:
    typed = {"first_name": name, "last_name": name, "email_received": "ekaterina.volkova19@x.org"}
    assert np.isnan(value("email_has_name", **typed))
    found = matrix({**ONE, **{key: [one] for key, one in typed.items()}})
    strength = dict(zip(rules.CODES, rules.strengths(found)[0], strict=True))
    assert strength["EMAIL_RANDOM"] == strength["EMAIL_MIXED"] == 0
    assert (
        keys.keys_of(typed | {"city": None})[NAME]
        == keys.keys_of({"first_name": "Ann", "last_name": "Lee"})[NAME]
    ), "written as names are written"


def test_a_foreign_number_has_the_form_of_its_kind() -> None:
    forms = [keys.keys_of({"phone_received": typed})[FORM] for typed in
             ("+1 202 555 0143", "+49 30 901820", "+353 1 234 5678")]  # fmt: skip
    assert forms[0] == forms[2] != forms[1]


def test_what_is_not_known_is_nan_and_not_a_guess() -> None:
    unknown = matrix({"user_id": ["u1"], "created_at": [datetime(2024, 1, 5)]})
    known = [name for name in NAMES if not np.isnan(unknown[0, COLUMN[name]])]
    assert known == []


def test_age_says_only_whether_it_is_plausible() -> None:
    assert value("age_implausible", date_of_birth=date(1990, 1, 1)) == 0
    assert value("age_implausible", date_of_birth=date(1940, 1, 1)) == 0
    assert value("age_implausible", date_of_birth=date(2015, 1, 1)) == 1
    assert value("age_implausible", date_of_birth=None, is_date_of_birth_valid=False) == 1
    assert np.isnan(value("age_implausible", date_of_birth=None, is_date_of_birth_valid=None))


@pytest.mark.parametrize(("given", "odd"), [(120, 120), (120, 61), (120, 60), (9, 9)])
def test_an_address_that_cannot_be_one_says_nothing_where_most_cannot(given: int, odd: int) -> None:
    shop = {
        "accounts_with_email": given, "accounts_with_valid_email": given - odd,
        "accounts_with_ip": given - odd, "accounts_with_invalid_ip": odd,
    }  # fmt: skip
    shop |= {"accounts_with_date_of_birth": given - odd, "accounts_with_impossible_birth": odd}
    for name, valid in (
        ("email_invalid", "is_email_valid"), ("ip_invalid", "is_ip_valid"),
        ("age_implausible", "is_date_of_birth_valid"),  # 1403-01-12: of another calendar
    ):  # fmt: skip
        found = value(name, **{valid: False}, **shop)
        assert np.isnan(found) if (given, odd) in ((120, 120), (120, 61)) else found == 1


@pytest.mark.parametrize(
    ("text", "born", "is_valid"),
    [("Heisei 3", None, None), ("31/31/1990", None, None), ("1899-01-01", None, False),
     ("2030-01-01", None, False), ("平成3年1月2日", date(1991, 1, 2), True), (None, None, None)],
)  # fmt: skip
def test_a_birth_that_cannot_be_read_is_unknown_and_only_a_read_one_is_impossible(
    text: str | None, born: date | None, is_valid: bool | None
) -> None:
    registered = pa.array([datetime(2024, 1, 5)], pa.timestamp("us", "UTC"))
    days, plausible = normal_batches._born([text], registered, USUAL["time"])
    assert (days.to_pylist(), plausible.to_pylist()) == ([born], [is_valid])


@pytest.mark.parametrize("forbidden", ["is_abuser", "label", "year", "gender"])
def test_no_feature_is_the_label_the_year_or_the_gender(forbidden: str) -> None:
    assert not [name for name in (*NAMES, *VIEW.names) if forbidden in name.split("_")]
    assert "is_abuser" not in VIEW.names


def test_every_feature_says_what_missing_means() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert all(f.description and f.kind and f.missing for f in FEATURES)


NAME, FORM = keys.POSITION["name_key"], keys.POSITION["form_key"]
TEXTS = st.one_of(st.none(), st.text(max_size=30))
PEOPLE = st.sampled_from(["Jürgen", "Müller", "Ann Lee", "da Silva", "ıSTANBUL", "Łukasz", "Ann"])
MAILBOXES = st.builds(
    lambda name, rest: f"{name}{rest}@x.org",
    st.sampled_from(["juergen", "ann.lee", "MÜLLER", "silva", "ann", "İann"]),
    st.text(max_size=400),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "created_at": st.datetimes(datetime(2010, 1, 1), datetime(2030, 1, 1)),
            "email_received": st.one_of(TEXTS, MAILBOXES),
            "email_domain": st.one_of(TEXTS, st.sampled_from(["mail.tm", "gmail.com"])),
            "phone_received": TEXTS,
            "phone_country": st.sampled_from([None, "DE", "US", "ZZ"]),
            "email_domain_accounts": st.one_of(st.none(), st.integers(1, 100)),
            "last_used_at": st.one_of(
                st.none(), st.datetimes(datetime(2010, 1, 1), datetime(2030, 1, 1))
            ),
            "first_name": st.one_of(TEXTS, PEOPLE),
            "last_name": st.one_of(TEXTS, PEOPLE),
            "user_agent_received": TEXTS,
            "browser_family": st.sampled_from([None, "Chrome", "Firefox", "Mobile Safari", "?"]),
            "browser_version": st.one_of(st.none(), st.integers(0, 200)),
            "timezone": st.sampled_from([None, "Asia/Tokyo", "America/New_York", "UTC"]),
            "date_of_birth": st.one_of(st.none(), st.dates(date(1850, 1, 1), date(2030, 1, 1))),
            "device_accounts": st.one_of(st.none(), st.integers(1, 1000)),
            "accounts": st.integers(1, 10**6),
            "minutes_to_first_use": st.one_of(st.none(), st.floats(-1e6, 1e7)),
            "woke_expected": st.one_of(st.none(), st.floats(0, 1e3)),
            "woke_together": st.one_of(st.none(), st.integers(1, 100)),
        }
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_a_row_scores_the_same_alone_and_among_others(rows: list[dict[str, object]]) -> None:
    view = as_view(
        pa.table(
            {name: pa.array([row[name] for row in rows], VIEW.field(name).type) for name in rows[0]}
        )
    )
    together = matrix(view)
    alone = np.vstack([matrix(view.slice(i, 1)) for i in range(len(rows))])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12, equal_nan=True)
    listed = matrix(view.to_pydict())
    np.testing.assert_allclose(together, listed, rtol=0, atol=1e-12, equal_nan=True)
    assert np.isfinite(together[~np.isnan(together)]).all()
