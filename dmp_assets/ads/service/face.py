"""What ad performance gives to the service: the routes about an advertiser's rows."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from dmp_assets.ads.service.part import AdsPart
from dmp_assets.ads.service.routes import (
    assignment,
    budgets,
    connecting,
    connections,
    drilling,
    experiments,
    insights,
    members,
    notices,
    noticing,
    overview,
    planner,
    plans,
    pooled,
    profit,
    reading,
    saved,
    truth,
    trying,
    webhooks,
)
from dmp_assets.ads.service.store.schema import ads_advertisers
from dmp_assets.ads.service.streams import STREAMS
from dmp_assets.platform.faces.service import Entry, ServiceFace


def _advertisers(store: sa.Connection) -> Collection[str]:
    found: Sequence[str] = store.scalars(sa.select(ads_advertisers.c.advertiser_id)).all()
    return found


FACE = ServiceFace(
    routers=(
        reading.router,
        experiments.router,
        assignment.router,
        pooled.router,
        budgets.router,
        plans.router,
        notices.router,
        webhooks.router,
        connections.router,
        members.api,
        overview.router,
        truth.router,
        drilling.router,
        profit.router,
        planner.router,
        noticing.router,
        trying.router,
        insights.router,
        connecting.router,
        members.router,
        saved.router,
    ),
    entries=(
        Entry(
            "/ads", ", the truth bridge, campaigns, orders and profit.", "ads:read", title="Ads",
            link="What advertising costs and earns",
        ),
        Entry("/v1/ads/roi", "what advertising cost and earned", "ads:read"),
        Entry("/v1/ads/bridge", "what Meta claims, and what there is", "ads:read"),
        Entry("/v1/ads/experiments", "what is tried, and what came of it", "ads:read"),
        Entry("/v1/ads/pooled", "what works for shops like yours", "ads:read"),
        Entry("/v1/ads/budget", "which budget would earn more, or why nobody knows", "ads:read"),
        Entry("/v1/ads/notices", "what is not as usual", "ads:read"),
    ),
    part=AdsPart.of,
    streams=STREAMS,
    advertisers=_advertisers,
    reports_of_all=("ads",),
    package=__package__,
)  # fmt: skip
