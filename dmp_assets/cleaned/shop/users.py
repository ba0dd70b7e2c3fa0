"""cleaned/users: one row per registered user, attributes in normal form beside what was received.

Grain: one user. Key: user_id. Source: raw/users.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, cast

from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from dmp_assets.cleaned.shop import normal_batches
from dmp_assets.cleaned.shop.normal_batches import user_batches
from dmp_assets.identity import evidence
from dmp_assets.identity.evidence import IDENTITIES, most_holders_sql
from dmp_assets.identity.evidence import KINDS as KINDS_OF_EVIDENCE
from dmp_assets.platform.cleaning import formats, normalise, reading, rules, unread
from dmp_assets.platform.cleaning.reading import Reading
from dmp_assets.platform.cleaning.received import words_of, written_of
from dmp_assets.platform.cleaning.rules import Rule, Split
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.platform.values import zones
from dmp_assets.platform.values.readers import USUAL, Format
from dmp_assets.platform.values.words import STANDARD, Kind, Words
from dmp_assets.sources.shop.settings import ShopSettings
from dmp_assets.sources.shop.tables import TABLES

RECEIVED = TABLES["users"].columns
KINDS: dict[str, Kind] = {**words_of(RECEIVED), "created_at": "as received"}
READERS = written_of(RECEIVED)
RULES = (
    Rule("user_id_missing", "user_id IS NOT NULL", "the user has no id", required=True),
    Rule(
        "created_at_unreadable",
        "created_at IS NOT NULL",
        "the time of registration is missing or cannot be read",
        required=True,
    ),
)

COLUMNS = {
    "user_id": Column("string", "Id of the user in the shop.", "identifier", "user_id"),
    "created_at": Column("timestamp", "Time of registration (UTC).", "behaviour"),
    "email_received": Column("string", "E-mail address as received.", "contact"),
    "email": Column(
        "string",
        "Canonical address: the mailbox it reaches (lower case, no plus tag or Gmail dots).",
        "contact",
    ),
    "email_domain": Column("string", "Domain of the canonical address.", "contact"),
    "is_email_valid": Column(
        "boolean", "Whether the address is well formed; null when none was received."
    ),
    "has_email_alias": Column(
        "boolean", "Whether the address hides its mailbox behind a plus tag or dots."
    ),
    "is_email_verified": Column("boolean", "Whether the shop verified the address."),
    "phone_received": Column("string", "Phone number as received.", "contact"),
    "phone": Column(
        "string", "E.164 form; null unless a numbering plan has such numbers.", "contact"
    ),
    "phone_country": Column("string", "Region (ISO 3166) of the phone number.", "location"),
    "is_phone_valid": Column(
        "boolean", "Whether the number can exist; null when none was received."
    ),
    "is_phone_verified": Column("boolean", "Whether the shop verified the number."),
    "first_name": Column("string", "Given name.", "name"),
    "last_name": Column("string", "Family name.", "name"),
    "ip_received": Column("string", "Address of the registration as received.", "network"),
    "ip": Column("string", "IPv4 or IPv6 address in normal form.", "network"),
    "ip_prefix": Column("string", "Its /24 (IPv4) or /48 (IPv6) network.", "network"),
    "is_ip_valid": Column("boolean", "Whether the address is one; null when none was received."),
    "device_id": Column("string", "Id of the device that registered.", "device"),
    "user_agent_received": Column("string", "User agent as received.", "device"),
    "browser_family": Column("string", "Browser by ua-parser.", "device"),
    "browser_version": Column("integer", "Its major version.", "device"),
    "os_family": Column("string", "Operating system by ua-parser.", "device"),
    "device_family": Column("string", "Device by ua-parser.", "device"),
    "city": Column("string", "City as received.", "location"),
    "gender": Column("string", "Gender as received.", "demographic"),
    "date_of_birth_received": Column("string", "Date of birth as received.", "demographic"),
    "date_of_birth": Column(
        "date",
        "Date of birth; null when it cannot be read or lies after the registration.",
        "demographic",
    ),
    "is_date_of_birth_valid": Column(
        "boolean",
        "Whether a person can have it: false before 1900 and after the "
        "registration, null when none was received or none could be read.",
    ),
    "timezone_received": Column("string", "Time zone as received.", "location"),
    "timezone": Column("string", "IANA name of the time zone.", "location"),
    "is_timezone_valid": Column("boolean", "Whether IANA knows it; null when none was received."),
    "is_abuser": Column(
        "boolean",
        "The shop's label; null when unknown. Never a feature; see modeled/abuse_labels.",
        "profile",
    ),
    "is_ambiguous": Column(
        "boolean", "Rows of one load contradict each other; disputed attributes are null."
    ),
    "received_rows": Column(
        "long", "How many received rows this one stands for (itself and its duplicates)."
    ),
    "received_at": Column("timestamp", "When the source received the row (UTC), where it says so."),
}

ALL = "SELECT count(*) FROM cleaned.users"
CROWDS = f"""
WITH held AS ({
    " UNION ALL ".join(
        f"SELECT '{kind.name}' AS kind, {kind.cap} AS cap, ({kind.value})::VARCHAR AS value, "
        f"count(*) AS accounts FROM cleaned.users WHERE ({kind.value}) IS NOT NULL "
        f"GROUP BY ALL HAVING count(*) > {most_holders_sql(kind.cap, ALL)} "
        f"OR (count(*) >= {evidence.SUSPECT} AND count(*) * {evidence.SUSPECT_SHARE} > "
        f"(SELECT count({kind.value}) FROM cleaned.users))"
        for kind in KINDS_OF_EVIDENCE
        if kind.name in IDENTITIES
    )
})
SELECT count(*), coalesce(sum(accounts), 0)::BIGINT AS accounts,
    string_agg(kind || ' ' || left(value, 2) || '…: ' || accounts || ' accounts', '; '
               ORDER BY accounts DESC) AS crowds
