"""Counts of the accounts that share something, in SQL, as the account view needs them.

Only those are counted that count against the account (see `identity.witness`).
"""

from dmp_assets.identity import witness

VERIFIED: dict[str, witness.Verified] = {
    "email_key": "email", "series_key": "email", "phone_key": "phone", "typed_key": "phone",
}  # fmt: skip
"""Key → what must be verified of a later account that shares it, to count; else: either."""


def verified_by(key: str) -> witness.Verified:
    """What must be verified of a later account with the same key, to count against an earlier."""
    return VERIFIED.get(key, "either")


def _counted(key: str, mark: str = "true") -> str:
    return witness.counted_sql(key, verified_by(key), mark)


def _near(key: str, width: str) -> str:
    return witness.near_sql(key, verified_by(key), width)


def _distinct(key: str, of: str) -> str:
    return witness.distinct_sql(key, verified_by(key), of)


def _firsts(key: str, *of: str) -> str:
    return ", ".join(witness.firsts_sql(key, verified_by(key), column) for column in of)


COUNTS: dict[str, str] = {
    "device_accounts": _counted("device_key"),
    "device_last_names": _distinct("device_key", "family"),
    "device_networks": _distinct("device_key", "network_key"),
    "device_day": _near("device_key", "1 DAY"),
    "device_firsts": _firsts("device_key", "family", "network_key"),
    "device_code_accounts": _counted("device_key, promo_code"),
    "phone_accounts": _counted("phone_key"),
    "phone_last_names": _distinct("phone_key", "family"),
    "phone_firsts": _firsts("phone_key", "family"),
    "typed_accounts": _counted("typed_key"),
    "typed_last_names": _distinct("typed_key", "family"),
    "typed_firsts": _firsts("typed_key", "family"),
    "email_accounts": _counted("email_key"),
    "identity_accounts": _counted("identity_key"),
    "email_series": _counted("series_key"),
    "email_series_day": _near("series_key", "1 DAY"),
    "ip_accounts": _counted("ip_key"),
    "ip_devices": f"{_distinct('ip_key', 'machine')} + {_counted('ip_key', 'machine IS NULL')}",
    "ip_firsts": _firsts("ip_key", "machine"),
    "network_hour": _near("network_key", "1 HOUR"),
    "user_agent_hour": _near("agent_key", "1 HOUR"),
    "city_user_agent_hour": _near("city_key, agent_key", "1 HOUR"),
}
"""Name in `view.ACCOUNT_VIEW` → SQL expression."""
