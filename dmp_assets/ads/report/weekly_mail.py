"""delivery/ads_by_email: the weekly report on ad performance to all of DMP_ADS_REPORT_EMAILS.

Each address has a week once. A week whose data is not whole, or of which a blocking check failed,
is in nobody's mail: the message in Slack says why, and the next run sends it. A run of some days
sends none.
"""

import hashlib
from collections import Counter
from html import escape

import dagster as dg

from dmp_assets.ads.report import weekly
from dmp_assets.ads.settings import AdsSettings
from dmp_assets.home import Home
from dmp_assets.platform.base.addresses import service_address
from dmp_assets.platform.lake.code_places import code_at
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.reporting import mail_outbox, messages, renderer
from dmp_assets.platform.reporting.email import Email
from dmp_assets.platform.reporting.mail_outbox import Stage
from dmp_assets.platform.reporting.messages import ReportFigures
from dmp_assets.platform.reporting.reader import Report
from dmp_assets.platform.reporting.report_assets import blocking_failure
from dmp_assets.platform.run.executor import ALONE_TAG
from dmp_assets.platform.text.foreign_text import visible

_KEY = dg.AssetKey(["delivery", "ads_by_email"])
_ABOUT = "reports/ads"


def mail(figures: ReportFigures, to: str, base: str | None) -> Email:
    """The week as a mail to one address. `base`: where the service answers, for the link."""
    whose = hashlib.sha256(to.strip().casefold().encode()).hexdigest()[:16]
    subject = f"{figures.title}, {figures.period_start} to {figures.period_end}"
    said = [
        (one.label, messages.number(one.value, one.unit), messages.change(one, figures.before))
        for one in figures.headline
    ]
    rows = [[visible(str(cell)) for cell in row] for row in figures.table_rows]
    link = service_address(base, "reports/ads.html")
    text = [subject, "", *(f"{name}: {value} ({change})" for name, value, change in said), ""]
    text += [" · ".join(row) for row in rows]
    text += ["", *map(visible, figures.notes), *([f"The report: {link}"] if link else [])]
    return Email(
        delivery_id=f"ads-{figures.period_start}-{figures.period_end}-{whose}",
        about=_ABOUT,
        to=to,
        subject=subject,
        text="\n".join(text).rstrip() + "\n",
        html=_html(figures, subject, said, rows, link),
    )


def _html(
    figures: ReportFigures,
    subject: str,
    said: list[tuple[str, str, str]],
    rows: list[list[str]],
    link: str | None,
) -> str:
    style = "style='font:15px sans-serif'"
    headline = "".join(
        f"<tr><td>{escape(name)}</td><td><b>{escape(value)}</b></td><td>{escape(change)}</td></tr>"
        for name, value, change in said
    )
    head = "".join(f"<th align='left'>{escape(name)}</th>" for name in figures.table_headers)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    notes = "".join(f"<p {style}>{escape(visible(note))}</p>" for note in figures.notes)
    opened = f"<p {style}><a href='{escape(link)}'>Open the report</a></p>" if link else ""
    return (
        f"<!doctype html><html lang='en'><body><h1 style='font:600 18px sans-serif'>"
        f"{escape(subject)}</h1><table {style} cellpadding='4'>{headline}</table>"
        f"<table {style} cellpadding='4'><tr>{head}</tr>{body}</table>{notes}{opened}</body></html>"
    )


def tell(home: Home, problem: str | None) -> Counter[str]:
    """Send the last full week to each address that does not have it; stage → how many."""
    settings = home.settings()
    addresses = settings.of(AdsSettings).ads_report_emails
    states: Counter[str] = Counter()
    if not addresses:
        return states
    report = Report.open(home, renderer.versions_shown(home, "ads"))
    figures = weekly.message(report, as_of=home.now(), problem=problem)
    if messages.warning(figures, "UTC"):
        states["not told"] = len(addresses)
        return states
    for to in dict.fromkeys(addresses):
        letter = mail(figures, to, settings.public_url)
        states[str(mail_outbox.deliver(settings, home.outbox, letter).stage)] += 1
    return states


@dg.asset(
    key=_KEY,
    op_tags={ALONE_TAG: "outbox"},
    deps=[dg.AssetKey(["reports", "ads"])],
    owners=["team:marketing"],
    kinds={"email"},
    metadata=code_at(tell),
    description="The weekly report on ad performance by e-mail, to each address once a week.",
    check_specs=[
        dg.AssetCheckSpec(
            "delivered",
            asset=_KEY,
            description="The mail server took all that was due; else it waits in the outbox.",
        )
    ],
)
def ads_by_email(
    context: dg.AssetExecutionContext, lakehouse: Lakehouse, window: Window
) -> dg.MaterializeResult:
    states: Counter[str] = Counter()
    if window.days() is None:
        inputs = {dg.AssetKey(key.split("/")) for key in weekly.READS}
        known = context.job_def.asset_layer.asset_graph.asset_check_keys
        problem = blocking_failure(context.instance, [k for k in known if k.asset_key in inputs])
        states = tell(lakehouse.home, problem)
    week = messages.last_full_week(lakehouse.home.now(), "UTC")
    waiting = states[str(Stage.KEPT)] + states[str(Stage.HANDING_OVER)]
    return dg.MaterializeResult(
        metadata={**states, "unchanged": not states},
        data_version=dg.DataVersion(f"{week[0]} to {week[1]}"),
        check_results=[
            dg.AssetCheckResult(
                check_name="delivered", passed=not waiting, severity=dg.AssetCheckSeverity.WARN
            )
        ],
    )
