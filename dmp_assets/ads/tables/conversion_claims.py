"""modeled/conversion_claims: who says of an order that it is theirs.

Grain: a claim on an order. Key: advertiser_id, shop, order_id, claimant, channel, campaign.
Sources: cleaned/shopify_orders, cleaned/shopify_journeys, modeled/attribution,
modeled/customer_journeys, modeled/order_ledger, raw/experiments, modeled/experiment_readings.

Claimants are the first and the last visit by their UTM parameters as the shop knows them, and each
attribution model of our own, by the web's conversion that the order is. An experiment that kept a
channel's ads from some does not say which orders they brought, but how much: each order of its days
is claimed for that share. Meta tells sums only: what it claims is in modeled/conversion_bridge.
"""

import json
from dataclasses import asdict

from dmp_assets.ads.settings import AdsSettings
from dmp_assets.ads.tables.budget_days import CHANNEL
from dmp_assets.ads.tables.holdouts import SOURCES, holdouts
from dmp_assets.platform.cleaning.machine_values import AMOUNT
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.sources.shopify.tables import ORDER

COLUMNS = {
    "advertiser_id": Column("string", "Whose shop it is."),
    "shop": Column("string", "Domain of the shop."),
    "order_id": Column("string", "The order.", "identifier", ORDER),
    "claimant": Column(
        "string",
        "`first_utm`, `last_utm`, `model:` and an attribution model of ours, or `experiment:` and "
        "one that kept a channel's ads from the control.",
    ),
    "channel": Column("string", "The channel that the order is claimed for."),
    "campaign": Column("string", "Its campaign; empty: none is named."),
    "is_meta": Column("boolean", "Whether that is an ad of Meta."),
    "credit": Column("double", "Share of the order, 0 to 1."),
    "value": Column(
        AMOUNT, "That share of its total with tax, in the shop's currency.", "behaviour"
    ),
    "clicked_at": Column(
        "timestamp", "The visit, of UTM claimants; of models the newest one.", "behaviour"
    ),
}
KEY = ("advertiser_id", "shop", "order_id", "claimant", "channel", "campaign")
_REAL = """
SELECT advertiser_id, shop, order_id, conversion_id, total FROM cleaned.shopify_orders
WHERE NOT is_deleted AND is_test IS NOT TRUE
"""
_UTM = """
SELECT advertiser_id, shop, order_id, '{place}_utm' AS claimant,
       coalesce({place}_utm_source || coalesce(' / ' || {place}_utm_medium, ''), {place}_source)
         AS channel,
       coalesce({place}_utm_campaign, '') AS campaign,
       list_contains($meta_sources, lower({place}_utm_source)) AS is_meta, 1.0 AS credit,
       {place}_visit_at AS clicked_at
FROM cleaned.shopify_journeys JOIN real USING (advertiser_id, shop, order_id)
WHERE {place}_source IS NOT NULL
"""
_MODELS = """
SELECT advertiser_id, shop, order_id, 'model:' || model AS claimant, channel_name AS channel,
       coalesce(a.campaign_name, '') AS campaign,
       list_contains($meta_channels, channel_name) AS is_meta,
       sum(credit::DECIMAL(38, 17))::DOUBLE AS credit, max(session_at) AS clicked_at
FROM modeled.attribution a JOIN real ON conv_id = conversion_id
LEFT JOIN (SELECT conv_id, session_id, session_at FROM modeled.customer_journeys)
  USING (conv_id, session_id)
GROUP BY ALL
"""
_EXPERIMENTS = """
SELECT o.advertiser_id, o.shop, o.order_id, 'experiment:' || h.experiment AS claimant, h.channel,
       '' AS campaign, h.channel = $meta AS is_meta,
       least(greatest(h.effect / nullif(h.contribution, 0), 0), 1) AS credit,
       NULL::TIMESTAMPTZ AS clicked_at
FROM (
  SELECT h.*, (
    SELECT sum(contribution_in_sums)::DOUBLE FROM modeled.order_ledger l
    WHERE l.advertiser_id = h.advertiser_id AND l.date BETWEEN h.first AND h.last
  ) AS contribution
  FROM holdout h
) h
JOIN modeled.order_ledger l
  ON l.advertiser_id = h.advertiser_id AND l.entry = 'sale' AND l.date BETWEEN h.first AND h.last
JOIN real o ON (o.advertiser_id, o.shop, o.order_id) = (l.advertiser_id, l.shop, l.order_id)
WHERE h.effect > 0 AND h.contribution > 0
"""
_HOLDOUT = """
SELECT unnest(from_json($holdouts, '[{"advertiser_id": "VARCHAR", "experiment": "VARCHAR",
  "channel": "VARCHAR", "first": "DATE", "last": "DATE", "effect": "DOUBLE"}]'), recursive := true)
"""
MODELED = ("modeled/attribution", "modeled/customer_journeys")


@table_asset(
    "modeled",
    deps=["cleaned/shopify_orders", "cleaned/shopify_journeys", "modeled/order_ledger", *MODELED],
    where_there=SOURCES,
    columns=COLUMNS,
    key=KEY,
    settings=["ads_meta_sources", "ads_meta_channels"],
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "nobody_claims_more_than_an_order",
            """
            SELECT count(*) FROM (
              SELECT advertiser_id, shop, order_id, claimant, sum(credit) AS credit
              FROM modeled.conversion_claims GROUP BY ALL
            ) WHERE credit > 1 + 1e-6
            """,
            "The claims of one claimant on an order add up to one at most.",
        ),
    ),
)
def conversion_claims(run: TableRun) -> None:
    """Who says of an order that it is theirs: visits, our attribution models, experiments.

    Grain: a claim on an order. Key: advertiser_id, shop, order_id, claimant, channel, campaign.
    Sources: cleaned/shopify_orders, cleaned/shopify_journeys, modeled/attribution,
    modeled/customer_journeys, modeled/order_ledger; where they are there raw/experiments,
    modeled/experiment_readings.
    """
    own = run.settings.of(AdsSettings)
    claims = [_UTM.format(place=place) for place in ("first", "last")]
    told: dict[str, object] = {"meta_sources": [one.lower() for one in own.ads_meta_sources]}
    if all(run.exists(key) for key in MODELED):
        claims.append(_MODELS)
        told["meta_channels"] = own.ads_meta_channels
    found = [asdict(one) for one in holdouts(run)]
    if found:
        claims.append(_EXPERIMENTS)
        told |= {"holdouts": json.dumps(found, default=str), "meta": CHANNEL}
    holdout = f"holdout AS ({_HOLDOUT})," if found else ""
    query = f"""
        WITH real AS ({_REAL}), {holdout} claim AS ({" UNION ALL ".join(claims)})
        SELECT c.* EXCLUDE (clicked_at, is_meta, credit), coalesce(is_meta, false) AS is_meta,
               credit::DOUBLE AS credit, (credit * total::DOUBLE)::DECIMAL(18, 4) AS value,
               clicked_at
        FROM claim c JOIN real USING (advertiser_id, shop, order_id)
    """
    run.overwrite(
        run.sql(f"SELECT {', '.join(COLUMNS)} FROM ({query}) ORDER BY {', '.join(KEY)}", told)
    )
