"""Which column of ours each name in an export's header means, and how its fields are parted."""

import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dmp_assets.spelling import nearest

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_WRITTEN = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}

ALIASES: Mapping[str, Sequence[str]] = {
    "user_id": ("id", "uid", "userid", "customer_id", "customer", "client_id", "account_id",
                "member_id", "kundennummer"),
    "created_at": ("created", "created_on", "registered_at", "registration_date", "signup_date",
                   "signed_up_at", "date_joined", "join_date", "creation_date"),
    "email": ("mail", "e_mail", "email_address", "mail_address"),
    "is_email_verified": ("email_verified", "verified_email", "email_confirmed"),
    "phone": ("telephone", "tel", "mobile", "phone_number", "mobile_phone", "telefon"),
    "is_phone_verified": ("phone_verified", "verified_phone"),
    "first_name": ("given_name", "forename", "vorname", "name"),
    "last_name": ("surname", "family_name", "nachname"),
    "ip_address": ("ip", "ip_addr", "remote_addr", "signup_ip", "registration_ip", "client_ip"),
    "device_id": ("device", "device_uuid", "fingerprint", "device_fingerprint"),
    "user_agent": ("ua", "useragent", "browser", "http_user_agent"),
    "city": ("town", "stadt", "ort"),
    "gender": ("sex", "geschlecht"),
    "dob": ("date_of_birth", "birth_date", "birthdate", "birthday", "geburtsdatum"),
    "timezone": ("time_zone", "tz"),
    "is_abuser": ("abuser", "is_fraud", "fraud", "label"),
    "promo_code": ("code", "coupon", "coupon_code", "voucher", "voucher_code", "discount_code"),
    "discount_value": ("discount", "value", "amount_off", "percent_off"),
    "discount_type": ("type",),
    "min_purchase_amount": ("minimum", "min_amount", "min_order", "minimum_amount"),
    "valid_from": ("starts_at", "start_date", "start"),
    "valid_until": ("ends_at", "end_date", "end", "expires_at", "expiry", "valid_to"),
    "max_uses_per_user": ("max_uses", "usage_limit", "limit_per_user"),
    "used_at": ("redeemed_at", "usage_date", "redeemed_on", "date", "timestamp"),
    "used_promo": ("used", "granted", "redeemed", "success"),
    "session_id": ("session", "sid", "visit_id"),
    "event_date": ("session_date", "visit_date", "date"),
    "event_time": ("session_time", "visit_time", "time"),
    "channel_name": ("channel", "source", "medium", "channel_grouping"),
    "campaign_name": ("campaign", "utm_campaign"),
    "conv_id": ("conversion_id", "order_id", "transaction_id"),
    "conv_date": ("conversion_date", "order_date", "date"),
    "conv_time": ("conversion_time", "order_time", "time"),
    "revenue": ("amount", "value", "order_value", "total"),
    "cost": ("costs", "spend", "price"),
}  # fmt: skip
"""What others call our columns: suggested, never taken by itself."""


class HeaderError(ValueError):
    """A header that cannot be used; the message names what is wrong with it."""


@dataclass(frozen=True)
class Reading:
    """How people say their files are to be read. `names`: our column → the file's name for it."""

    delimiter: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, delimiter: str | None, names: Iterable[str]) -> "Reading":
        """From what was typed: a delimiter or its name, and `column=name` for each renamed one.

        Raises HeaderError.
        """
        if delimiter is not None:
            delimiter = _WRITTEN.get(delimiter.lower(), delimiter)
            if len(delimiter) != 1 or delimiter in '"\r\n' or ord(delimiter) > 126:
                raise HeaderError("--delimiter is one character, or comma, semicolon, tab or pipe")
        parted = {}
        for text in names:
            column, found, name = text.partition("=")
            if not found or not column.strip() or not name.strip():
                raise HeaderError(f"--map {text}: write COLUMN=NAME, e.g. --map email=E-Mail")
            if column.strip() in parted:
                raise HeaderError(f"--map names {column.strip()} twice")
            parted[column.strip()] = name.strip()
        return cls(delimiter, parted)


