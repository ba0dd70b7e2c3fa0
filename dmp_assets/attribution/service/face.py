"""What attribution gives to the service: channels, and the models side by side."""

from collections.abc import Sequence
from datetime import date, timedelta

import sqlalchemy as sa

from dmp_assets.attribution.service.routes import attribution
from dmp_assets.attribution.service.store import figures
from dmp_assets.attribution.service.store.schema import channel_reporting
from dmp_assets.attribution.settings import AttributionSettings
from dmp_assets.platform.faces.service import Caller, Entry, Headline, ServiceFace
from dmp_assets.platform.figures.catalogue import figure
from dmp_assets.settings import Settings
from dmp_assets.sources.web.settings import WebSettings


def _headlines(store: sa.Connection, settings: Settings, who: Caller) -> Sequence[Headline]:
    reported = channel_reporting.c
    closed: date | None = store.scalar(
        sa.select(sa.func.max(reported.date)).where(reported.is_open.is_(False))
    )
    if not who.may("attribution:read") or closed is None:
        return ()
    spent = figures.advertising(
        store, settings.of(AttributionSettings).reporting_model, closed - timedelta(days=29), closed
    )
    return [
        Headline(
            f"{value:,.2f}",
            f"{figure(name).titled(settings.currency)}, in the 30 days to {closed}",
            name,
        )
        for name in ("paid_roas", "roas", "paid_cost_per_order", "cost_per_order")
        if (value := spent[name]) is not None
    ]


FACE = ServiceFace(
    routers=(attribution.router,),
    entries=(
        Entry("/v1/channels", "cost per order and ROAS by channel and day", "attribution:read"),
        Entry("/v1/attribution", "the attribution models side by side", "attribution:read"),
    ),
    headlines=_headlines,
    shop_of=lambda settings: settings.of(WebSettings).web_advertiser,
    reports_of_shop=("attribution",),
)
