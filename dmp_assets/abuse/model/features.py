"""Features of an account: numbers computed row by row from the account view (see `view.py`).

One function, `matrix`, serves training, batch scoring and the scoring of one new account. A value
that cannot be known is NaN. Features say how plausible, coherent and hurried an account is; the
analyst's label, the registration year and ids are not among them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from dmp_assets.abuse.model.columns import ListedView, View, numbers
from dmp_assets.abuse.model.texts import Floats
from dmp_assets.platform.values import zones

__all__ = ["COLUMN", "DISPOSABLE", "FEATURES", "NAMES", "Floats", "View", "matrix", "numbers"]

# Mailbox providers whose purpose is a throw-away address (their own claim).
DISPOSABLE = (
    "10minutemail.com", "20minutemail.com", "dispostable.com", "emailondeck.com",
    "fakeinbox.com", "fakemail.net", "getairmail.com", "getnada.com", "guerrillamail.com",
    "guerrillamail.net", "inboxkitten.com", "mail-temp.com", "mail.tm", "mailcatch.com",
    "maildrop.cc", "mailinator.com", "mailnesia.com", "mailsac.com", "mintemail.com",
    "moakt.com", "mohmal.com", "mytemp.email", "sharklasers.com", "spamgourmet.com",
    "temp-mail.org", "tempail.com", "tempmail.com", "tempmailo.com", "throwawaymail.com",
    "trashmail.com", "trbvm.com", "yopmail.com",
)  # fmt: skip
# Scripts, libraries and crawlers. What apps of honest people send is none of them (okhttp, Dalvik,
# CFNetwork, Dart), nor is a phone called CUBOT: a crawler's name ends before its version or link.
_AUTOMATION = (
    r"\b(?:curl|wget|python|requests|aiohttp|httpx|scrapy|selenium|webdriver|phantomjs|puppeteer"
    r"|playwright|headless[a-z0-9_]*|java|go-http-client|libwww-perl|axios|node-fetch)\b"
    r"|[a-z]bot(?:/[0-9v]|-[a-z]+/|\.htm|;? ?\+?https?:)"
)
_EXTENSION = r"(?:ext\.?|x|#)[ \t]*[0-9]{1,6}[ \t]*$"
_PRIVATE = (
    r"^(?:10\.|127\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2[0-9]|3[01])\.|f[cd][0-9a-f]{2}:|fe80)"
)
# Release of a browser's major version as (version, year), from the makers' release histories;
# between two points a straight line.
_RELEASES: dict[str, tuple[tuple[float, float], ...]] = {
    "Chrome": ((1, 2008.9), (20, 2012.5), (50, 2016.3), (80, 2020.1), (100, 2022.2), (120, 2023.9)),
    "Firefox": ((1, 2004.9), (4, 2011.2), (30, 2014.4), (60, 2018.4), (90, 2021.5), (120, 2023.9)),
    "Edge": ((12, 2015.5), (18, 2018.9), (79, 2020.0), (100, 2022.3), (120, 2023.9)),
    "Safari": ((3, 2007.8), (5, 2010.4), (9, 2015.7), (12, 2018.7), (15, 2021.7), (17, 2023.7)),
    "Opera": ((8, 2005.3), (12, 2012.5), (40, 2016.7), (70, 2020.6), (90, 2022.8), (105, 2023.9)),
    "IE": ((5, 1999.2), (6, 2001.7), (8, 2009.2), (9, 2011.2), (11, 2013.8)),
}
_SAME_RELEASES = {
    "Chrome Mobile": "Chrome", "Chrome Mobile iOS": "Chrome", "Chrome Mobile WebView": "Chrome",
    "Firefox Mobile": "Firefox", "Edge Mobile": "Edge", "Mobile Safari": "Safari",
    "Opera Mobile": "Opera",
}  # fmt: skip
_BROWSERS = (*_RELEASES, *_SAME_RELEASES)


FEW = 10
"""Of fewer accounts it is not asked what most of them give."""
zone_countries = zones.countries
"""Time zone → ISO country."""


def _not(values: Floats) -> Floats:
    return 1.0 - values


@cache
def _homes() -> tuple[tuple[str, ...], tuple[str, ...], Floats]:
    """(zones, countries, place among these of each zone's country and, last, of no zone's)."""
    table = zone_countries()
    countries = tuple(sorted(set(table.values())))
    places = [countries.index(country) for country in table.values()]
    return tuple(table), countries, np.array([*places, math.nan])


def _phone_abroad(view: View) -> Floats:
    zones, countries, places = _homes()
    home = places[np.nan_to_num(view.place_in("timezone", zones), nan=-1).astype(int)]
    unknown = (view.absent("phone_country") == 1) | np.isnan(home)
    return np.where(unknown, np.nan, view.place_in("phone_country", countries) != home)


def _age(view: View) -> Floats:
    last_seen = np.fmax(view.days("created_at"), view.days("last_used_at"))
    born = view.days("date_of_birth")
    years, oldest = (view.days("created_at") - born) / 365.2425, (last_seen - born) / 365.2425
    implausible = np.where(np.isnan(years), np.nan, (years < 13) | (oldest > 100))
    unread = view.number("accounts_with_impossible_birth")
    given = unread + view.number("accounts_with_date_of_birth")
    impossible = _where_most_can(np.ones(view.size), unread, given)
    return np.where(view.number("is_date_of_birth_valid") == 0, impossible, implausible)


def _local_hour(view: View) -> Floats:
    """Hour of registration in the account's own time zone."""
    seconds = view.days("created_at") * 86_400
    found = [
        zones.hour(zone, at)
        for zone, at in zip(view.list("timezone"), seconds.tolist(), strict=True)
    ]
    return np.array(found, dtype=np.float64)