FROM held"""
"""Values that are no identity, or look like none: kind, first letters, and how many hold them."""


def clean(
    raw: DataFrame,
    phone_region: str,
    no_value: Words = STANDARD,
    forms: Mapping[str, Format] | None = None,
) -> Split:
    """Type, deduplicate and normalise users; only rows without id or time go to quarantine."""
    of = partial(_form, forms or {})
    readings = reading.given(KINDS, no_value) | {
        "created_at_read": reading.time("created_at", of("created_at"))
    }
    timed = rules.received(raw, RECEIVED, readings).withColumnsRenamed(
        {"created_at": "created_at_received", "created_at_read": "created_at"}
    )
    judged = rules.split_by_rules(timed, RULES)
    unusable = judged.quarantined.drop("created_at").withColumnsRenamed(
        {"created_at_received": "created_at"}
    )
    usable = judged.kept.select(*RECEIVED, *rules.LINEAGE)
    single = rules.one_row_per_key(usable, ["user_id"], never_null=["created_at"])
    return Split(
        normalised(single.kept, phone_region, of("dob")),
        rules.quarantine(RECEIVED, unusable, single.quarantined),
    )


def _is_read(text: str, reader: Callable[[str], NamedTuple]) -> bool | None:
    """What `unread.note` asks of an attribute that has no type: whether it is one at all."""
    return reader(text)._asdict()["is_valid"] or None


def readings_of(phone_region: str, forms: Mapping[str, Format]) -> dict[str, Reading]:
    """By what each received column is read."""
    of = partial(_form, forms)
    one: dict[str, Callable[[str], NamedTuple]] = {
        "email": normalise.email, "ip_address": normalise.ip,
        "phone": partial(normalise.phone, region=phone_region),
    }  # fmt: skip
    return {
        "created_at": reading.time("created_at", of("created_at")),
        "dob": reading.day("dob", of("dob")),
        "timezone": Reading(("timezone",), zones.canonical),
        **{name: reading.flag(name) for name, kind in KINDS.items() if kind == "flag"},
        **{name: Reading((name,), partial(_is_read, reader=by)) for name, by in one.items()},
    }


def _form(forms: Mapping[str, Format], name: str) -> Format:
    return forms.get(name, USUAL[READERS[name]])


def normalised(users: DataFrame, phone_region: str, birthday: Format = USUAL["time"]) -> DataFrame:
    """Put the normal forms beside the received attributes."""
    renamed = users.withColumnsRenamed(
        {
            "email": "email_received",
            "phone": "phone_received",
            "ip_address": "ip_received",
            "user_agent": "user_agent_received",
            "timezone": "timezone_received",
            "dob": "date_of_birth_received",
            "is_email_verified": "email_verified_received",
            "is_phone_verified": "phone_verified_received",
            "is_abuser": "label_received",
            "_received_at": "received_at",
        }
    )
    schema = StructType(
        [
            *renamed.schema.fields,
            *cast(StructType, StructType.fromDDL(normal_batches.DERIVED)).fields,
        ]
    )
    made = partial(user_batches, phone_region=phone_region, birthday=birthday)
    return renamed.mapInArrow(made, schema).select(*COLUMNS)


@table_asset(
    "cleaned",
    deps=["raw/users"],
    columns=COLUMNS,
    key=("user_id",),
    also={"quarantine/users": rules.quarantine_columns(RECEIVED)},
    settings=["phone_region", "max_bad_share", "no_values", "column_formats"],
    checks=(
        *rules.standard_checks("users"),
        Check(
            "values_are_identities",
            CROWDS,
            "No e-mail, phone, device or person is held by far more accounts than can be: such a "
            "value counts as nobody's. None is held by ten and more, and by more than a quarter of "
            "those who give one: such a value still links, since it may be a ring. A word that "
            "means no value belongs into DMP_NO_VALUES.",
        ),
    ),
)
def users(run: TableRun) -> None:
    """One row per registered user, attributes in normal form beside what was received.

    Grain: one user. Key: user_id. Source: raw/users.
    """
    raw = run.read("raw/users")
    no_value = run.settings.no_value_words
    forms = formats.found(run, "users", READERS)
    region = run.settings.of(ShopSettings).phone_region
    unread.note(run, "users", KINDS, readings_of(region, forms), no_value)
    rules.write_split(run, clean(raw, region, no_value, forms))
