"""reports and delivery: rendering and sending are two assets, so that an outage of Slack neither
renders anything again nor fails a table.

A report is rendered again when the data of a table that it reads, its source, the range of the
run or a setting that it shows has changed.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from dmp_assets.home import Home
from dmp_assets.platform.faces.lake import TAG
from dmp_assets.platform.lake import fingerprint as fingerprints
from dmp_assets.platform.lake import readings
from dmp_assets.platform.lake.code_places import code_at
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.lake.worked_out import WorkedOut
from dmp_assets.platform.reporting import (
    renderer,
)
from dmp_assets.platform.reporting.corrections import correct
from dmp_assets.platform.reporting.delivery import Delivery, Message, already_sent, deliver, sent
from dmp_assets.platform.reporting.messages import report_message, warning
from dmp_assets.platform.reporting.period import DAY, Period
from dmp_assets.platform.reporting.renderer import Renderer, RenderError, find_quarto
from dmp_assets.platform.reporting.report_spec import MessageSpec, ReportSpec, reports_of_domains
from dmp_assets.platform.reporting.slack import SlackResource
from dmp_assets.platform.run.executor import ALONE_TAG
from dmp_assets.settings import Settings, project_dir

SHARED = ("_quarto.yml", "theme.css", "callouts.lua")
"""Files of `reports/` that are in every report, beside all of its scripts."""
SHOWN_SETTINGS = ("currency", "timezone", "public_url")
"""Settings that every report may show; a report names its own."""
_MACHINERY = tuple(
    name
    for name in fingerprints.MACHINERY
    if name.rpartition(".")[2] not in ("report", "reporting", "text")
)
"""What decides no report and no message."""


def fingerprint(name: str, tables: Tables, settings: Settings, params: Mapping[str, Any]) -> str:
    """What the report is made from: data versions, sources, parameters, settings, engine."""
    spec = _spec(name)
    data = {key: _data_version(tables, key) for key in spec.reads}
    folder = project_dir() / "reports"
    scripts = sorted(folder.glob("*.js"))
    sources = [*(folder / file for file in (f"{name}.qmd", *SHARED)), *scripts]
    texts = [path.read_text() for path in sources]
    code = fingerprints.code(renderer.__name__, text=texts[0], machinery=_MACHINERY)
    chosen = {field: str(getattr(settings, field)) for field in (*SHOWN_SETTINGS, *spec.settings)}
    read = [reading and reading.at.date().isoformat() for reading in _readings(name, settings)]
    state = [data, texts, code, dict(params), chosen, str(find_quarto()), read]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:20]


def _readings(name: str, settings: Settings) -> list[readings.Reading | None]:
    """When the sources were last read; a simulated business stands still."""
    home = Home(settings.home)
    keys = [key for key in _spec(name).reads if key.startswith("raw/")]
    return [] if home.profile == "sandbox" else [readings.last(home, key) for key in keys]


def _data_version(tables: Tables, key: str) -> str | None:
    if not tables.exists(key):
        return None
    return str(tables.stamp(key).get("data_version") or tables.version(key))


def _versions(name: str, tables: Tables) -> dict[str, int | None]:
    """Delta versions of what the report reads."""
    reads = _spec(name).reads
    return {key: tables.version(key) if tables.exists(key) else None for key in reads}


@cache
def specs() -> Mapping[str, tuple[str, ReportSpec]]:
    """Report → its domain and what it is, in the order in which they are rendered."""
    of = reports_of_domains()
    found = [(domain, spec) for domain, listed in of.items() for spec in listed]
    found.sort(key=lambda pair: (pair[1].is_last, pair[1].name == INDEX))
    return {spec.name: (domain, spec) for domain, spec in found}


def _spec(name: str) -> ReportSpec:
    return specs()[name][1]


def build() -> list[dg.AssetsDefinition]:
    """Every report, rendered by one step or by one of its own, and every message."""
    known = specs()
    together = [name for name, (_, spec) in known.items() if not spec.is_apart]
    apart = [name for name, (_, spec) in known.items() if spec.is_apart]
    return [
        _rendering("reports", together),
        *(_rendering(f"reports__{name}", [name]) for name in apart),
        *(
            _delivery(domain, spec, spec.message)
            for domain, spec in known.values()
            if spec.message is not None
        ),
    ]


def _rendering(step: str, names: Sequence[str]) -> dg.AssetsDefinition:
    """The assets of some reports, which one step renders."""

    @dg.multi_asset(
        name=step,
        op_tags={ALONE_TAG: "renderer"},
        specs=[
            dg.AssetSpec(
                ["reports", name],
                deps=[
                    *(
                        dg.AssetKey(key.split("/"))
                        for key in spec.reads
                        if key not in spec.unawaited
                    ),
                    *(dg.AssetKey(["reports", r]) for r in names if name == INDEX and r != name),
                ],
                description=f"The report {name}.qmd as one HTML file that needs no network.",
                owners=["team:data-platform"],
                kinds={"quarto", "html"},
                tags={TAG: domain},
                group_name=domain,
                metadata=code_at(project_dir() / "reports" / f"{name}.qmd"),
                skippable=False,
            )
            for name, (domain, spec) in specs().items()
            if name in names
        ],
        can_subset=True,
    )
    def rendered(
        context: dg.AssetExecutionContext, lakehouse: Lakehouse, window: Window
    ) -> Iterator[dg.MaterializeResult[Any]]:
        """Render what has changed, all in one kernel; one that fails does not stop the others."""
        wanted = {key.path[-1] for key in context.selected_asset_keys}
        failed: list[str] = []
        rendered_now: list[str] = []
        with renderer.engine(project_dir(), lakehouse.home) as engine:
            for name in names:
                if name not in wanted:
                    continue
                params = _range(window) if _spec(name).is_ranged else {}
                mark = fingerprint(name, lakehouse.tables, lakehouse.settings, params)
                target = lakehouse.home.reports / f"{name}.html"
                unchanged = renderer.state(target).get("fingerprint") == mark
                if name == INDEX and rendered_now:
                    unchanged = False
                if unchanged:
                    context.log.info(f"reports/{name}: nothing new, left as it is")
                else:
                    try:
                        engine.render(
                            name, params=params, fingerprint=mark,
                            made_of=partial(_versions, name, lakehouse.tables),
                        )  # fmt: skip
                    except RenderError as error:
                        failed.append(str(error))
                        continue
                    rendered_now.append(name)
                noted = renderer.state(target)
                for warning_said in noted.get("warnings", ()) if not unchanged else ():
                    context.log.warning(f"reports/{name}: {warning_said}")
                yield dg.MaterializeResult(
                    asset_key=["reports", name],
                    metadata={
                        "path": dg.MetadataValue.path(str(target)),
                        "unchanged": unchanged,
                        "seconds": float(noted["seconds"]),
                        "engine": str(noted["engine"]),
                        "warnings": dg.MetadataValue.json(noted.get("warnings", [])),
                        "data_through": str(noted.get("data_through")),
                        "table_versions": dg.MetadataValue.json(noted.get("table_versions", {})),
                    },
                    data_version=dg.DataVersion(mark),
                )
            if rendered_now and INDEX not in names:
                failed += _looked_at_again(engine, lakehouse)
        if failed:
            raise dg.Failure("; ".join(failed))

    return rendered


def _looked_at_again(engine: Renderer, lakehouse: Lakehouse) -> list[str]:
    """Render what shows what another step has made since; what could not be rendered."""
    failed: list[str] = []
    for name, (_, spec) in specs().items():
        if not spec.is_last:
            continue
        target = lakehouse.home.reports / f"{name}.html"
        if not target.exists():
            continue
        mark = fingerprint(name, lakehouse.tables, lakehouse.settings, {})
        if name != INDEX and renderer.state(target).get("fingerprint") == mark:
            continue
        try:
            engine.render(
                name, fingerprint=mark, made_of=partial(_versions, name, lakehouse.tables)
            )
        except RenderError as error:
            failed.append(str(error))
    return failed


def _range(window: Window) -> dict[str, str]:
    """The run's days as the report's parameters; none without a range."""
    return {"start": window.start, "end": window.end} if window.days() else {}


# delivery -----------------------------------------------------------------------------------------
INDEX = "index"
"""The report that links to the others."""
_INCOMPLETE = "_incomplete"
"""Ends the version of a message that says why there are no numbers."""


def messages() -> Mapping[str, MessageSpec]:
    """Report → its message, of those that have one."""
    return {name: spec.message for name, (_, spec) in specs().items() if spec.message}


def deliver_report(
    name: str,
    home: Home,
    slack: SlackResource,
    problem: str | None = None,
    days: Period | None = None,
) -> Delivery:
    """Send a report's message once per period and channel; see `delivery.deliver`.

    The period is the last full week, or `days` where the report is one of days. A period whose
    numbers could not be shown counts apart, so the numbers follow when they can be.
    """
    return _told(name, home, slack, problem, days)[0]


def _told(
    name: str, home: Home, slack: SlackResource, problem: str | None, days: Period | None
) -> list[Delivery]:
    """The message of a report and after it the corrections that it called for.

    Where the message is out and nothing of what it says can differ, it is not made again.
    """
    known, made_of = WorkedOut(home), _made_of(name, home, days)
    before = known.peek(f"delivery/{name}", made_of) if made_of and not problem else None
    if before and (out := already_sent(home.outbox, name, before)):
        return [out]
    settings = home.settings()
    outline = messages()[name].outline(home, problem, days)
    now = outline.figures
    incomplete = warning(now, outline.zone) is not None
    period = f"{now.period_start}_{now.period_end}"
    base = settings.public_url
    message = report_message(
        now,
        report=name,
        version=f"{period}{_INCOMPLETE}" if incomplete else period,
        channel=settings.slack_channel,
        tz=outline.zone,
        image=outline.image,
        image_alt=outline.image_alt,
        files=[(path, title) for path, title in outline.files if path.exists()],
        link=f"{base.rstrip('/')}/{name}.html" if base else None,
    )
    client = slack.client()
    done = [deliver(client, home.outbox, message)]
    if not incomplete:
        done += correct(client, home.outbox, message, f"{period}{_INCOMPLETE}")
        if made_of:
            known.note(f"delivery/{name}", made_of, message.delivery_id)
            known.keep()
    return done


def _made_of(name: str, home: Home, days: Period | None) -> list[Any] | None:
    """What decides a message: the report that was rendered, the day, the channel, the code.

    The day, since a row dated in the future counts once its day has come. None without a report.
    """
    state = renderer.state(home.reports / f"{name}.html")
    if not state:
        return None
    settings = home.settings()
    return [
        state.get("fingerprint"), state.get("table_versions"), home.now().date(),
        days and [days.first, days.last], settings.slack_channel, settings.timezone,
        fingerprints.code(
            __name__, messages()[name].outline.__module__, machinery=_MACHINERY
        ),
    ]  # fmt: skip


def deliver_failure(
    home: Home,
    slack: SlackResource,
    failed: Sequence[str],
    wanted: Iterable[str],
    days: Period | None = None,
) -> list[Delivery]:
    """Of a failed run: say so in the messages that it was to deliver, for a failure skips them.

    `failed` are the steps that failed, `wanted` the keys of the run's assets that were not made.
    A delivery that itself failed is left to its own alert. Nothing is said of a period whose
    numbers have been sent: they hold.
    """
    names = [
        name for name in messages()
        if f"delivery/{name}" in set(wanted) and f"delivery/{name}" not in failed
    ]  # fmt: skip
    cause = f"The run failed at {', '.join(failed) or 'its start'}."
    return [
        deliver_report(name, home, slack, cause, days)
        for name in names
        if not _has_numbers(name, home, days)
    ]


def _has_numbers(name: str, home: Home, days: Period | None) -> bool:
    """Whether the period's message has been sent with numbers."""
    now = messages()[name].outline(home, None, days).figures
    period = f"{now.period_start}_{now.period_end}"
    with_numbers = Message(name, period, home.settings().slack_channel, "")
    return sent(home.outbox, with_numbers.delivery_id) is not None


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


