"""Ad performance: what ads cost and deliver, what orders bring, and what is really whose."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from dmp_assets.ads.settings import AdsSettings, currency_of_sums
from dmp_assets.home import Home
from dmp_assets.platform.faces.domain import Domain, Scope
from dmp_assets.platform.faces.probes import Probe
from dmp_assets.platform.reporting.mail_settings import mail_lacks
from dmp_assets.sources.exports import kept
from dmp_assets.sources.meta.config import meta_config, meta_lacks
from dmp_assets.sources.shopify.tables import CUSTOMER, ORDER

if TYPE_CHECKING:
    import sqlalchemy as sa

EVENTS = {"cleaned/meta_insights": "date", "cleaned/shopify_orders": "processed_at"}


def is_configured(home: Home) -> bool:
    """Whether an app at Meta or shops of Shopify are, or files were taken (`dmp ads import`).

    A sandbox's Meta is always there, and has accounts once the shops were simulated.
    """
    has_app = home.profile == "live" and meta_config(home) is not None
    has_shops = bool(home.settings().of(AdsSettings).shopify_shops)
    return has_app or has_shops or kept.are_there(home)


def _lacks(home: Home) -> Sequence[str]:
    lacks: list[str] = []
    no_mail = mail_lacks(home.settings())
    if home.profile == "live" and is_configured(home) and no_mail:
        lacks.append(f"{' and '.join(no_mail)}: notices by e-mail wait in the outbox")
    if kept.are_there(home):
        return lacks
    if no_app := meta_lacks(home.settings().of(AdsSettings)):
        lacks.append(f"{' and '.join(no_app)}: no ads of Meta")
    if not home.settings().of(AdsSettings).shopify_shops:
        lacks.append("DMP_SHOPIFY_SHOPS: no orders of Shopify")
    return lacks


def _probes(home: Home) -> Sequence[Probe]:
    from dmp_assets.ads import probes

    return probes.probes(home)


def _whose(home: Home, service: str, account: str) -> str | None:
    """Meta's account is the advertiser; a shop's advertiser is named by the settings."""
    from dmp_assets.sources.meta.connection import SERVICE as META
    from dmp_assets.sources.shopify.access import SERVICE as SHOPIFY

    if service == SHOPIFY:
        return home.settings().of(AdsSettings).shopify_shops.get(account)
    return account if service == META else None


def _summary(home: Home) -> Sequence[str]:
    """What ads cost and brought each advertiser, and how far that is known to be true."""
    from dmp_assets.ads.report import figures
    from dmp_assets.platform.figures.catalogue import figure
    from dmp_assets.platform.reporting.reader import Report

    report = Report.open(home, {})
    currency, lines = currency_of_sums(home.settings()), []
    for advertiser in figures.advertisers(report):
        days = figures.period(report, advertiser)
        if days is None:
            continue
        found = figures.totals(report, advertiser, days).named()
        shown = " · ".join(
            f"{figure(name).titled(currency)} {'—' if value is None else f'{value:,.2f}'}"
            for name in ("ad_spend", "mer", "platform_roas", "modelled_roas", "ads_contribution")
            for value in (found[name],)
        )
        lines.append(f"Ads of {advertiser} {days}: {shown}")
        lines += [f"  {one.line}" for one in figures.bridges(report, advertiser, days)]
    return lines


def _erase(store: "sa.Connection", subject: str, ids: Collection[str]) -> Mapping[str, int]:
    from dmp_assets.ads.service.store import erasing, exposures

    if subject == "user_id":
        return exposures.erase(store, ids)
    return erasing.erase(store, subject, ids)


def _pseudonyms(home: Home, subject: str, ids: Collection[str]) -> Collection[str]:
    from dmp_assets.ads.service.units import pseudonyms

    return pseudonyms(home, subject, ids)


DOMAIN = Domain(
    name="ads",
    title="Ad performance",
    is_configured=is_configured,
    lacks=_lacks,
    probes=_probes,
    whose=_whose,
    summary=_summary,
    examples=("modeled/ad_roi_daily", "modeled/conversion_bridge"),
    scopes=(
        Scope("ads:read", "Ads, orders, what they earn", frozenset({"analyst", "marketer"})),
        Scope(
            "ads:write",
            "Approve and apply budgets, define experiments, mute notices",
            frozenset({"marketer"}),
        ),
        Scope("experiments:assign", "Ask which variant a unit gets", frozenset()),
    ),
    events=EVENTS,
    advice={
        "meta_was_read": "see what each connection lacks: `dmp connect list`; one that needs "
        "consent is connected anew",
        "webhooks_were_usable": "nothing has to be done: what changed is read all the same. Where "
        "it comes again, somebody repeats webhooks with other headers",
        "split_tests_were_settled": "the experiment's page says why; mend it (`dmp connect meta "
        "--writing`) or stop the experiment: the next run tries again",
        "rates_known": "add the currency to the file that DMP_ADS_EXCHANGE_RATES names; see what "
        'has no rate: `dmp show {asset} --where "rate IS NULL"`',
        "unit_costs_known": "say at Shopify what an item costs, or by DMP_ADS_GOODS_SHARE what "
        "share of their revenue goods cost; see the orders: `dmp show {asset} "
        '--where "goods_without_cost > 0"`',
        "claims_known": "export the files anew with the columns Purchases and Purchases conversion "
        "value, or say what they are called by DMP_ADS_EXPORT_COLUMNS, and take the old ones back: "
        '`dmp ads files`; see their rows: `dmp show {asset} --where "purchases IS NULL"`',
        "little_is_unexplained": "compare how the shop and the ad account track: does the web's "
        "database, or the UTM parameters, name visits by ads, is the pixel there twice? See the "
        "days: `dmp show {asset}`",
    },
    forgets=("user_id", CUSTOMER, ORDER),
    keeps=("conv_id",),
    erase=_erase,
    pseudonyms=_pseudonyms,
    logs=("raw/experiment_exposures", "quarantine/experiment_exposures"),
)