@dataclass(frozen=True)
class Header:
    """`columns`: our names in the file's order. `notes`: what people should know, a line each."""

    delimiter: str
    columns: tuple[str, ...]
    given: tuple[str, ...]
    notes: tuple[str, ...]


def parse(file: str, start: Sequence[str], known: Sequence[str], reading: Reading) -> Header:
    """The header of a file whose first lines are `start`. Raises HeaderError."""
    if start and re.fullmatch(r'"?sep=.[";,\s]*', start[0].strip(), re.IGNORECASE):
        raise HeaderError(f"{file} begins with Excel's line {start[0].strip()!r}: remove that line")
    delimiter = reading.delimiter or _likeliest(start, known, reading)
    given = _cells(file, start, delimiter)
    columns = _meant(given, known, reading)
    notes = []
    if delimiter != "," and reading.delimiter is None:
        notes.append(f"fields are parted by {DELIMITERS[delimiter]}s")
    for name, column in zip(given, columns, strict=True):
        if name != column:
            notes.append(f"the column {name!r} is read as {column}")
        elif column not in known:
            notes.append(f"the column {column} is not used{_advice(column, known, columns)}")
    return Header(delimiter, tuple(columns), tuple(given), tuple(notes))


def missing(column: str, given: Iterable[str]) -> str:
    """Advice where a required column is missing: the name in the header that likely means it."""
    likely = [name for name in given if plain(name) in ALIASES.get(column, ())]
    close = nearest(column, {plain(name): name for name in given})
    found = likely or [name for name in given if plain(name) == close]
    return f"; is it {found[0]!r}? Then add --map {_typed(column, found[0])}" if found else ""


def plain(name: str) -> str:
    """A name without case, accents' composition, blanks and signs around and in it."""
    text = unicodedata.normalize("NFKC", name).strip().strip("\"'").casefold()
    return re.sub(r"\W+", "_", text).strip("_")


def _advice(column: str, known: Sequence[str], taken: Sequence[str]) -> str:
    free = [name for name in known if name not in taken]
    by_alias = [name for name in free if plain(column) in ALIASES.get(name, ())]
    likely = by_alias[0] if by_alias else nearest(plain(column), free)
    return f"; did you mean {likely}? (--map {_typed(likely, column)})" if likely else ""


def _typed(column: str, name: str) -> str:
    return f"{column}={name}" if re.fullmatch(r"[\w.-]+", name) else f"'{column}={name}'"


def _cells(file: str, start: Sequence[str], delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader(start, delimiter=delimiter), [])
    except csv.Error as error:
        raise HeaderError(f"{file} line 1 is not CSV: {error}") from error
    return [unicodedata.normalize("NFC", cell).strip() for cell in cells]


def _likeliest(start: Sequence[str], known: Sequence[str], reading: Reading) -> str:
    """The delimiter by which the header names most columns that are known."""

    def score(delimiter: str) -> int:
        try:
            cells = next(csv.reader(start, delimiter=delimiter), [])
        except csv.Error:
            return 0
        mapped = set(reading.names.values())
        return sum(plain(cell) in known or cell.strip() in mapped for cell in cells)

    best = max(DELIMITERS, key=score)
    return best if score(best) else ","


def _meant(given: Sequence[str], known: Sequence[str], reading: Reading) -> list[str]:
    by_name = {name: column for column, name in reading.names.items()}
    exact = {by_name.get(name, name) for name in given} & set(known)
    plains = [plain(name) for name in given]
    columns = []
    for name in given:
        same = plain(name)
        if name in by_name:
            columns.append(by_name[name])
        elif same in known and same not in exact and plains.count(same) == 1:
            columns.append(same)
        else:
            columns.append(name)
    return columns
