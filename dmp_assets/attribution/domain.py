"""Attribution: sessions, costs and conversions of the web, and what each channel earned."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dmp_assets.attribution.settings import AttributionSettings
from dmp_assets.cleaned.web import keys as web
from dmp_assets.home import Home
from dmp_assets.platform.faces.domain import Domain, Scope
from dmp_assets.sources.ihc.settings import IhcSettings
from dmp_assets.sources.web.settings import WebSettings


def is_configured(home: Home) -> bool:
    """Whether there is a web database to read."""
    return home.settings().of(WebSettings).web_database is not None


def _lacks(home: Home) -> Sequence[str]:
    if not is_configured(home):
        return ["DMP_WEB_DATABASE: no attribution"]
    if home.settings().of(IhcSettings).ihc_api_key is None:
        return ["DMP_IHC_API_KEY: our own initializer-holder-closer model stands in"]
    return []


def _summary(home: Home) -> Sequence[str]:
    """How the last attribution adds up, and what it found."""
    from dmp_assets.attribution.report import figures as attribution_figures
    from dmp_assets.platform.figures.catalogue import figure

    report = attribution_figures.opened(home)
    days = attribution_figures.period(report) if report.has("modeled/attribution_runs") else None
    if days is None:
        return []
    settings = home.settings()
    model = settings.of(AttributionSettings).reporting_model
    found = attribution_figures.totals(report, model, days)
    shown = " · ".join(
        f"{figure(name).titled(settings.currency)} {'—' if value is None else f'{value:,.2f}'}"
        for name, value in (
            ("paid_roas", found.paid_roas), ("roas", found.roas),
            ("paid_cost_per_order", found.paid_cpo), ("cost_per_order", found.cpo),
        )
    )  # fmt: skip
    conversions, _ = attribution_figures.added_up(report, days).lines(settings.currency)
    return [f"Attribution {days}: {shown}", f"  {conversions}"]


def _results(home: Home) -> Mapping[str, Path]:
    return {"CSV": home.exports / "channel_reporting.csv"}


def _partition_tags(home: Home, start: str, end: str) -> Mapping[str, str]:
    from dmp_assets.attribution.partitions import partition_tags

    return partition_tags(home, start, end)


DOMAIN = Domain(
    name="attribution",
    title="Attribution",
    is_configured=is_configured,
    lacks=_lacks,
    summary=_summary,
    results=_results,
    scopes=(
        Scope(
            "attribution:read",
            "Attribution, cost per order, ROAS",
            frozenset({"analyst", "marketer"}),
        ),
    ),
    sources=(web.SOURCE,),
    keeps=("user_id", "session_id", "conv_id"),
    advice={
        "visitors_known": "tell whoever keeps the web tracking; see the rows: `dmp show {asset} "
        '--where "user_id IS NULL"`',
        "no_session_just_after_conversion": "compare the clocks of web and shop; see the sessions: "
        "`dmp show cleaned/web_sessions`",
        "users_known": "see which users the shop does not know: `dmp show "
        'modeled/attributed_conversions --where "is_promo_abuse IS NULL"`',
        "nothing_failed": "run `dmp attribution` again; why: `dmp show "
        "modeled/attributed_conversions --where \"credit_source = 'failed'\"`",
    },
    partition_tags=_partition_tags,
)
