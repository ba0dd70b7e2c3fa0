"""Normal forms of whole Arrow batches, for Spark's Python workers.

Imports nothing heavy: each worker process imports this module.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from dmp_assets.platform.cleaning import normalise
from dmp_assets.platform.values.readers import USUAL, Format
from dmp_assets.platform.values.times import read_day

EARLIEST_BIRTH = 1900

# Columns that `user_batches` adds, as Spark SQL types.
DERIVED = (
    "email string, email_domain string, is_email_valid boolean, has_email_alias boolean, "
    "is_email_verified boolean, phone string, phone_country string, is_phone_valid boolean, "
    "is_phone_verified boolean, ip string, ip_prefix string, is_ip_valid boolean, "
    "browser_family string, browser_version int, os_family string, device_family string, "
    "timezone string, is_timezone_valid boolean, is_abuser boolean, date_of_birth date, "
    "is_date_of_birth_valid boolean"
)


def user_batches(
    batches: Iterator[pa.RecordBatch], phone_region: str, birthday: Format
) -> Iterator[pa.RecordBatch]:
    """Add the columns of `DERIVED` to each batch of received users."""
    for batch in batches:
        yield derived(batch, phone_region, birthday)


def derived(
    batch: pa.RecordBatch, phone_region: str, birthday: Format = USUAL["time"]
) -> pa.RecordBatch:
    """The batch with the columns of `DERIVED` added; one pass of Python per attribute.

    `birthday`: how the column of birth dates writes days.
    """

    def text(name: str) -> list[str | None]:
        return batch.column(batch.schema.get_field_index(name)).to_pylist()

    emails = [normalise.email(value) for value in text("email_received")]
    phones = [normalise.phone(value, phone_region) for value in text("phone_received")]
    ips = [normalise.ip(value) for value in text("ip_received")]
    agents = [normalise.user_agent(value) for value in text("user_agent_received")]
    zones = [normalise.timezone(value) for value in text("timezone_received")]
    typed = batch.column(batch.schema.get_field_index("date_of_birth_received"))
    born, is_plausible = _born(
        typed.to_pylist(), batch.column(batch.schema.get_field_index("created_at")), birthday
    )
    columns: dict[str, pa.Array] = {
        "email": pa.array([e.canonical for e in emails], pa.string()),
        "email_domain": pa.array([e.domain for e in emails], pa.string()),
        "is_email_valid": pa.array([e.is_valid for e in emails], pa.bool_()),
        "has_email_alias": pa.array([e.has_alias for e in emails], pa.bool_()),
        "is_email_verified": _flags(text("email_verified_received")),
        "phone": pa.array([p.e164 for p in phones], pa.string()),
        "phone_country": pa.array([p.country for p in phones], pa.string()),
        "is_phone_valid": pa.array([p.is_valid for p in phones], pa.bool_()),
        "is_phone_verified": _flags(text("phone_verified_received")),
        "ip": pa.array([i.address for i in ips], pa.string()),
        "ip_prefix": pa.array([i.prefix for i in ips], pa.string()),
        "is_ip_valid": pa.array([i.is_valid for i in ips], pa.bool_()),
        "browser_family": pa.array([a.browser_family for a in agents], pa.string()),
        "browser_version": pa.array([a.browser_version for a in agents], pa.int32()),
        "os_family": pa.array([a.os_family for a in agents], pa.string()),
        "device_family": pa.array([a.device_family for a in agents], pa.string()),
        "timezone": pa.array([z[0] for z in zones], pa.string()),
        "is_timezone_valid": pa.array([z[1] for z in zones], pa.bool_()),
        "is_abuser": _flags(text("label_received")),
        "date_of_birth": born,
        "is_date_of_birth_valid": is_plausible,
    }
    return pa.RecordBatch.from_arrays(
        [*batch.columns, *columns.values()], names=[*batch.schema.names, *columns]
    )


def _flags(values: list[str | None]) -> pa.Array:
    return pa.array([normalise.flag(value) for value in values], pa.bool_())


def _born(texts: list[str | None], registered: pa.Array, form: Format) -> tuple[pa.Array, pa.Array]:
    """Days of birth, null for those before 1900 or after the registration, and whether they are
    none of these; null where none is read."""
    since = registered.cast(pa.date32())
    read = [
        None if text is None else read_day(text, form, born_before)
        for text, born_before in zip(texts, since.to_pylist(), strict=True)
    ]
    days = pa.array(read, pa.date32())
    plausible = pc.and_(
        pc.less_equal(days, since),
        pc.greater_equal(pc.year(days), EARLIEST_BIRTH),
    )
    return pc.if_else(plausible, days, None), plausible