def _browser_age(view: View) -> Floats:
    """Years between a browser version's release and the registration made with it."""
    family = view.place_in("browser_family", _BROWSERS)
    version, year = view.number("browser_version"), 1970 + view.days("created_at") / 365.2425
    released = np.full(view.size, np.nan)
    for place in np.unique(family[~np.isnan(family)]).astype(int):
        name = _BROWSERS[place]
        points = _RELEASES[_SAME_RELEASES.get(name, name)]
        rows = family == place
        released[rows] = np.interp(version[rows], [v for v, _ in points], [y for _, y in points])
    return year - released


def _missing(view: View) -> Floats:
    """How unusual it is at this shop to leave out what this account left out.

    The largest −log10(share of accounts that leave it out) over the attributes; 0: all given.
    """
    total = view.number("accounts")
    surprise = np.zeros(view.size)
    for column, known in (
        ("email_received", "email"), ("phone_received", "phone"), ("city", "city"),
        ("device_id", "device"), ("ip", "ip"), ("user_agent_received", "user_agent"),
        ("date_of_birth", "date_of_birth"),
    ):  # fmt: skip
        left_out = np.maximum(total - view.number(f"accounts_with_{known}"), 1)
        absent = view.absent(column)
        surprise = np.where(
            absent == 1, np.maximum(surprise, -np.log10(left_out / total)), surprise
        )
    return surprise


def _email_invalid(view: View) -> Floats:
    given = view.number("accounts_with_email")
    unread = given - view.number("accounts_with_valid_email")
    return _where_most_can(_not(view.number("is_email_valid")), unread, given)


def _ip_invalid(view: View) -> Floats:
    unread = view.number("accounts_with_invalid_ip")
    given = unread + view.number("accounts_with_ip")
    return _where_most_can(_not(view.number("is_ip_valid")), unread, given)


def _where_most_can(invalid: Floats, unread: Floats, given: Floats) -> Floats:
    """Unknown where the shop's are mostly no such thing (hashes, or days of another calendar, say):
    no sign of one account."""
    return np.where((given >= FEW) & (2 * unread > given), np.nan, invalid)


