"""modeled/attribution: how much of each conversion each touchpoint earned, by every model.

Grain: one touchpoint of one conversion by one model. Key: conv_id, session_id, model.
Sources: modeled/customer_journeys, modeled/customer_paths, the IHC API where a key is set.

Credits of a conversion sum to 1 by each model; rows without credit are left out, except the IHC
service's own. `ihc` is the service's answer where it answered, else our own model of initializer,
holder and closer; a conversion that the service was asked about and gave no usable answer for has
no `ihc` rows, is named in modeled/attributed_conversions and asked for again by the next run. When
it answered for none, the run ends there, and readers keep what the run before left.
"""

from functools import partial
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, StructField, StructType

from dmp_assets.attribution.model.batches import credit_batches
from dmp_assets.attribution.model.crediting import fit
from dmp_assets.attribution.model.models import IHC, models_of
from dmp_assets.attribution.model.parameters import Fitted, Parameters
from dmp_assets.attribution.model.paths import Paths
from dmp_assets.attribution.settings import AttributionSettings
from dmp_assets.attribution.tables.customer_journeys import nobodies
from dmp_assets.cleaned.web.web_values import MONEY
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.settings import Settings
from dmp_assets.sources.ihc import client as ihc
from dmp_assets.sources.ihc.answers import AnswerStore
from dmp_assets.sources.web.resource import ihc_config

OWN_IHC = "initializer_holder_closer"
JOURNEY = (
    "conv_id", "position", "session_id", "session_date", "conversion_date", "channel_name",
    "campaign_name", "hours_before", "holder_engagement", "closer_engagement",
    "impression_interaction",
)  # fmt: skip
COLUMNS = {
    "conv_id": Column("string", "The conversion.", "identifier", "conv_id"),
    "session_id": Column("string", "The session that earned credit.", "identifier", "session_id"),
    "channel_name": Column("string", "Its channel."),
    "campaign_name": Column("string", "Its campaign, where the source names it."),
    "model": Column(
        "string", "Attribution model, e.g. linear; `ihc` is the service's or, without it, our own."
    ),
    "credit": Column("double", "Share of the conversion, 0 to 1."),
    "position": Column("integer", "Place of the touchpoint in the journey, from 1."),
    "session_date": Column("date", "Day of the session (UTC)."),
    "conversion_date": Column("date", "Day of the conversion (UTC)."),
}
CONVERSION_COLUMNS = {
    "conv_id": Column("string", "The conversion.", "identifier", "conv_id"),
    "conversion_date": Column("date", "Its day (UTC)."),
    "revenue": Column("decimal(18,8)", "Its revenue in EUR; 0 where disputed.", "behaviour"),
    "touchpoints": Column("integer", "Touchpoints of its journey."),
    "credit_source": Column(
        "string", "Source of its `ihc` credits: api, own, failed, or none (no touchpoint)."
    ),
    "reason": Column("string", "Why it failed, has no touchpoint, or the service was not asked."),
    "is_promo_abuse": Column(
        "boolean",
        "Its user is scored as promo abuse (review or block); null: not scored.",
        "profile",
    ),
}
NO_USER = "no user: its id says nothing"
NOBODY = "no one person: far more was bought under its id"
NO_SESSION = "no session of its user before it"
STATUS = pa.schema([("conv_id", pa.string()), ("source", pa.string()), ("reason", pa.string())])
ANSWERS = pa.schema([("conv_id", pa.string()), ("session_id", pa.string()), ("api", pa.float64())])


def parameters(settings: Settings) -> Parameters:
    """The models' parameters as the settings name them."""
    own = settings.of(AttributionSettings)
    return Parameters(
        half_life_hours=own.half_life_days * 24,
        first_weight=own.first_touch_weight,
        last_weight=own.last_touch_weight,
        direct_channels=tuple(own.direct_channels),
        markov_orders=tuple(own.markov_orders),
    )


def credited(journeys: DataFrame, fitted: Fitted) -> DataFrame:
    """The touchpoints with a column of credits per own model."""
    names = tuple(models_of(fitted.parameters.markov_orders))
    rows = journeys.select(*JOURNEY)
    schema = StructType([*rows.schema.fields, *(StructField(name, DoubleType()) for name in names)])
    in_order = rows.repartition("conv_id").sortWithinPartitions("conv_id", "position")
    return in_order.mapInArrow(partial(credit_batches, fitted=fitted), schema)


def long_form(wide: DataFrame, names: tuple[str, ...]) -> DataFrame:
    """One row per touchpoint and model that gave it credit, with the columns `COLUMNS`."""
    pairs = ", ".join(f"'{name}', `{name}`" for name in names)
    kept = [name for name in COLUMNS if name not in ("model", "credit")]
    unpivoted = wide.select(*kept, F.expr(f"stack({len(names)}, {pairs}) AS (model, credit)"))
    return unpivoted.where(f"credit > 0 OR (model = '{IHC}' AND credit IS NOT NULL)").select(
        *COLUMNS
    )


