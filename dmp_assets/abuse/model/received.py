"""A new account as a caller describes it → the normal forms that known accounts have.

The same functions as in cleaned/users (`cleaned.normalise`), one account at a time.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from dmp_assets.platform.cleaning import normalise
from dmp_assets.platform.values.words import STANDARD, Kind, Words

ATTRIBUTES = (
    "email", "email_verified", "phone", "phone_verified", "first_name", "last_name",
    "date_of_birth", "ip", "device_id", "user_agent", "city", "timezone",
)  # fmt: skip
"""What a caller may say of a new account, beside the time of its registration and its code."""


KINDS: Mapping[str, Kind] = {
    "email": "email", "phone": "phone", "first_name": "name", "last_name": "name", "ip": "ip",
    "device_id": "device", "user_agent": "user_agent", "city": "city", "timezone": "timezone",
}  # fmt: skip


def normal_form(
    account_id: str,
    received: Mapping[str, Any],
    created_at: datetime,
    phone_region: str,
    no_value: Words = STANDARD,
) -> dict[str, Any]:
    """Normal forms by the names of cleaned/users; what is not given is None.

    `received`: values of `ATTRIBUTES`; `date_of_birth` is a date, the two `…_verified` are flags,
    all else is text, of which `no_value` says what means nothing. `created_at` is in UTC.
    """
    given = {
        name: None if (value := received.get(name)) is None else no_value.given(kind, str(value))
        for name, kind in KINDS.items()
    }
    email = normalise.email(given["email"])
    phone = normalise.phone(given["phone"], phone_region)
    ip = normalise.ip(given["ip"])
    agent = normalise.user_agent(given["user_agent"])
    zone, _ = normalise.timezone(given["timezone"])
    born: date | None = received.get("date_of_birth")
    plausible = born is not None and born.year >= 1900 and born <= created_at.date()
    return {
        "user_id": account_id,
        "created_at": created_at,
        "email_received": given["email"],
        "email": email.canonical,
        "email_domain": email.domain,
        "is_email_valid": email.is_valid,
        "has_email_alias": email.has_alias,
        "is_email_verified": received.get("email_verified"),
        "phone_received": given["phone"],
        "phone": phone.e164,
        "phone_country": phone.country,
        "is_phone_valid": phone.is_valid,
        "is_phone_verified": received.get("phone_verified"),
        "first_name": given["first_name"],
        "last_name": given["last_name"],
        "ip": ip.address,
        "ip_prefix": ip.prefix,
        "is_ip_valid": ip.is_valid,
        "device_id": given["device_id"],
        "user_agent_received": given["user_agent"],
        "browser_family": agent.browser_family,
        "browser_version": agent.browser_version,
        "city": given["city"],
        "timezone": zone,
        "date_of_birth": born if plausible else None,
        "is_date_of_birth_valid": None if born is None else plausible,
    }
