"""Numbers as the pages of ad performance write them: what is unknown is a dash and never 0."""

from decimal import Decimal

Number = int | float | Decimal
UNKNOWN = "—"


def _written(value: Number | None, form: str) -> str:
    """A number in a form; what is rounded to 0 has no sign."""
    if value is None:
        return UNKNOWN
    text = format(value, form)
    return text.removeprefix("-") if not text.strip("-0.") else text


def _percent(value: Number | None, form: str) -> str:
    return UNKNOWN if value is None else f"{_written(100 * value, form)} %"


def count(value: Number | None) -> str:
    """`12,345`; shares of orders are rounded to one."""
    return _written(value, ",.0f")


def shares(value: Number | None) -> str:
    """Orders of which parts are counted: `12.3`."""
    return _written(value, ",.1f")


def money(value: Number | None) -> str:
    """An amount without its currency: whole from 1,000 on, else with cents."""
    is_large = value is not None and abs(float(value)) >= 1000
    return _written(value, ",.0f" if is_large else ",.2f")


def cents(value: Number | None) -> str:
    """An amount to the cent."""
    return _written(value, ",.2f")


def ratio(value: Number | None) -> str:
    """`3.21`."""
    return _written(value, ",.2f")


def share(value: Number | None) -> str:
    """`12.3 %`."""
    return _percent(value, ",.1f")


def rate(value: Number | None) -> str:
    """A share that is mostly below one percent: `0.84 %`."""
    return _percent(value, ",.2f")


def signed(value: Number | None) -> str:
    """A relative change: `+12.3 %`; without bound where there is no value."""
    return "∞" if value is None else f"{100 * value:+,.1f} %"


def small(value: Number | None) -> str:
    """Three digits that count: `0.0213`, `1,240`."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(float(value)) >= 1000 else f"{float(value):.3g}"


def change(now: Number | None, before: Number | None) -> str | None:
    """By how much something changed: `+12.3 %`, or `unchanged`; None where nothing says it.

    From 0, or from below, no share tells a change.
    """
    if now is None or before is None or before <= 0:
        return None
    by = float(now) / float(before) - 1
    if abs(by) < 0.0005:
        return "unchanged"
    return f"{by:+,.1%}".replace("%", " %") if abs(by) < 10 else f"× {by + 1:,.0f}"


def over(above: Number | None, below: Number | None) -> float | None:
    """A ratio; None without what is divided by."""
    if above is None or not below:
        return None
    return float(above) / float(below)


def plus(one: Number | None, other: Number | None) -> Number | None:
    """A sum; None where a part of it is not known."""
    if one is None or other is None:
        return None
    return one + other  # type: ignore[operator]