def asked(run: TableRun) -> tuple[pa.Table, pa.Table] | None:
    """(answers, status) of the IHC service for the run's conversions; None without a key.

    What was answered before is not asked again. Raises IhcError for settings that cannot work.
    """
    config = ihc_config(run.settings)
    if config is None:
        return None
    where = ""
    if run.window:
        start, end = run.window
        where = f"WHERE conversion_date >= DATE '{start}' AND conversion_date < DATE '{end}'"
    journeys = run.sql(
        f"""SELECT conv_id, session_id, session_at AS "timestamp", channel_name,
        holder_engagement, closer_engagement, impression_interaction
        FROM modeled.customer_journeys {where} ORDER BY conv_id, position"""
    )
    with AnswerStore(run.lakehouse.home.root / "ihc") as store:
        answer = ihc.compute(journeys, config, store)
    run.metadata |= {
        "ihc_requests": answer.calls.sent,
        "ihc_answers_reused": answer.calls.reused,
        "ihc_failed": len(answer.failed),
        "ihc_oversized": len(answer.oversized),
    }
    credits = answer.credits
    answers = pa.table([credits["conv_id"], credits["session_id"], credits[IHC]], schema=ANSWERS)
    oversized = f"more than {config.max_sessions} sessions (DMP_IHC_MAX_SESSIONS)"
    status = [
        *({"conv_id": c, "source": "failed", "reason": why} for c, why in answer.failed.items()),
        *({"conv_id": c, "source": "own", "reason": oversized} for c in answer.oversized),
        *({"conv_id": c, "source": "api", "reason": None}
          for c in credits["conv_id"].unique().to_pylist()),
    ]  # fmt: skip
    return answers, pa.Table.from_pylist(status, STATUS)


def with_ihc(wide: DataFrame, answers: DataFrame | None, status: DataFrame | None) -> DataFrame:
    """Add the column `ihc`: the service's credit, else our own, null where the service failed."""
    if answers is None or status is None:
        return wide.withColumn(IHC, F.col(OWN_IHC))
    return (
        wide.join(status.select("conv_id", "source"), "conv_id", "left")
        .join(answers, ["conv_id", "session_id"], "left")
        .withColumn(
            IHC,
            F.expr(f"CASE source WHEN 'api' THEN api WHEN 'failed' THEN NULL ELSE {OWN_IHC} END"),
        )
    )


def conversions(
    cleaned: DataFrame, journeys: DataFrame, status: DataFrame | None, scores: DataFrame | None
) -> DataFrame:
    """Every conversion with the source of its credits, with the columns `CONVERSION_COLUMNS`."""
    lengths = journeys.where("position = 1").select("conv_id", "touchpoints")
    found = cleaned.join(lengths, "conv_id", "left")
    if status is None:
        found = found.withColumns({"source": F.lit("own"), "reason": F.lit(None).cast("string")})
    else:
        found = found.join(status, "conv_id", "left")
    if scores is None:
        found = found.withColumn("is_promo_abuse", F.lit(None).cast("boolean"))
    else:
        abuse = scores.select("user_id", (F.col("decision") != "allow").alias("is_promo_abuse"))
        found = found.join(abuse, "user_id", "left")
    crowds = nobodies(cleaned).withColumn("is_nobody", F.lit(True))
    found = found.join(F.broadcast(crowds), "user_id", "left")
    why_none = F.expr(
        f"CASE WHEN user_id IS NULL THEN '{NO_USER}' WHEN is_nobody THEN '{NOBODY}' "
        f"ELSE '{NO_SESSION}' END"
    )
    return found.select(
        "conv_id",
        F.to_date("converted_at").alias("conversion_date"),
        F.coalesce("revenue", F.lit(0).cast(MONEY)).alias("revenue"),
        F.coalesce("touchpoints", F.lit(0)).cast("int").alias("touchpoints"),
        F.expr("CASE WHEN touchpoints IS NULL THEN 'none' ELSE source END").alias("credit_source"),
        F.when(F.col("touchpoints").isNull(), why_none).otherwise(F.col("reason")).alias("reason"),
        "is_promo_abuse",
    )


