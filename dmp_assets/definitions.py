"""Table of contents of the code location: every asset, check, schedule and sensor, by name."""

from datetime import timedelta

import dagster as dg

from dmp_assets.automation import jobs, schedules, sensors
from dmp_assets.cleaned import (
    promo_codes,
    promo_usages,
    users,
    web_conversions,
    web_session_costs,
    web_sessions,
)
from dmp_assets.foreign_text import guard_logs
from dmp_assets.home import Home
from dmp_assets.marts import warehouse
from dmp_assets.ml import (
    abuse_drift,
    abuse_features,
    abuse_scores,
    cost_to_incriminate,
    model_registry,
)
from dmp_assets.modeled import (
    abuse_labels,
    account_clusters,
    account_links,
    attribution,
    attribution_runs,
    channel_reporting,
    customer_journeys,
    customer_paths,
    promo_usage_by_code,
    promo_usage_by_user,
    promo_usage_daily,
    registrations_daily,
)
from dmp_assets.published import tables as published
from dmp_assets.published.snapshot import account_snapshot
from dmp_assets.raw import abuse as raw_abuse
from dmp_assets.raw import shop as raw_shop
from dmp_assets.raw import web as raw_web
from dmp_assets.reporting import channel_export, report_assets
from dmp_assets.resources.lakehouse import Lakehouse
from dmp_assets.resources.slack import SlackResource
from dmp_assets.resources.window import Window
from dmp_assets.run.executor import threads_executor

ASSETS = [
    raw_shop.users,
    raw_shop.promo_codes,
    raw_shop.promo_usages,
    raw_abuse.abuse_predictions,
    raw_abuse.abuse_decisions,
    users.users,
    promo_codes.promo_codes,
    promo_usages.promo_usages,
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
    raw_web.web_sessions,
    raw_web.web_conversions,
    raw_web.web_session_costs,
    web_sessions.web_sessions,
    web_conversions.web_conversions,
    web_session_costs.web_session_costs,
    customer_journeys.customer_journeys,
    customer_paths.customer_paths,
    attribution.attribution,
    channel_reporting.channel_reporting,
    attribution_runs.attribution_runs,
    channel_export.channel_export,
    warehouse.marts,
    warehouse.channel_marts,
    *published.ASSETS,
    account_snapshot,
    report_assets.reports,
    report_assets.attribution_report,
    report_assets.promo_abuse_delivery,
    report_assets.attribution_delivery,
]

guard_logs()  # whichever process of Dagster's loads this

_FRESH = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=Home.current().settings().freshness_hours)
)

defs = dg.Definitions(
    assets=dg.map_asset_specs(
        lambda spec: spec.replace_attributes(freshness_policy=_FRESH), ASSETS
    ),
    jobs=[jobs.daily_refresh, jobs.weekly_report, jobs.retrain, jobs.monthly_maintenance],
    schedules=schedules.build_schedules(),
    sensors=[
        sensors.new_data,
        sensors.new_web_data,
        sensors.persistent_drift,
        sensors.run_failure,
        sensors.check_failure,
        sensors.api_readiness,
        sensors.outbox,
    ],
    resources={"lakehouse": Lakehouse(), "slack": SlackResource(), "window": Window()},
    executor=threads_executor,
)