def _delivery(domain: str, spec: ReportSpec, told: MessageSpec) -> dg.AssetsDefinition:
    """The asset `delivery/<name>`: the report's message, sent once; what cannot be sent is kept."""
    name = spec.name

    @dg.asset(
        key=["delivery", name],
        op_tags={ALONE_TAG: "outbox"},
        deps=[dg.AssetKey(key.split("/")) for key in told.after],
        owners=["team:data-platform"],
        kinds={"slack"},
        tags={TAG: domain},
        group_name=domain,
        metadata=code_at(told.outline),
        description=told.about,
        check_specs=[
            dg.AssetCheckSpec(
                "delivered",
                asset=["delivery", name],
                description="Slack has the message; else it waits in the outbox and is sent later.",
            )
        ],
    )
    def delivery(
        context: dg.AssetExecutionContext,
        lakehouse: Lakehouse,
        slack: SlackResource,
        window: Window,
    ) -> dg.MaterializeResult:
        inputs = {dg.AssetKey(key.split("/")) for key in spec.reads}
        known = context.job_def.asset_layer.asset_graph.asset_check_keys
        problem = blocking_failure(context.instance, [k for k in known if k.asset_key in inputs])
        done, *corrected = _told(name, lakehouse.home, slack, problem, in_range(window))
        return dg.MaterializeResult(
            metadata={
                "state": done.state,
                "version": done.version,
                "channel": done.channel,
                "reason": done.reason or "",
                "unchanged": done.state == "already_sent" and not corrected,
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

    return delivery


def in_range(window: Window) -> Period | None:
    """The run's days; None without a range."""
    days = window.days()
    return Period(days[0], days[1] - DAY) if days else None
