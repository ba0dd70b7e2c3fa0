"""Which variant a unit gets: the same at every ask, on every machine, in every language.

Two numbers from 0 to 9,999 decide, both from SHA-256 of bytes that any language can make:

    place = number("<layer>/place/<unit>")        is the unit in the experiment?
    draw  = number("<experiment>/draw/<unit>")    which variant does it get?
    number(text) = first 8 bytes of SHA-256(UTF-8 of text), big-endian and unsigned, modulo 10,000

Here <layer> is `<advertiser_id>/<layer>` and <experiment> is `<advertiser_id>/<key>`. The unit's
id is taken as it is, neither trimmed nor normalised. Modulo 10,000 of 64 bits favours no number by
more than 1 in 10¹⁵.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from dmp_assets.ads.model.experiments.definition import SHARES, Definition, ExperimentError


def number(text: str) -> int:
    """A number from 0 to 9,999 that looks random, and is the same for the same text."""
    try:
        written = text.encode()
    except UnicodeEncodeError as error:
        raise ExperimentError("an id is no text that can be written as UTF-8") from error
    return int.from_bytes(hashlib.sha256(written).digest()[:8], "big") % SHARES


def place(advertiser_id: str, layer: str, unit: str) -> int:
    """The unit's place in a layer: experiments that take different places share no unit."""
    return number(f"{advertiser_id}/{layer}/place/{_given(unit)}")


def variant(definition: Definition, unit: str) -> str | None:
    """The variant of a unit, None where the unit is not in the experiment.

    Raises ExperimentError for an empty id, which all who have none would share.
    """
    first, last = definition.places
    if not first <= place(definition.advertiser_id, definition.layer, unit) < last:
        return None
    draw = number(f"{definition.advertiser_id}/{definition.key}/draw/{unit}")
    return definition.variants[bisect_right(list(accumulate(definition.split)), draw)]


def variants(definition: Definition, units: Sequence[str]) -> list[str | None]:
    """The variant of each unit, as `variant` gives it."""
    return [variant(definition, unit) for unit in units]


def _given(unit: str) -> str:
    if not unit:
        raise ExperimentError("a unit without an id cannot be assigned")
    return unit
