"""What the simulated web business consists of: its channels, and how each really works.

Constants only. Prices and shares are rough, public-knowledge figures of a mid-size web shop; none
was fitted to a model. By them a paid channel earns one to six times its cost, and an order costs
tens of EUR. A channel's name is what the analytics tool would report.
"""

from typing import NamedTuple


class Channel(NamedTuple):
    """How people meet a channel and what it does to them.

    `arrivals`: touchpoints per person in 90 days that come whether or not the person wants to buy;
    `starts`: chance that such a touchpoint wakes the wish to buy. `visits`: touchpoints during one
    wish; `keen`: whether those who want it more make more of them. `early`, `late`: shape (beta
    distribution) of when in the wish they fall. `closing`: weight as the last visit of a wish.
    `effect`: what a touchpoint adds to the wish. `price`: EUR per touchpoint; `views`: share of
    touchpoints that are seen only, not clicked: an analytics tool records those that were watched
    for some seconds, which cost cents, not the thousandth part of a thousand impressions. `abuse`:
    factor of visits by abusers. What a visit by the newsletter costs is not counted: it is the
    shop's own.
    """

    name: str
    arrivals: float
    starts: float
    visits: float
    keen: bool
    early: float
    late: float
    closing: float
    effect: float
    price: float = 0.0
    views: float = 0.0
    abuse: float = 1.0


CHANNELS = (
    Channel("direct", 0.35, 0, 0.55, True, 4, 1.6, 0.34, 0.02),
    Channel("google_brand", 0.03, 0, 0.40, True, 5, 1.5, 0.26, 0.02, 1.40),
    Channel("google_nonbrand", 0.05, 0.10, 0.45, False, 1.4, 2.6, 0.07, 0.34, 2.10),
    Channel("google_shopping", 0.05, 0.08, 0.40, False, 1.8, 2.0, 0.09, 0.26, 1.50),
    Channel("meta_social", 0.45, 0.17, 0.06, False, 1, 3, 0.03, 0.18, 1.60),
    Channel("display_prospecting", 0.60, 0.035, 0.05, False, 1, 3, 0, 0.06, 0.20, 0.93),
    Channel("display_retargeting", 0, 0, 0.70, True, 3.5, 1.4, 0.03, 0.015, 0.16, 0.90),
    Channel("affiliate_coupon", 0.06, 0.02, 0.16, True, 5, 1.5, 0.09, 0.07, 1.60, 0, 3.0),
    Channel("email_newsletter", 0.55, 0.07, 0.15, False, 2, 2, 0.07, 0.14),
    Channel("organic_search", 0.25, 0.04, 0.42, False, 1.4, 2.4, 0.10, 0.10),
    Channel("referral", 0.12, 0.09, 0.10, False, 1.5, 2, 0.02, 0.12),
)
CHANNEL_NAMES = tuple(channel.name for channel in CHANNELS)
CAMPAIGNS: dict[str, tuple[str, ...]] = {
    "google_brand": ("brand_exact", "brand_phrase"),
    "google_nonbrand": ("generic_shoes", "generic_jackets", "generic_gifts", "competitors"),
    "google_shopping": ("shopping_all", "shopping_bestsellers", "pmax"),
    "meta_social": ("reels_spring", "lookalike_buyers", "broad_video"),
    "display_prospecting": ("awareness_banner", "native_articles"),
    "display_retargeting": ("cart_reminder", "viewed_products"),
    "affiliate_coupon": ("coupon_portals", "cashback", "bloggers"),
    "email_newsletter": ("weekly_news", "win_back", "new_arrivals"),
}

BASE_WISHES = 0.62  # per person in 90 days, without any advertising
BASE_HAZARD = 0.45  # of a wish ending in a purchase, without any touchpoint
GAIN = 0.9  # the most that touchpoints can add to it
MEMORY_DAYS = 7.0  # a touchpoint's effect falls to 1/e in this time
WISH_DAYS = 6.0  # mean length of a wish
CLOSED = 0.92  # share of wishes whose last visit is a session; the others end by telephone
UNTRACKED = 0.04  # share of wishes during which nothing is seen of the person
BASKET_EUR = 52.0  # median
