"""Values in Spark and in Python: one meaning."""

import random
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from dmp_assets.platform.cleaning import reading
from dmp_assets.platform.cleaning.reading import Reading
from dmp_assets.platform.values import readers, times, words
from dmp_assets.platform.values.readers import Format, Kind
from tests.unit.platform.cleaning import test_values as cases
from tests.unit.platform.cleaning.test_reading import AMOUNTS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OWN = words.of({"device": ["Kiosk"], "any": ["Nix 'n\" \\ da"]})
TEXTS = (
    *cases.EVERYWHERE, *(text for texts in cases.BY_KIND.values() for text in texts),
    *(text for texts in cases.MEAN_SOMETHING.values() for text in texts),
    "1003.0", " 1003.00 ", "1003.5", ".0", "1.0.0", "007.0",
    None, "\x85null\x1f", "NIX 'N\" \\ DA", "kiosk", "İ", "ΣΑΣ", "0" * 64, "0" * 65, "-" * 64,
    "ｎｕｌｌ", "٠٠٠٠٠٠٠٠٠", "{{a\nb}}", "%%x%%", "[a_b]", "[ab]", "test1@test2.co.uk", "aaa@bbb",
)  # fmt: skip


def test_words_that_mean_nothing_are_the_same_in_spark_and_in_python(
    spark: "SparkSession",
) -> None:
    frame = spark.createDataFrame(
        pa.table({kind: pa.array(TEXTS, pa.string()) for kind in words.KINDS})
    )
    found = reading.read(frame, reading.given({kind: kind for kind in words.KINDS}, OWN)).toArrow()
    for kind in words.KINDS:
        wanted = [OWN.given(kind, text) for text in TEXTS]
        differ = [
            (text, ours, theirs)
            for text, ours, theirs in zip(TEXTS, wanted, found[kind].to_pylist(), strict=True)
            if ours != theirs
        ]
        assert differ == [], kind


FORMS: dict[Kind, tuple[Format, ...]] = {
    "amount": (Format("point"), Format("comma"), Format(None)),
    "time": (Format("day"), Format("month"), Format(None)),
}


def amounts(chance: random.Random) -> str:
    """Something like an amount."""
    whole = chance.choice(["", "0", "7", "12", "250", "1000", "1,234", "1.234", "1 234",
                           "1'234.567", "12.345.678", "1,2", "00"])  # fmt: skip
    rest = chance.choice(["", ".", ",", ".5", ",5", ".50", ",50", ".125", ",125", ".1234", ",1234"])
    around = chance.choice(
        ["{}", "{}", "${}", "€ {}", "{} EUR", "{}%", "-{}", "{} zł", "({})", "{}x"]
    )
    return around.format(whole + rest)


def moments(chance: random.Random) -> str:
    """Something like a time."""
    mark = chance.choice("-/.")
    day, month, year = (
        chance.randint(0, 33),
        chance.randint(0, 14),
        chance.choice([1889, 1990, 2024]),
    )
    written = chance.choice(
        [f"{year}{mark}{month:02}{mark}{day:02}", f"{day}{mark}{month}{mark}{year}",
         f"{day:02}{mark}{month:02}{mark}{year}", f"{year}{month:02}{day:02}", f"{year}-{month}"]
    )  # fmt: skip
    at = f"{chance.randint(0, 25):02}:{chance.randint(0, 61):02}"
    clock = chance.choice(["", "", f" {at}", f"T{at}:07", f" {at}:59.123456", f", {at}", f" {at} "])
    after = chance.choice(["", "", "Z", " UTC", "+02:00", "-0530", " PM", "am", " x"])
    return written + clock + after


NUMBERS = (
    "0", "1", "-1", "45321", "45321.0", "45321.75", "9999", "123456", "631152000", "1709273107",
    "1709273107.0", "1709273107.5", "1709273107000", "1709273107000.0", "1709273107000000",
    "1709273107000000000", "9999999999", "9999999999999", "99999999999999999999", "1e9", "NaN",
    "infinity", "20240230", "20240229", "19900203", "", "x", "0000-00-00", "262143-01-01",
    "1990-02-03T00:00:00Z", "12:30", "31/12/1990 ", "1/2/1990 0:00 AM", "1e400", "1E-5", "1e38",
)  # fmt: skip


def test_amounts_and_times_are_the_same_in_spark_in_duckdb_and_in_python(
    spark: "SparkSession",
) -> None:
    chance = random.Random(12)
    written = [text for texts in AMOUNTS.values() for text in texts]
    texts = [*NUMBERS, *written, *TEXTS[:40], *(make(chance) for make in (amounts, moments) * 400)]
    texts = sorted({text for text in texts if text})
    table = pa.table({"v": texts})
    wanted: dict[str, list[Any]] = {}
    made: dict[str, Reading] = {}
    for n, form in enumerate(FORMS["amount"]):
        read = [readers.read_amount(text, form) for text in texts]
        fits = [None if x is None or abs(x) >= 10**10 else round(float(x), 6) for x in read]
        wanted[f"amount{n}"] = fits
        made[f"amount{n}"] = reading.amount("v", form, "DECIMAL(18, 8)")
    for n, form in enumerate(FORMS["time"]):
        wanted[f"time{n}"] = [times.read_time(text, form) for text in texts]
        wanted[f"day{n}"] = [times.read_day(text, form) for text in texts]
        made |= {f"time{n}": reading.time("v", form), f"day{n}": reading.day("v", form)}
    found = reading.read(spark.createDataFrame(table), made).toArrow()
    with duckdb.connect() as c:
        c.register("texts", table)
        columns = ", ".join(
            f"{readers.amount('v', 'DECIMAL(18, 8)', form)} AS amount{n}"
            for n, form in enumerate(FORMS["amount"])
        )
        in_duckdb = c.sql(f"SELECT {columns} FROM texts").to_arrow_table()
    for name, values in wanted.items():
        for engine in (found, in_duckdb):
            if name not in engine.column_names:
                continue
            theirs = engine[name].to_pylist()
            if name.startswith("amount"):
                theirs = [None if x is None else round(float(x), 6) for x in theirs]
            differ = [
                (text, ours, other)
                for text, ours, other in zip(texts, values, theirs, strict=True)
                if ours != other
            ]
            assert differ == [], (name, differ[:10])
