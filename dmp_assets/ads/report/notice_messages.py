"""Notices in words: one message for Slack, or as e-mail, of one or several of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dmp_assets.ads.model.notices.detect import MEANINGS
from dmp_assets.ads.model.notices.words import figure, usual
from dmp_assets.ads.service.store.notices import Outgoing, Shown
from dmp_assets.platform.base.addresses import service_address
from dmp_assets.platform.reporting import delivery
from dmp_assets.platform.reporting.blocks import SECTION_LIMIT, context, header, section
from dmp_assets.platform.reporting.email import Email
from dmp_assets.platform.text.foreign_text import cut, html_text, slack_link, slack_text, visible

ABOUT = "notices"
PREFERENCES = "/ads/notices"
"""Path of the page where people say what they want to be told."""

_MOST = 40
"""Notices that one message names; it says how many more there are."""
_NAME = 120
_WHAT = {
    "account": "account", "campaign": "campaign", "ad": "ad", "shop": "shop",
    "connection": "connection", "job": "job", "experiment": "experiment", "advertiser": "",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A notice: what is found, of what, the figure with its usual range, since when, where."""

    meaning: str
    subject: str
    figure: str
    usual: str
    since: str
    url: str | None

    @property
    def text(self) -> str:
        """All but the first on one line; what has no usual range has no figure of interest."""
        if not self.usual:
            return f"{self.subject}, since {self.since}"
        return f"{self.subject}: {self.figure} ({self.usual}), since {self.since}"


def line(shown: Shown, base: str | None) -> Line:
    """A notice in words. `base`: address under which people reach the pages, if any."""
    kind = _WHAT.get(shown.subject.partition(":")[0], "")
    name = cut(visible(shown.subject_name), _NAME)
    meaning = MEANINGS[shown.kind]
    as_usual = usual(shown.low, shown.high, shown.unit, shown.currency)
    return Line(
        f"{meaning[:1].upper()}{meaning[1:]}",
        f"{kind} {name}".strip(),
        figure(shown.figure, shown.unit, shown.currency),
        f"usual is {as_usual}" if as_usual else "",
        shown.since.isoformat(),
        service_address(base, shown.link),
    )


def title(outgoing: Outgoing, advertiser: str) -> str:
    """What a message is about, on one line."""
    whose, count = cut(visible(advertiser), _NAME), len(outgoing.shown)
    if outgoing.is_digest:
        return f"{whose}: {count} notice{'' if count == 1 else 's'} of the day"
    if count == 1:
        return f"{whose}: {MEANINGS[outgoing.shown[0].kind]}"
    return f"{whose}: {count} notices"


def slack_message(
    outgoing: Outgoing, advertiser: str, channel: str, base: str | None
) -> delivery.Message:
    """The message for a channel of Slack."""
    first = title(outgoing, advertiser)
    blocks: list[dict[str, Any]] = [header(first)]
    for one in _lines(outgoing, base):
        more = f"\n{slack_link(one.url, 'open')}" if one.url else ""
        blocks.append(
            section(
                f"*{slack_text(one.meaning)}*\n{slack_text(one.text, SECTION_LIMIT - 400)}{more}"
            )
        )
    if left := _left(outgoing):
        blocks.append(context(slack_text(left)))
    if page := _page(outgoing, base):
        blocks.append(context(slack_link(page, "What you are told")))
    return delivery.Message(
        report=f"{ABOUT}/{outgoing.advertiser_id}",
        version=str(outgoing.message_id),
        channel=channel,
        text=slack_text(first, 1_500),
        blocks=tuple(blocks),
    )


def mail(outgoing: Outgoing, advertiser: str, to: str, base: str | None) -> Email:
    """The same by e-mail."""
    first, lines, left = title(outgoing, advertiser), _lines(outgoing, base), _left(outgoing)
    page = _page(outgoing, base)
    text = [first, ""]
    html = [f"<h1 style='font:600 18px sans-serif'>{html_text(first)}</h1>"]
    for one in lines:
        text += [one.meaning, f"  {one.text}", *([f"  {one.url}"] if one.url else []), ""]
        link = f"<br><a href='{html_text(one.url)}'>open</a>" if one.url else ""
        html.append(
            f"<p style='font:15px sans-serif'><b>{html_text(one.meaning)}</b><br>"
            f"{html_text(one.text)}{link}</p>"
        )
    if left:
        text += [left, ""]
        html.append(f"<p style='font:15px sans-serif'>{html_text(left)}</p>")
    if page:
        text.append(f"What you are told, and how: {page}")
        html.append(
            f"<p style='font:13px sans-serif'><a href='{html_text(page)}'>What you are told, and "
            "how</a></p>"
        )
    return Email(
        delivery_id=str(outgoing.message_id),
        about=f"{ABOUT}/{outgoing.advertiser_id}",
        to=to,
        subject=first,
        text="\n".join(text) + "\n",
        html=f"<!doctype html><html lang='en'><body>{''.join(html)}</body></html>",
        preferences=page,
    )


def _page(outgoing: Outgoing, base: str | None) -> str | None:
    """Where the recipient says what of this advertiser they want to be told."""
    whose = quote(outgoing.advertiser_id, safe="")
    return service_address(base, f"{PREFERENCES}?advertiser={whose}")


def _lines(outgoing: Outgoing, base: str | None) -> Sequence[Line]:
    return [line(one, base) for one in outgoing.shown[:_MOST]]


def _left(outgoing: Outgoing) -> str:
    """How many more there are than the message names."""
    more = len(outgoing.shown) - _MOST
    return f"and {more} more" if more > 0 else ""
