"""Promo-code abuse: users, codes and usages of the shop, and the model that judges accounts."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dmp_assets.cleaned.shop import keys as shop
from dmp_assets.home import Home
from dmp_assets.platform.faces.domain import Domain, Scope
from dmp_assets.sources.shop.settings import ShopSettings

if TYPE_CHECKING:
    import sqlalchemy as sa


def _reads_embedded(home: Home) -> bool:
    return home.settings().of(ShopSettings).shop_database_url is None


def _lacks(home: Home) -> Sequence[str]:
    if _reads_embedded(home) and home.profile == "live":
        return [
            "DMP_SHOP_DATABASE_URL: the embedded PostgreSQL is the shop (fill it: dmp load-shop)"
        ]
    return []


def _summary(home: Home) -> Sequence[str]:
    """The model's headline and flagged accounts, by the words and counts of the dashboard."""
    from dmp_assets.abuse.model.registry import headline
    from dmp_assets.abuse.report import figures
    from dmp_assets.platform.figures.catalogue import figure
    from dmp_assets.platform.reporting.reader import Report

    report = Report.open(home, {})
    if not report.has("ml/model_registry"):
        return []
    found = figures.flagged(report)
    if found is None:
        return [headline(report.tables)]
    unmeasured = f" ({figures.UNMEASURED})" if figures.is_measured(report) is False else ""
    return [
        headline(report.tables),
        f"{figure('flagged_accounts').label} {found.accounts:,}, "
        f"{figure('accounts_to_block').label.lower()} {found.blocked:,}{unmeasured}",
    ]


def _results(home: Home) -> Mapping[str, Path]:
    return {"Dashboard": home.reports / "promo_abuse.html"}


def _forget_people(store: "sa.Connection") -> None:
    from dmp_assets.abuse.service.store import landing

    landing.clear(store)


def _erase(store: "sa.Connection", subject: str, ids: Collection[str]) -> Mapping[str, int]:
    from dmp_assets.abuse.service.store import erasing

    return erasing.erase(store, ids) if subject == "user_id" else {}


def _drop_older(home: Home) -> None:
    from dmp_assets.abuse.model import snapshot

    now = home.serving / str(snapshot.current(home.serving)) / "snapshot.json"
    if not now.exists():
        return
    for made in home.serving.glob("*/snapshot.json"):
        if made.stat().st_mtime_ns < now.stat().st_mtime_ns:  # a later one is being made
            shutil.rmtree(made.parent)


def _rows_to_read(home: Home) -> int:
    from dmp_assets.sources.shop.resource import rows_to_read

    return rows_to_read(home)


def _restored(home: Home, databases: Sequence[str]) -> None:
    from dmp_assets.sources.shop.resource import EMBEDDED_DATABASE, still_the_same

    if EMBEDDED_DATABASE in databases:
        still_the_same(home)


DOMAIN = Domain(
    name="abuse",
    title="Promo-code abuse",
    reads_embedded=_reads_embedded,
    lacks=_lacks,
    summary=_summary,
    results=_results,
    examples=("cleaned/users", "ml/abuse_scores"),
    scopes=(
        Scope(
            "promo:read", "Usage of promo codes, registrations",
            frozenset({"risk", "analyst", "marketer"}),
        ),
        Scope("abuse:score", "Score accounts for promo-code abuse", frozenset({"risk"})),
        Scope("abuse:decisions", "What was decided on accounts", frozenset({"risk"})),
        Scope(
            "abuse:review", "The review page: decide on accounts, keep the lists",
            frozenset({"risk"}),
        ),
    ),
    forget_people=_forget_people,
    forgets=("user_id",),
    keeps=("score_id", "reviewer", "api_client"),
    erase=_erase,
    drop_older=_drop_older,
    rows_to_read=_rows_to_read,
    restored=_restored,
    sources=(shop.SOURCE,),
    logs=(
        "raw/abuse_predictions", "raw/abuse_decisions",
        "quarantine/abuse_predictions", "quarantine/abuse_decisions",
    ),
)  # fmt: skip
