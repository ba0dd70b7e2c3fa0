"""The columns of lakehouse tables on which marts rely, and their types.

A table that has not been written (no usages yet, no model yet) is read as an empty one of these.
"""

import pyarrow as pa

_TIME = pa.timestamp("us", tz="UTC")
_TEXT, _COUNT, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_MONEY = pa.decimal128(12, 2)
_REASON = pa.struct([("code", _TEXT), ("text", _TEXT), ("weight", _REAL)])

COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "cleaned/users": {"user_id": _TEXT, "created_at": _TIME},
    "cleaned/promo_codes": {
        "promo_code": _TEXT,
        "discount_type": _TEXT,
        "discount_value": _MONEY,
        "min_purchase_amount": _MONEY,
    },
    "cleaned/promo_usages": {"user_id": _TEXT, "promo_code": _TEXT, "used_at": _TIME},
    "quarantine/users": {"failed_rules": pa.list_(_TEXT)},
    "quarantine/promo_codes": {"failed_rules": pa.list_(_TEXT)},
    "quarantine/promo_usages": {"failed_rules": pa.list_(_TEXT)},
    "modeled/abuse_labels": {"user_id": _TEXT, "is_abuser": _FLAG},
    "modeled/registrations_daily": {
        "date": pa.date32(),
        "registrations": _COUNT,
        "verified_email": _COUNT,
        "verified_phone": _COUNT,
    },
    "modeled/promo_usage_daily": {
        "date": pa.date32(),
        "usages": _COUNT,
        "users": _COUNT,
        "first_usages": _COUNT,
    },
    "modeled/promo_usage_by_user": {
        "user_id": _TEXT,
        "usages": _COUNT,
        "codes": _COUNT,
        "first_used_at": _TIME,
        "last_used_at": _TIME,
    },
    "modeled/promo_usage_by_code": {
        "promo_code": _TEXT,
        "usages": _COUNT,
        "users": _COUNT,
        "first_used_at": _TIME,
        "last_used_at": _TIME,
        "discount_type": _TEXT,
        "discount_value": _MONEY,
    },
    "modeled/account_clusters": {
        "user_id": _TEXT,
        "cluster_id": _TEXT,
        "cluster_size": _COUNT,
        "links": _COUNT,
    },
    "modeled/channel_reporting": {
        "channel_name": _TEXT,
        "date": pa.date32(),
        "model": _TEXT,
        "cost": pa.decimal128(18, 4),
        "conversions": _REAL,
        "revenue": _REAL,
        "cpo": _REAL,
        "roas": _REAL,
        "is_open": _FLAG,
    },
    "ml/abuse_scores": {
        "user_id": _TEXT,
        "probability": _REAL,
        "decision": _TEXT,
        "reasons": pa.list_(_REASON),
        "model_version": _TEXT,
        "scored_at": _TIME,
    },
}


def empty(key: str) -> pa.Table:
    """The table without rows."""
    return pa.schema(list(COLUMNS[key].items())).empty_table()