def _phone_invalid_share(view: View) -> Floats:
    phones = view.number("accounts_with_phone")
    phones = np.where(phones > 0, phones, np.nan)
    return np.asarray(1 - view.number("accounts_with_valid_phone") / phones)


def _excess(view: View, near: str, key: str) -> Floats:
    """log(1 + other accounts near in time, beyond what the value's popularity would explain)."""
    others = np.maximum(view.number(near) - 1, 0)
    popularity = np.nan_to_num(view.share(key, "accounts"))
    expected = popularity * np.maximum(view.number("all_hour") - 1, 0)
    return np.log1p(np.maximum(others - expected - 2 * np.sqrt(expected), 0))


def _log_share(view: View, part: str, whole: str) -> Floats:
    return np.asarray(np.log10(np.maximum(view.number(part), 1) / view.number(whole)))


def _woke_together(view: View) -> Floats:
    expected = view.number("woke_expected")
    excess = view.number("woke_together") - 1 - expected - 2 * np.sqrt(expected)
    return np.log1p(np.maximum(excess, 0))


@dataclass(frozen=True)
class Feature:
    """One number of an account. `missing` says what NaN means."""

    name: str
    description: str
    kind: str
    missing: str
    compute: Callable[[View], Floats]


def _features(*groups: tuple[str, tuple[tuple[str, str, str, Callable[[View], Floats]], ...]]):  # type: ignore[no-untyped-def]
    return tuple(
        Feature(name, description, kind, missing, compute)
        for kind, rows in groups
        for name, description, missing, compute in rows
    )


_MOST_ODD = "no {} known, or the shop's are mostly none"
_NO_MAIL, _NO_PHONE, _NO_DEVICE = "no e-mail known", "no phone known", "no device known"
_NO_IP, _NO_AGENT, _NO_USE = "no valid IP known", "no user agent known", "no redemption yet"

