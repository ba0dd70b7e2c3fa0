"""reports and delivery: rendering and sending are two assets, so that an outage of Slack neither
renders anything again nor fails a table.

A report is rendered again when the data of a table that it reads, its source, the range of the
run or a setting that it shows has changed.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from dmp_assets.home import Home
from dmp_assets.reporting import dashboard, figures, look, reader, renderer
from dmp_assets.reporting.charts import usage_chart
from dmp_assets.reporting.delivery import Delivery, deliver
from dmp_assets.reporting.messages import ReportFigures, report_message, warning
from dmp_assets.reporting.reader import Report
from dmp_assets.reporting.renderer import Renderer, RenderError, find_quarto
from dmp_assets.resources.lakehouse import Lakehouse
from dmp_assets.resources.slack import SlackResource
from dmp_assets.resources.window import Window
from dmp_assets.settings import Settings, project_dir
from dmp_assets.tables import Tables

SHOP_TABLES = ("users", "promo_codes", "promo_usages")
CLEANED = tuple(f"cleaned/{table}" for table in SHOP_TABLES)
READS: dict[str, tuple[str, ...]] = {
    "promo_abuse": (
        *CLEANED,
        "modeled/registrations_daily",
        "modeled/promo_usage_daily",
        "modeled/promo_usage_by_user",
        "modeled/account_clusters",
        "ml/abuse_scores",
    ),
    "model_monitoring": (
        "cleaned/users",
        "cleaned/promo_usages",
        "ml/abuse_scores",
        "ml/abuse_evaluation",
        "ml/model_registry",
        "ml/model_card",
        "ml/abuse_drift",
    ),
    "data_quality": tuple(
        f"{layer}/{table}" for layer in ("raw", "cleaned", "quarantine") for table in SHOP_TABLES
    ),
    "index": (*CLEANED, "ml/abuse_scores"),
}
"""Report → the tables that it reads; `index`, which links to the others, comes last."""

SHARED = ("_quarto.yml", "theme.css", "dashboard.js")
RANGED = frozenset({"promo_abuse"})
SHOWN_SETTINGS = (
    "cost_blocked_customer", "cost_lost_discount", "review_cost", "currency", "timezone",
)  # fmt: skip
_CODE = (sys.modules[__name__], dashboard, figures, look, reader, renderer)


def fingerprint(name: str, tables: Tables, settings: Settings, params: Mapping[str, Any]) -> str:
    """What the report is made from: data versions, sources, parameters, settings, engine."""
    data = {key: _data_version(tables, key) for key in READS[name]}
    folder = project_dir() / "reports"
    sources = [folder / file for file in (f"{name}.qmd", *SHARED)]
    texts = [path.read_text() for path in sources]
    texts += [Path(str(module.__file__)).read_text() for module in _CODE]
    chosen = {field: str(getattr(settings, field)) for field in SHOWN_SETTINGS}
    state = [data, texts, dict(params), chosen, str(find_quarto())]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:20]


def _data_version(tables: Tables, key: str) -> str | None:
    if not tables.exists(key):
        return None
    return str(tables.stamp(key).get("data_version") or tables.version(key))


@dg.multi_asset(
    name="reports",
    specs=[
        dg.AssetSpec(
            ["reports", name],
            deps=[
                *(dg.AssetKey(key.split("/")) for key in keys),
                *(dg.AssetKey(["reports", r]) for r in READS if name == "index" and r != name),
            ],
            description=f"The report reports/{name}.qmd as one HTML file that needs no network.",
            group_name="reports",
            owners=["team:data-platform"],
            kinds={"quarto", "html"},
            skippable=False,
        )
        for name, keys in READS.items()
    ],
    can_subset=True,
)
def reports(
    context: dg.AssetExecutionContext, lakehouse: Lakehouse, window: Window
) -> Iterator[dg.MaterializeResult[Any]]:
    """Render what has changed, all in one kernel; one failing report does not stop the others."""
    wanted = {key.path[-1] for key in context.selected_asset_keys}
    failed: list[str] = []
    rendered_now: list[str] = []
    with Renderer(project_dir(), lakehouse.home) as engine:
        for name in READS:
            if name not in wanted:
                continue
            params = _range(window) if name in RANGED else {}
            mark = fingerprint(name, lakehouse.tables, lakehouse.settings, params)
            target = lakehouse.home.reports / f"{name}.html"
            unchanged = renderer.state(target).get("fingerprint") == mark
            if name == "index" and rendered_now:
                unchanged = False
            if unchanged:
                context.log.info(f"reports/{name}: nothing new, left as it is")
            else:
                try:
                    engine.render(name, params=params, fingerprint=mark)
                except RenderError as error:
                    failed.append(str(error))
                    continue
                rendered_now.append(name)
            noted = renderer.state(target)
            yield dg.MaterializeResult(
                asset_key=["reports", name],
                metadata={
                    "path": dg.MetadataValue.path(str(target)),
                    "unchanged": unchanged,
                    "seconds": float(noted["seconds"]),
                    "engine": str(noted["engine"]),
                    "data_through": str(noted.get("data_through")),
                    "table_versions": dg.MetadataValue.json(noted.get("table_versions", {})),
                },
                data_version=dg.DataVersion(mark),
            )
    if failed:
        raise dg.Failure("; ".join(failed))


def _range(window: Window) -> dict[str, str]:
    """The run's days as the report's parameters; none without a range."""
    return {"start": window.start, "end": window.end} if window.days() else {}


# delivery -----------------------------------------------------------------------------------------
def weekly_figures(home: Home, problem: str | None = None) -> tuple[Report, ReportFigures]:
    """Reader and figures of the weekly message, from the versions that the report shows."""
    noted = renderer.state(home.reports / "promo_abuse.html")
    report = Report.open(home, noted.get("table_versions", {}))
    as_of = home.now()
    return report, figures.weekly(report, as_of=as_of, problem=problem)


def deliver_promo_abuse(home: Home, slack: SlackResource, problem: str | None = None) -> Delivery:
    """Send the weekly message once per week and channel; see `delivery.deliver`.

    A week whose numbers could not be shown counts apart, so the numbers follow when they can be.
    """
    settings = home.settings()
    report, now = weekly_figures(home, problem)
    days, usages, registrations = figures.by_day(report, now)
    image = usage_chart(days, usages, registrations, home.reports / "promo_abuse.png")
    page = home.reports / "promo_abuse.html"
    incomplete = warning(now, settings.timezone) is not None
    base = settings.public_url
    message = report_message(
        now,
        report="promo_abuse",
        version=f"{now.period_start}_{now.period_end}{'_incomplete' if incomplete else ''}",
        channel=settings.slack_channel,
        tz=settings.timezone,
        image=image,
        image_alt="Promo codes used and accounts registered per day of the week",
        files=[(page, "Promo-code abuse dashboard")] if page.exists() else [],
        link=f"{base.rstrip('/')}/promo_abuse.html" if base else None,
    )
    return deliver(slack.client(), home.outbox, message)


def blocking_failure(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]
) -> str | None:
    """The blocking (ERROR) checks among these whose last evaluation failed, in words; else None."""
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    failed = []
    for key, record in latest.items():
        if record.status != AssetCheckExecutionRecordStatus.FAILED or record.event is None:
            continue
        event = record.event.dagster_event
        evaluation = event.asset_check_evaluation_data if event else None
        if evaluation and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            failed.append(f"{key.name} of {'/'.join(key.asset_key.path)}")
    return f"A check failed: {', '.join(sorted(failed))}." if failed else None


@dg.asset(
    key=["delivery", "promo_abuse"],
    deps=[dg.AssetKey(["reports", "promo_abuse"])],
    group_name="reports",
    owners=["team:data-platform"],
    kinds={"slack"},
    description="The weekly message in Slack: numbers, chart, table, the dashboard to download.",
    check_specs=[
        dg.AssetCheckSpec(
            "delivered",
            asset=["delivery", "promo_abuse"],
            description="Slack has the message; else it waits in the outbox and is sent later.",
        )
    ],
)
def promo_abuse_delivery(
    context: dg.AssetExecutionContext, lakehouse: Lakehouse, slack: SlackResource
) -> dg.MaterializeResult:
    """Deliver the report of the last full week; what cannot be sent now is kept."""
    inputs = {dg.AssetKey(key.split("/")) for key in READS["promo_abuse"]}
    known = context.job_def.asset_layer.asset_graph.asset_check_keys
    problem = blocking_failure(context.instance, [k for k in known if k.asset_key in inputs])
    done = deliver_promo_abuse(lakehouse.home, slack, problem)
    return dg.MaterializeResult(
        metadata={
            "state": done.state,
            "version": done.version,
            "channel": done.channel,
            "reason": done.reason or "",
        },
        data_version=dg.DataVersion(done.delivery_id),
        check_results=[
            dg.AssetCheckResult(
                check_name="delivered",
                passed=done.state != "kept",
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"state": done.state, "reason": done.reason or ""},
            )
        ],
    )
