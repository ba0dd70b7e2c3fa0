"""A notice's figure and its usual range in words: the same on the page and in a message."""

from decimal import Decimal


def figure(value: Decimal, unit: str, currency: str | None = None) -> str:
    """A figure as people read it, with what it is counted in."""
    if unit == "money":
        return f"{value:,.2f} {currency or ''}".rstrip()
    if unit == "ratio":
        return f"{value:.2f}"
    if unit == "days":
        return f"{value:.0f} day{'' if value == 1 else 's'}"
    if unit == "seconds":
        minutes = int(value) // 60
        return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
    if unit == "share of the day":
        minutes = round(float(value) * 1440)
        return f"{minutes // 60:02}:{minutes % 60:02}"
    return f"{value:,.0f}"


def usual(low: Decimal | None, high: Decimal | None, unit: str, currency: str | None = None) -> str:
    """The usual range in words, empty where none is known; of an open bound or 0 the other one."""
    least, most = (None if one is None else figure(one, unit, currency) for one in (low, high))
    if most is None:
        later = f"{least} or later" if unit == "share of the day" else f"at least {least}"
        return later if least is not None else ""
    if least is None or low == 0:
        return "none" if high == 0 else f"at most {most}"
    return f"{least} to {most}"
