"""The page of the input contract, docs/inputs.md: tables, columns, formats, what others call them.

Made from what the code reads, so that it cannot say otherwise; `contract.txt` is its prose.
"""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Literal

from dmp_assets.sources.csv.header import ALIASES, DELIMITERS
from dmp_assets.sources.shop import tables as shop
from dmp_assets.sources.web import tables as web_tables

Kind = Literal["id", "code", "text", "time", "day", "clock", "amount", "count", "flag", "ip"]

FORMATS: Mapping[Kind, str] = {
    "id": "any text or whole number",
    "code": "any text",
    "text": "any text",
    "time": "time",
    "day": "day",
    "clock": "time of day",
    "amount": "number",
    "count": "whole number",
    "flag": "flag",
    "ip": "IPv4 or IPv6 address",
}

COLUMNS: Mapping[str, tuple[Kind, str]] = {
    "user_id": ("id", "The account."),
    "created_at": ("time", "When it was registered."),
    "email": ("text", "E-mail address."),
    "is_email_verified": ("flag", "Whether the shop verified it."),
    "phone": ("text", "Phone number; without country code it is one of DMP_PHONE_REGION."),
    "is_phone_verified": ("flag", "Whether the shop verified it."),
    "first_name": ("text", "Given name."),
    "last_name": ("text", "Family name."),
    "ip_address": ("ip", "Address of the registration."),
    "device_id": ("id", "The device that registered."),
    "user_agent": ("text", "What its browser calls itself."),
    "city": ("text", "City."),
    "gender": ("text", "Gender."),
    "dob": ("day", "Date of birth."),
    "timezone": ("text", "IANA name of its time zone."),
    "is_abuser": ("flag", "The shop's label, where it has one."),
    "promo_code": ("code", "The code."),
    "discount_type": ("text", "percentage or fixed_amount."),
    "discount_value": ("amount", "Percent, or money by DMP_CURRENCY."),
    "min_purchase_amount": ("amount", "Smallest order that the code is good for."),
    "valid_from": ("time", "First moment at which it is good."),
    "valid_until": ("time", "Moment from which it is not."),
    "max_uses_per_user": ("count", "How often one account may redeem it."),
    "used_at": ("time", "When it was redeemed."),
    "used_promo": ("flag", "Whether the discount was granted."),
    "order_id": ("id", "The order."),
    "ordered_at": ("time", "When it was placed."),
    "amount": ("amount", "What was paid."),
    "discount": ("amount", "What was taken off."),
    "session_id": ("id", "The visit."),
    "event_date": ("day", "Day of the visit (UTC)."),
    "event_time": ("clock", "Time of the visit (UTC)."),
    "channel_name": ("text", "The channel that it came by."),
    "holder_engagement": ("flag", "Whether the visitor looked around."),
    "closer_engagement": ("flag", "Whether the visitor was about to buy."),
    "impression_interaction": ("flag", "Whether it was an impression only."),
    "campaign_name": ("text", "The campaign."),
    "conv_id": ("id", "The conversion."),
    "conv_date": ("day", "Its day (UTC)."),
    "conv_time": ("clock", "Its time (UTC)."),
    "revenue": ("amount", "What it brought, in the currency of DMP_CURRENCY."),
    "cost": ("amount", "What the visit cost, in the currency of DMP_CURRENCY."),
}


def markdown() -> str:
    """The page."""
    about = files("dmp_assets.sources").joinpath("contract.txt").read_text(encoding="utf-8")
    parts = [about.replace("DELIMITERS", ", ".join(DELIMITERS.values())), "## Tables of the shop\n"]
    for spec in shop.TABLES.values():
        title = f"### {spec.name}" + (
            " (may be missing; loaded and not used yet)" if spec.optional else ""
        )
        parts.append(f"{title}\n\n{_table(spec.columns, spec.required)}")
    parts.append("## Tables of the web database\n")
    for name, columns in web_tables.TABLES.items():
        required = [c for c in columns if (name, c) not in web_tables.OPTIONAL]
        parts.append(f"### {name}\n\n{_table(columns, required)}")
    return "\n".join(parts)


def _table(columns: Iterable[str], required: Iterable[str]) -> str:
    needed = set(required)
    lines = ["| column | | format | what | others call it |", "| --- | --- | --- | --- | --- |"]
    for column in columns:
        kind, what = COLUMNS[column]
        others = ", ".join(f"`{name}`" for name in ALIASES.get(column, ()))
        need = "required" if column in needed else ""
        lines.append(f"| `{column}` | {need} | {FORMATS[kind]} | {what} | {others} |")
    return "\n".join(lines) + "\n"
