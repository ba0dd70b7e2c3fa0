"""Cleaned tables that are made beside each other keep in memory what is theirs, and no longer."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dmp_assets.cleaned.shop import promo_codes, users
from dmp_assets.platform.cleaning import rules
from dmp_assets.platform.lake.lakehouse import Lakehouse
from tests.assets.test_cleaned import failed_checks, raw, receive, run, user

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_an_asset_lets_go_of_its_own_and_of_nothing_that_another_thread_keeps(
    lakehouse: Lakehouse, spark: "SparkSession"
) -> None:
    receive(lakehouse, users=[user("a"), user("a"), user("b")])

    def kept() -> int:
        return len(spark._jsc.sc().getRDDStorageInfo())

    before = kept()
    codes = spark.createDataFrame(raw("promo_codes", [{"promo_code": "A"}]))
    split = promo_codes.clean(codes)
    assert split.kept.count() == 1
    others = kept()
    assert others > before
    with ThreadPoolExecutor(1) as beside:
        assert failed_checks(beside.submit(run, users.users).result()) == []
    assert kept() == others
    rules._let_go()
    assert kept() == before