FEATURES: tuple[Feature, ...] = _features(
    (
        "e-mail",
        (
            ("email_invalid", "The e-mail cannot be one", _MOST_ODD.format("e-mail"),
             _email_invalid),
            ("email_alias", "Plus tag, or dots that the provider ignores", "no valid e-mail known",
             lambda v: v.number("has_email_alias")),
            ("email_digits", "Digits before the @", _NO_MAIL,
             lambda v: v.counted("mailbox", "[0-9]")),
            ("email_entropy", "Entropy of the characters before the @, bits", _NO_MAIL,
             lambda v: v.entropy()),
            ("email_mixed", "Digits followed by letters, before the @", _NO_MAIL,
             lambda v: v.counted("mailbox", "[0-9]+[a-z]")),
            ("email_has_name", "First or last name stands before the @", "no e-mail or no name",
             lambda v: v.name_in_mailbox("first_name", "last_name")),
            ("email_domain_share", "log10 share of accounts with this e-mail domain", _NO_MAIL,
             lambda v: _log_share(v, "email_domain_accounts", "accounts_with_email")),
            ("email_disposable", "Domain of a throw-away mailbox provider", _NO_MAIL,
             lambda v: np.where(np.isnan(v.number("email_domain_accounts")), np.nan,
                                ~np.isnan(v.place_in("email_domain", DISPOSABLE)))),
            ("email_others", "log(1 + other accounts that reach the same mailbox)", _NO_MAIL,
             lambda v: v.others("email_accounts")),
            ("email_series", "log(1 + others with the same name before the @ but for digits)",
             "no four letters and digits there", lambda v: v.others("email_series")),
            ("email_series_day", "The same, registered within a day", "address without digits",
             lambda v: v.others("email_series_day")),
        ),
    ),
    (
        "phone",
        (
            ("phone_invalid", "No such number in its numbering plan", _NO_PHONE,
             lambda v: _not(v.number("is_phone_valid"))),
            ("phone_invalid_share", "Share of the shop's phones that are invalid",
             "the shop knows no phone", _phone_invalid_share),
            ("phone_form_share", "log10 share of phones typed in this form", _NO_PHONE,
             lambda v: _log_share(v, "phone_form_accounts", "accounts_with_phone")),
            ("phone_extension", "Typed with an extension, which no text message reaches", _NO_PHONE,
             lambda v: v.matching("phone_received", _EXTENSION)),
            ("phone_others", "log(1 + other accounts with this phone)", _NO_PHONE,
             lambda v: v.others("phone_accounts")),
            ("phone_strangers", "log(1 + other last names with this phone)", _NO_PHONE,
             lambda v: v.others("phone_last_names")),
            ("phone_abroad", "Phone of another country than the time zone", "either not known",
             _phone_abroad),
        ),
    ),
    (
        "identity",
        (
            ("nothing_verified", "Neither e-mail nor phone verified", "neither flag known",
             lambda v: _not(np.fmax(v.number("is_email_verified"),
                                    v.number("is_phone_verified")))),
            ("name_form_share", "log10 share of names typed in this form (capitals, digits)",
             "no name known",
             lambda v: _log_share(v, "name_form_accounts", "accounts_with_name")),
            ("identity_others", "log(1 + others with these names and date of birth)",
             "a name or the date of birth not known", lambda v: v.others("identity_accounts")),
            ("age_implausible", "Under 13 when registered, over 100 when last seen, or a date that "
             "nobody can have", "no date of birth known or read, or the shop's are mostly none",
             _age),
            ("missing_unusual", "−log10 of the share of accounts that leave out the same", "never",
             _missing),
        ),
    ),
    (
        "place and machine",
        (
            ("city_timezone_share", "Share of the city's other accounts in the same time zone",
             "city or time zone not known, or nobody else there",
             lambda v: v.share("city_timezone_accounts", "city_accounts")),
            ("city_others", "log(1 + other accounts of the city)", "no city known",
             lambda v: v.others("city_accounts")),
            ("hour_local", "Hour of registration in the own time zone", "no time zone known",
             _local_hour),
            ("ip_invalid", "The IP address cannot be one", _MOST_ODD.format("IP"),
             _ip_invalid),
            ("ip_private", "An address that the internet does not route", _NO_IP,
             lambda v: v.matching("ip", _PRIVATE)),
            ("ip_others", "log(1 + other accounts from this IP)", _NO_IP,
             lambda v: v.others("ip_accounts")),
            ("ip_accounts_per_device", "Accounts per device behind this IP", _NO_IP,
             lambda v: v.number("ip_accounts") / np.maximum(v.number("ip_devices"), 1)),
            ("network_burst", "log(1 + excess of sign-ups from the network within an hour)", _NO_IP,
             lambda v: _excess(v, "network_hour", "network_accounts")),
            ("user_agent_share", "log10 share of accounts with this user agent", _NO_AGENT,
             lambda v: _log_share(v, "user_agent_accounts", "accounts_with_user_agent")),
            ("user_agent_burst", "log(1 + excess of sign-ups by the user agent within an hour)",
             _NO_AGENT, lambda v: _excess(v, "user_agent_hour", "user_agent_accounts")),
            ("city_user_agent_hour", "log(1 + others of city and user agent within an hour)",
             "city or user agent not known, or nobody else has the user agent",
             lambda v: v.others("city_user_agent_hour")),
            ("user_agent_automated", "Names a script, a library or a headless browser", _NO_AGENT,
             lambda v: v.matching("user_agent_received", _AUTOMATION)),
            ("browser_age", "Years from the browser version's release to the registration",
             "browser or version not known", _browser_age),
        ),
    ),
    (
        "sharing",
        (
            ("device_others", "log(1 + other accounts on the device)", _NO_DEVICE,
             lambda v: v.others("device_accounts")),
            ("device_strangers", "log(1 + other last names on the device)", _NO_DEVICE,
             lambda v: v.others("device_last_names")),
            ("device_networks", "log(1 + further networks the device registered from)", _NO_DEVICE,
             lambda v: v.others("device_networks")),
            ("device_day", "log(1 + others registered on the device within a day)", _NO_DEVICE,
             lambda v: v.others("device_day")),
            ("device_code_others", "log(1 + others on the device that redeemed the same code)",
             "no redemption on a shared device", lambda v: v.others("device_code_accounts")),
            ("cluster_size", "log of the size of the cluster of linked accounts", "no link",
             lambda v: np.log(np.maximum(v.number("cluster_size"), 1))),
            ("link_weight", "log(1 + weight of the account's links)", "no link",
             lambda v: np.log1p(np.maximum(v.number("link_weight"), 0))),
        ),
    ),
    (
        "redemption",
        (
            ("minutes_to_first_use", "Minutes from registration to the first redemption", _NO_USE,
             lambda v: v.number("minutes_to_first_use")),
            ("used_before_registration", "Redeemed before it was registered", _NO_USE,
             lambda v: np.where(np.isnan(v.number("minutes_to_first_use")), np.nan,
                                v.number("minutes_to_first_use") < 0)),
            ("usages", "log(1 + redemptions)", _NO_USE, lambda v: np.log1p(v.number("usages"))),
            ("usages_first_day", "log(1 + redemptions within a day of registration)", _NO_USE,
             lambda v: np.log1p(v.number("usages_first_day"))),
            ("usages_first_week", "log(1 + redemptions within a week of registration)", _NO_USE,
             lambda v: np.log1p(v.number("usages_first_week"))),
            ("busiest_day", "Most redemptions within 24 hours", _NO_USE,
             lambda v: v.number("busiest_day")),
            ("days_asleep", "log(1 + longest time without a redemption before one, days)", _NO_USE,
             lambda v: np.log1p(np.maximum(v.number("days_asleep"), 0))),
            ("woke_uses", "Redemptions within a week after that time", _NO_USE,
             lambda v: v.number("woke_uses")),
            ("code_repeats", "Most redemptions of one code", _NO_USE,
             lambda v: v.number("code_repeats")),
            ("over_limit", "Redemptions beyond the codes' limit per user",
             "no redemption yet, or no limit known", lambda v: v.number("over_limit")),
            ("code_users", "log(1 + mean users of its codes)", _NO_USE,
             lambda v: np.log1p(v.number("code_users"))),
            ("woke_together", "log(1 + excess of accounts made and woken in the same days)",
             _NO_USE, _woke_together),
            ("discount_rank", "Mean rank of its discounts among all redemptions, 0–1",
             "no redemption with a known discount", lambda v: v.number("discount_rank")),
            ("discount_percent", "Mean percentage of its codes", "no percentage code used",
             lambda v: v.number("discount_percent")),
            ("discount_fixed", "Mean amount of its codes", "no fixed-amount code used",
             lambda v: v.number("discount_fixed")),
        ),
    ),
)  # fmt: skip

NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
COLUMN: dict[str, int] = {name: position for position, name in enumerate(NAMES)}


def matrix(view: pa.Table | pa.RecordBatch | Mapping[str, Sequence[Any]]) -> Floats:
    """Features of each row of an account view, shape (rows, len(FEATURES)); NaN is unknown.

    `view` is an Arrow table or, for few rows, a mapping of column → values; a column of `VIEW`
    that is not there is unknown. One row or a million, a row's numbers do not depend on the rows
    beside it.
    """
    columns = ListedView(view) if isinstance(view, Mapping) else View(view)
    result = np.empty((columns.size, len(FEATURES)))
    for position, feature in enumerate(FEATURES):
        result[:, position] = feature.compute(columns)
    result[~np.isfinite(result)] = math.nan
    return result
