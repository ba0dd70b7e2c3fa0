"""The tables of the shop: what is known of each of their columns, said here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass

from dmp_assets.platform.cleaning import received
from dmp_assets.platform.cleaning.received import Received, ReceivedColumns
from dmp_assets.platform.cleaning.written import Written

ROW_ID = "_row_id"
RECEIVED_AT = "_received_at"
LOADS = "dmp_shop_load"


@dataclass(frozen=True)
class TableSpec:
    """What is known of one table of a shop.

    A column that is not required may be missing and is then unknown. `time` is the column that a
    date range bounds; an `optional` table may be missing, and no raw table is made of it.
    """

    name: str
    columns: ReceivedColumns
    time: str | None = None
    optional: bool = False

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns that must be there."""
        return received.required(self.columns)


def _user_id(*, required: bool) -> Received:
    return Received(
        "id", "The account.", personal="identifier", subject="user_id", required=required,
        aliases=("id", "uid", "userid", "customer_id", "customer", "client_id", "account_id",
                 "member_id", "kundennummer"),
    )  # fmt: skip


def _promo_code(*, required: bool) -> Received:
    return Received(
        "code", "The code.", personal=None, required=required,
        aliases=("code", "coupon", "coupon_code", "voucher", "voucher_code", "discount_code"),
    )  # fmt: skip


_USERS: ReceivedColumns = {
    "user_id": _user_id(required=True),
    "created_at": Received(
        "time", "When it was registered.", personal="behaviour", required=True,
        aliases=("created", "created_on", "registered_at", "registration_date", "signup_date",
                 "signed_up_at", "date_joined", "join_date", "creation_date"),
    ),
    "email": Received(
        "email", "E-mail address.", personal="contact",
        aliases=("mail", "e_mail", "email_address", "mail_address"),
    ),
    "is_email_verified": Received(
        "flag", "Whether the shop verified it.", personal=None,
        aliases=("email_verified", "verified_email", "email_confirmed"),
    ),
    "phone": Received(
        "phone", "Phone number; without country code it is one of DMP_PHONE_REGION.",
        personal="contact",
        aliases=("telephone", "tel", "mobile", "phone_number", "mobile_phone", "telefon"),
    ),
    "is_phone_verified": Received(
        "flag", "Whether the shop verified it.", personal=None,
        aliases=("phone_verified", "verified_phone"),
    ),
    "first_name": Received(
        "name", "Given name.", personal="name",
        aliases=("given_name", "forename", "vorname", "name"),
    ),
    "last_name": Received(
        "name", "Family name.", personal="name", aliases=("surname", "family_name", "nachname")
    ),
    "ip_address": Received(
        "ip", "Address of the registration.", personal="network",
        aliases=("ip", "ip_addr", "remote_addr", "signup_ip", "registration_ip", "client_ip"),
    ),
    "device_id": Received(
        "device", "The device that registered.", personal="device",
        aliases=("device", "device_uuid", "fingerprint", "device_fingerprint"),
    ),
    "user_agent": Received(
        "user_agent", "What its browser calls itself.", personal="device",
        aliases=("ua", "useragent", "browser", "http_user_agent"),
    ),
    "city": Received("city", "City.", personal="location", aliases=("town", "stadt", "ort")),
    "gender": Received("text", "Gender.", personal="demographic", aliases=("sex", "geschlecht")),
    "dob": Received(
        "day", "Date of birth.", personal="demographic",
        aliases=("date_of_birth", "birth_date", "birthdate", "birthday", "geburtsdatum"),
    ),
    "timezone": Received(
        "timezone", "IANA name of its time zone.", personal="location",
        aliases=("time_zone", "tz"),
    ),
    "is_abuser": Received(
        "flag", "The shop's label, where it has one.", personal="profile",
        aliases=("abuser", "is_fraud", "fraud", "label"),
    ),
}  # fmt: skip

_PROMO_CODES: ReceivedColumns = {
    "promo_code": _promo_code(required=True),
    "discount_type": Received(
        "text", "percentage or fixed_amount.", personal=None, aliases=("type",)
    ),
    "discount_value": Received(
        "amount", "Percent, or money by DMP_CURRENCY.", personal=None,
        aliases=("discount", "value", "amount_off", "percent_off"),
    ),
    "min_purchase_amount": Received(
        "amount", "Smallest order that the code is good for.", personal=None,
        aliases=("minimum", "min_amount", "min_order", "minimum_amount"),
    ),
    "valid_from": Received(
        "time", "First moment at which it is good.", personal=None,
        aliases=("starts_at", "start_date", "start"),
    ),
    "valid_until": Received(
        "time", "Moment from which it is not.", personal=None,
        aliases=("ends_at", "end_date", "end", "expires_at", "expiry", "valid_to"),
    ),
    "max_uses_per_user": Received(
        "count", "How often one account may redeem it.", personal=None,
        aliases=("max_uses", "usage_limit", "limit_per_user"),
    ),
}  # fmt: skip

_PROMO_USAGES: ReceivedColumns = {
    "user_id": _user_id(required=True),
    "promo_code": _promo_code(required=True),
    "used_at": Received(
        "time", "When it was redeemed.", personal="behaviour", required=True,
        aliases=("redeemed_at", "usage_date", "redeemed_on", "date", "timestamp"),
    ),
    "used_promo": Received(
        "flag", "Whether the discount was granted.", personal="behaviour",
        aliases=("used", "granted", "redeemed", "success"),
    ),
}  # fmt: skip

_ORDERS: ReceivedColumns = {
    "order_id": Received("id", "The order.", personal="identifier", required=True),
    "user_id": _user_id(required=False),
    "ordered_at": Received("time", "When it was placed.", personal="behaviour"),
    "amount": Received("amount", "What was paid.", personal="behaviour"),
    "discount": Received("amount", "What was taken off.", personal="behaviour"),
    "promo_code": _promo_code(required=False),
}

TABLES: Mapping[str, TableSpec] = {
    spec.name: spec
    for spec in (
        TableSpec("users", _USERS, time="created_at"),
        TableSpec("promo_codes", _PROMO_CODES),
        TableSpec("promo_usages", _PROMO_USAGES, time="used_at"),
        TableSpec("orders", _ORDERS, time="ordered_at", optional=True),
    )
}
WRITTEN = Written.of({spec.name: spec.columns for spec in TABLES.values() if not spec.optional})
