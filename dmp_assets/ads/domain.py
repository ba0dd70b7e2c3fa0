"""Ad performance: what ads cost and deliver, what orders bring, and what is really whose."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from dmp_assets.ads.settings import AdsSettings
from dmp_assets.home import Home
from dmp_assets.platform.faces.domain import Domain, Scope
from dmp_assets.sources.exports import kept
from dmp_assets.sources.meta.config import meta_config
from dmp_assets.sources.shopify.tables import CUSTOMER, ORDER

if TYPE_CHECKING:
    import sqlalchemy as sa

EVENTS = {"cleaned/meta_insights": "date", "cleaned/shopify_orders": "processed_at"}


def is_configured(home: Home) -> bool:
    """Whether an app at Meta or shops of Shopify are, or files were taken (`dmp ads import`)."""
    return (
        meta_config(home) is not None
        or bool(home.settings().of(AdsSettings).shopify_shops)
        or kept.are_there(home)
    )


def _lacks(home: Home) -> Sequence[str]:
    lacks: list[str] = []
    if kept.are_there(home):
        return lacks
    if meta_config(home) is None:
        lacks.append("DMP_META_APP_ID and DMP_META_APP_SECRET: no ads of Meta")
    if not home.settings().of(AdsSettings).shopify_shops:
        lacks.append("DMP_SHOPIFY_SHOPS: no orders of Shopify")
    return lacks


def _erase(store: "sa.Connection", subject: str, ids: Collection[str]) -> Mapping[str, int]:
    from dmp_assets.ads.service.store import exposures

    return exposures.erase(store, ids) if subject == "user_id" else {}


def _pseudonyms(home: Home, subject: str, ids: Collection[str]) -> Collection[str]:
    from dmp_assets.ads.service.units import pseudonyms

    return pseudonyms(home, subject, ids)


DOMAIN = Domain(
    name="ads",
    title="Ad performance",
    is_configured=is_configured,
    lacks=_lacks,
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
    forgets=("user_id",),
    erase=_erase,
    pseudonyms=_pseudonyms,
    logs=("raw/experiment_exposures", "quarantine/experiment_exposures"),
    keeps=(CUSTOMER, ORDER, "conv_id"),
)
