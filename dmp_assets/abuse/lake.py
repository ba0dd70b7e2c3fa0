"""What promo-code abuse gives to the lakehouse: the shop's tables, the model's, what runs them."""

import dagster as dg

from dmp_assets.abuse.service.streams import STREAMS
from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.abuse.tables import (
    abuse_drift,
    abuse_features,
    abuse_labels,
    abuse_scores,
    account_clusters,
    account_links,
    cost_to_incriminate,
    marts,
    model_registry,
    promo_usage_by_code,
    promo_usage_by_user,
    promo_usage_daily,
    publications,
    registrations_daily,
)
from dmp_assets.abuse.tables import service_log as raw_abuse
from dmp_assets.abuse.tables.account_snapshot import account_snapshot
from dmp_assets.cleaned.shop import promo_codes, promo_usages, users
from dmp_assets.home import Home
from dmp_assets.platform.automation.telling import alert_people, ui_url
from dmp_assets.platform.faces.lake import Lake
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import AGAIN_TAG
from dmp_assets.platform.reporting.alerts import Alert
from dmp_assets.platform.reporting.slack import SlackResource
from dmp_assets.raw import shop as raw_shop
from dmp_assets.sources.shop import probe as shop
from dmp_assets.sources.shop.connection import ShopError
from dmp_assets.sources.shop.resource import has_news, shop_url
from dmp_assets.sources.shop.settings import ShopSettings

LABELS = dg.AssetSelection.assets(
    ["raw", "abuse_decisions"], ["modeled", "abuse_labels"]
).required_multi_asset_neighbors()

retrain = dg.define_asset_job(
    "retrain",
    selection=dg.AssetSelection.key_prefixes("ml") | LABELS,
    tags={AGAIN_TAG: "ml/model_registry"},
    description="Train, compare and promote models on the labels as they are, and score again.",
)


@dg.sensor(
    job_name="daily_refresh",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Refreshes when the shop holds rows that the lakehouse has not seen.",
)
def new_data(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    home = Home.current()
    try:
        state = shop.probe(shop_url(home), home.settings().of(ShopSettings).shop_schema)
    except ShopError as error:
        return dg.SkipReason(str(error))
    if not has_news(state, Lakehouse().tables):
        return dg.SkipReason("nothing new in the shop")
    return dg.RunRequest(run_key="/".join(known.content_hash for known in state.tables.values()))


@dg.sensor(
    job=retrain,
    minimum_interval_seconds=3600,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Alerts when drift persists; retrains when enough new labels are there.",
)
def persistent_drift(
    context: dg.SensorEvaluationContext, slack: SlackResource
) -> dg.RunRequest | dg.SkipReason:
    from dmp_assets.abuse.model import registry
    from dmp_assets.abuse.tables import drift

    home = Home.current()
    settings = home.settings()
    own = settings.of(AbuseSettings)
    tables = Lakehouse().tables
    if not tables.exists("ml/abuse_drift") or not drift.persistent_drift(tables, settings):
        return dg.SkipReason("no persistent drift")
    labels = registry.new_labels(tables)
    enough = labels >= own.retrain_min_labels
    alert_people(
        home,
        slack,
        Alert(
            kind="drift",
            asset="ml/abuse_drift",
            cause=f"features or predictions drifted in {own.drift_persistent_runs} "
            f"evaluations in a row; {labels} new labels since training "
            f"({'retraining now' if enough else f'{own.retrain_min_labels} are needed'})",
            owner="team:risk",
            run_url=ui_url(home, "locations/dmp_assets/jobs/retrain/playground"),
        ),
    )
    if not enough:
        return dg.SkipReason(f"drift persists, but only {labels} new labels")
    version = tables.stamp("ml/abuse_drift").get("data_version")
    return dg.RunRequest(run_key=f"drift-{version}-{labels}")


LAKE = Lake(
    in_shared_jobs=True,
    assets={
        "shop": (
            raw_shop.users,
            raw_shop.promo_codes,
            raw_shop.promo_usages,
            users.users,
            promo_codes.promo_codes,
            promo_usages.promo_usages,
        ),
        "abuse": (
            raw_abuse.abuse_predictions,
            raw_abuse.abuse_decisions,
            registrations_daily.registrations_daily,
            promo_usage_daily.promo_usage_daily,
            promo_usage_by_user.promo_usage_by_user,
            promo_usage_by_code.promo_usage_by_code,
            account_links.account_links,
            account_clusters.account_clusters,
            abuse_labels.abuse_labels,
            abuse_features.abuse_features,
            model_registry.model_registry,
            abuse_scores.abuse_scores,
            abuse_drift.abuse_drift,
            cost_to_incriminate.cost_to_incriminate,
            account_snapshot,
        ),
    },
    marts=marts.MARTS,
    publications=publications.PUBLICATIONS,
    jobs=(retrain,),
    sensors=(new_data, persistent_drift),
    streams=STREAMS,
)
