"""The columns of the shop whose amounts and times may be written in several ways."""

from dmp_assets.platform.cleaning.written import Written

WRITTEN = Written(
    {
        "users": {"created_at": "time", "dob": "time"},
        "promo_codes": {
            "discount_value": "amount", "min_purchase_amount": "amount",
            "max_uses_per_user": "amount", "valid_from": "time", "valid_until": "time",
        },
        "promo_usages": {"used_at": "time"},
    }
)  # fmt: skip
