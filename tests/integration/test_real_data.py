"""The given real data through the whole path, in a live home of its own."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.demo import source_url
from tests.support.dmp import ROOT, Dmp, Ran
from tests.support.recount import recount, rows, tally

pytestmark = pytest.mark.given_data
DATA = ROOT.parent / "shared" / "data" / "noaat"


@pytest.fixture(scope="module")
def real(folder: Path) -> tuple[Dmp, Ran, Ran]:
    """The home, the loading and the run."""
    dmp = Dmp(folder / "real", folder / "project")
    loaded = dmp("load-shop", str(DATA))
    dmp.postgres.start()
    return dmp, loaded, dmp("run", "--json")


@pytest.fixture(scope="module")
def source(real: tuple[Dmp, Ran, Ran]) -> Iterator[psycopg.Connection[tuple]]:
    with psycopg.connect(source_url(real[0].home)) as connection:
        recount(connection)
        yield connection


def test_the_real_data_goes_through_from_files_to_dashboard(real: tuple[Dmp, Ran, Ran]) -> None:
    dmp, loaded, ran = real
    assert loaded.code == 0, loaded.text
    assert "8,091 rows" in loaded.text
    assert ran.code == 0, ran.text
    assert dmp.home.profile == "live"
    assert {t["key"] for t in ran.summary["tables"]} >= {
        "ml/abuse_scores", "marts/top_users", "reports/promo_abuse", "delivery/promo_abuse"
    }  # fmt: skip
    assert any("no DMP_SLACK_TOKEN" in part for part in ran.summary["skipped"])


def test_all_usages_and_codes_are_kept_once_each(
    real: tuple[Dmp, Ran, Ran], source: psycopg.Connection[tuple]
) -> None:
    tables = real[0].tables
    assert tables.scalar("SELECT count(*) FROM cleaned.promo_usages") == 8_091
    assert (
        tables.scalar(
            """SELECT count(*) FROM
            (SELECT DISTINCT user_id, promo_code, used_at FROM cleaned.promo_usages)"""
        )
        == 8_091
    )
    assert tables.scalar("SELECT count(*) FROM cleaned.promo_codes") == 947
    for table in ("users", "promo_codes", "promo_usages"):
        counted = tally(source, table)
        assert tables.scalar(f"SELECT count(*) FROM cleaned.{table}") == counted["kept"]
        quarantined = tables.scalar(f"SELECT count(*) FROM quarantine.{table}")
        assert quarantined == counted["quarantined"]


def test_the_dashboard_shows_the_real_numbers(
    real: tuple[Dmp, Ran, Ran], source: psycopg.Connection[tuple]
) -> None:
    page = (real[0].home.reports / "promo_abuse.html").read_text()
    found = re.search(r'id="dashboard-data">(.*?)</script>', page, re.DOTALL)
    assert found
    data = json.loads(found[1])
    assert sum(data["usages"]) == 8_091
    codes: dict[str, int] = {}
    for index, n in zip(data["codes"]["index"], data["codes"]["count"], strict=True):
        label = data["codes"]["labels"][index]
        codes[label] = codes.get(label, 0) + n
    assert codes == dict(
        rows(source, "SELECT promo_code, count(*) FROM ranked_promo_usages GROUP BY promo_code")
    )


def test_without_a_slack_token_the_message_waits_in_the_outbox(
    real: tuple[Dmp, Ran, Ran],
) -> None:
    dmp, _, ran = real
    (kept,) = [json.loads(path.read_text()) for path in dmp.home.outbox.glob("*.json")]
    assert kept["stage"] == "intended"
    assert "no Slack token" in kept["reason"]
    assert any(check.startswith("delivery/promo_abuse") for check in ran.summary["failed_checks"])
    # the history ends long ago: no numbers of a week that nobody knows, and it says so
    assert "The data is not complete" in kept["text"]


def test_loading_the_same_files_again_changes_nothing(real: tuple[Dmp, Ran, Ran]) -> None:
    again = real[0]("load-shop", str(DATA))
    assert again.code == 0
    assert "holds these very files already; nothing was changed" in again.text
