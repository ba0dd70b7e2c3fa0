"""What ad performance gives to the lakehouse: tables of Meta and of Shopify, and what follows."""

from dmp_assets.ads.report import notice_delivery, weekly_mail
from dmp_assets.ads.service.streams import STREAMS
from dmp_assets.ads.tables import (
    ad_budgets,
    ad_costs_without_sessions,
    ad_notices,
    ad_performance_daily,
    ad_roi_daily,
    ads,
    ads_budget_forecasts,
    ads_forecast_scores,
    conversion_bridge,
    conversion_claims,
    exchange_rates,
    experiment_exposures,
    experiment_log,
    experiment_metrics_daily,
    experiment_readings,
    experiment_steps,
    order_ledger,
    pooled_insights,
    publications_budgets,
)
from dmp_assets.ads.tables.publications import PUBLICATIONS
from dmp_assets.cleaned.meta import meta_breakdowns, meta_exports, meta_insights
from dmp_assets.cleaned.shopify import shopify_exports, shopify_orders
from dmp_assets.platform.faces.lake import Lake
from dmp_assets.raw import exports as raw_exports
from dmp_assets.raw import meta as raw_meta
from dmp_assets.raw import shopify as raw_shopify

LAKE = Lake(
    in_shared_jobs=True,
    streams=STREAMS,
    publications=(
        *PUBLICATIONS,
        *publications_budgets.PUBLICATIONS,
    ),
    jobs=(notice_delivery.JOB,),
    schedules=notice_delivery.build_schedules,
    sensors=(notice_delivery.ads_notices_due,),
    assets={
        "ads": (
            raw_meta.meta_accounts,
            raw_meta.meta_campaigns,
            raw_meta.meta_ad_sets,
            raw_meta.meta_ads,
            raw_meta.meta_creatives,
            raw_meta.meta_insights,
            raw_exports.meta_exports,
            meta_exports.meta_exports,
            meta_insights.meta_insights,
            meta_breakdowns.by_age_gender,
            meta_breakdowns.by_placement,
            raw_shopify.shopify_orders,
            raw_shopify.shopify_variants,
            raw_exports.shopify_exports,
            shopify_exports.shopify_exports,
            shopify_orders.shopify_orders,
            shopify_orders.shopify_order_lines,
            shopify_orders.shopify_transactions,
            shopify_orders.shopify_refunds,
            shopify_orders.shopify_refund_lines,
            shopify_orders.shopify_journeys,
            shopify_orders.shopify_variants,
            exchange_rates.exchange_rates,
            exchange_rates.rates,
            ads.ad_accounts,
            ads.ads,
            ad_performance_daily.ad_performance_daily,
            ad_costs_without_sessions.ad_costs_without_sessions,
            order_ledger.order_ledger,
            conversion_claims.conversion_claims,
            conversion_bridge.conversion_bridge,
            ad_roi_daily.ad_roi_daily,
            experiment_log.experiments,
            experiment_log.experiment_exposures,
            experiment_log.experiment_reach,
            experiment_exposures.experiment_exposures,
            experiment_metrics_daily.experiment_metrics_daily,
            experiment_readings.experiment_readings,
            experiment_readings.experiment_comparisons,
            experiment_steps.experiment_readings,
            pooled_insights.pooled_insights,
            ad_budgets.ad_budgets,
            ads_budget_forecasts.ads_budget_forecasts,
            ads_forecast_scores.ads_forecast_scores,
            ad_notices.ad_notices,
            notice_delivery.ad_notices,
            weekly_mail.ads_by_email,
        ),
    },
)