@table_asset(
    "modeled",
    deps=[
        "modeled/customer_journeys", "modeled/customer_paths", "cleaned/web_conversions",
        "ml/abuse_scores",
    ],
    owner="team:marketing",
    columns=COLUMNS,
    key=("conv_id", "session_id", "model"),
    also={"modeled/attributed_conversions": CONVERSION_COLUMNS},
    settings=[
        "half_life_days", "first_touch_weight", "last_touch_weight", "direct_channels",
        "markov_orders", "ihc_conversion_type", "ihc_redistribution",
        "ihc_max_sessions",
    ],
    probe=lambda lakehouse, window: _probe(lakehouse),
    daily="conversion_date",
    first_day="web_first_day",
    checks=(
        Check(
            "credits_sum_to_one",
            f"""SELECT count(*) FROM (
              SELECT conv_id, model, count(*) AS n, sum(credit) AS total
              FROM modeled.attribution GROUP BY conv_id, model
            ) WHERE abs(total - 1) > CASE model WHEN '{IHC}' THEN 1e-9 + n * 5e-5 ELSE 1e-9 END""",
            "Credits of a conversion sum to 1 by every model (the service's within its rounding).",
            blocking=True,
        ),
        Check(
            "nothing_failed",
            "SELECT count(*), mode(reason) AS mostly FROM modeled.attributed_conversions "
            "WHERE credit_source = 'failed'",
            "The IHC service answered for every conversion; failed ones are asked for again.",
        ),
        Check(
            "users_known",
            f"SELECT CASE WHEN count(is_promo_abuse) > 0 THEN count(*) - count(is_promo_abuse) "
            "ELSE 0 END, count(*) AS conversions FROM modeled.attributed_conversions "
            f"WHERE reason IS NULL OR reason NOT IN ('{NO_USER}', '{NOBODY}')",
            "Where a shop is configured, it knows the user of every conversion.",
        ),
        Check(
            "conversions_agree",
            """SELECT abs((SELECT count(*) FROM modeled.attributed_conversions
                           WHERE touchpoints > 0)
            - (SELECT count(DISTINCT conv_id) FROM modeled.customer_journeys)),
            (SELECT count(*) FROM modeled.attributed_conversions) AS conversions""",
            "Every conversion with a journey is accounted for (not so while a range run has "
            "replaced only some of the days).",
        ),
    ),
)  # fmt: skip
def attribution(run: TableRun) -> None:
    """How much of each conversion each touchpoint earned, by every model.

    Grain: one touchpoint of one conversion by one model. Key: conv_id, session_id, model.
    Sources: modeled/customer_journeys, modeled/customer_paths, the IHC API where a key is set.
    Also writes modeled/attributed_conversions (one row per conversion, key: conv_id).
    """
    spark, settings = run.lakehouse.spark, run.settings
    journeys, cleaned = run.read("modeled/customer_journeys"), run.read("cleaned/web_conversions")
    if run.window:
        start, end = run.window
        inside = f"conversion_date >= DATE'{start}' AND conversion_date < DATE'{end}'"
        journeys = journeys.where(inside)
        cleaned = cleaned.where(f"converted_at >= DATE'{start}' AND converted_at < DATE'{end}'")
    fitted = fit(_paths(run), parameters(settings))
    got = asked(run)
    answers, status = (None, None) if got is None else map(spark.createDataFrame, got)
    names = (*models_of(fitted.parameters.markov_orders), IHC)
    wide = with_ihc(credited(journeys, fitted), answers, status)
    scores = run.read("ml/abuse_scores") if run.exists("ml/abuse_scores") else None
    found = conversions(cleaned, journeys, status, scores)
    run.replace_window(found, column="conversion_date", key="modeled/attributed_conversions")
    run.replace_window(long_form(wide, names), column="conversion_date")
    if got and (problem := unanswered(got[1])):
        raise dg.Failure(problem)


def unanswered(status: pa.Table) -> str | None:
    """Why nothing can be reported by the service's credits: it gave none at all; else None."""
    failed = status.filter(pc.equal(status["source"], "failed"))
    if not len(failed) or pc.any(pc.equal(status["source"], "api")).as_py():
        return None
    return (
        f"the IHC service answered for none of {len(failed)} conversions: "
        f"{failed['reason'][0]}. They are marked as failed; the next run asks again (without "
        "DMP_IHC_API_KEY our own model takes its place)."
    )


def _paths(run: TableRun) -> Paths:
    columns = ["path", "conversions", "nulls"]
    return Paths.from_arrow(
        run.lakehouse.tables.dataset("modeled/customer_paths").to_table(columns=columns)
    )


def _probe(lakehouse: Any) -> dict[str, Any]:
    """Which service is asked, and what it still owes: failed conversions are tried again."""
    tables = lakehouse.tables
    owed = 0
    if tables.exists("modeled/attributed_conversions"):
        owed = tables.scalar(
            "SELECT count(*) FROM modeled.attributed_conversions WHERE credit_source = 'failed'"
        )
    if lakehouse.settings.ihc_api_key is None:
        return {"asks": None, "owed": 0}
    service = ihc.service_of(lakehouse.settings.ihc_url)
    return {"asks": service, "owed": [lakehouse.run_id, owed] if owed else 0}
