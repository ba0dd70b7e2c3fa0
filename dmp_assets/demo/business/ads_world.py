"""What the simulated shop's ads and orders consist of: advertisers, campaigns, goods, rates.

Constants only. Shares and prices are rough, public-knowledge figures of a mid-size web shop.
"""

from typing import NamedTuple


class Advertiser(NamedTuple):
    """A shop with its ad account. `every`: it has each so many-th of the people.

    `rate`: its currency for one EUR. `seed`: added to that of the business.
    """

    advertiser_id: str
    name: str
    shop: str
    shop_id: int
    currency: str
    shop_zone: str
    account_id: str
    account_zone: str
    rate: float
    every: int
    seed: int


ADVERTISERS = (
    Advertiser(
        "main", "Demo shop", "demo-shop.myshopify.com", 600_001, "EUR", "Europe/Berlin",
        "10150000000000001", "Europe/London", 1.0, 1, 0,
    ),
    Advertiser(
        "overseas", "Demo shop overseas", "demo-shop-overseas.myshopify.com", 600_002, "USD",
        "America/New_York", "10150000000000002", "America/Los_Angeles", 1.09, 6, 1,
    ),
)  # fmt: skip


MOST_PEOPLE = 50_000
"""Of more people only each so many-th is simulated: they are orders that are read over HTTP."""
TRACKED = "main"
"""The advertiser whose site the web's database is of; of others the shop alone knows visits."""


class Campaign(NamedTuple):
    """A campaign at Meta. `sets`: its ad sets, with how many ads.

    `daily_budget`: EUR a day of who has `PEOPLE`; others spend by how many they have.
    """

    name: str
    objective: str
    daily_budget: int
    sets: tuple[tuple[str, int], ...]


CAMPAIGNS = (
    Campaign("reels_spring", "OUTCOME_SALES", 90, (("reels_18_34", 3), ("reels_35_54", 2))),
    Campaign("lookalike_buyers", "OUTCOME_SALES", 80, (("lookalike_1", 2), ("lookalike_5", 2))),
    Campaign("broad_video", "OUTCOME_SALES", 70, (("broad", 3),)),
    Campaign("brand_reach", "OUTCOME_AWARENESS", 25, (("reach_all", 2),)),
)
PEOPLE = 10_000
"""For how many people the budgets are, and what is shown to who does not click."""
REACH_ONLY = "brand_reach"
"""The campaign that nobody clicks: it costs, and no visit of the web tells of it."""
CLICKS_ONLY = "lookalike_5"
"""The ad set for which only clicks count."""
CHANNEL = "meta_social"
"""The web's channel whose visits came by clicks on these ads, whose campaigns have these names."""
MEDIUM = "paid_social"

CLICK_DAYS, VIEW_SHARE = 7, 0.05
"""Days after a click in which Meta counts a purchase, and the share of other purchases before which
the buyer had seen an ad."""
LAGS = ((0, 0.70), (1, 0.14), (2, 0.06), (4, 0.04), (8, 0.03), (15, 0.02), (27, 0.01))
"""Days until Meta reports a purchase, with their shares."""
TWICE = 0.02  # of the purchases after a click that a shop's page reports two times
LOST_CLICKS = 0.08  # clicks that never became a visit, for each that did
CLICK_RATE, COST_PER_THOUSAND = 0.012, 6.0
UNCLICKED = 120  # impressions of an ad on a day on which nobody clicks it

GOODS = (
    ("Trail shoe", "Shoes", 89.0, 0.46), ("City sneaker", "Shoes", 69.0, 0.44),
    ("Rain jacket", "Jackets", 119.0, 0.48), ("Down vest", "Jackets", 79.0, 0.47),
    ("Merino shirt", "Shirts", 49.0, 0.40), ("Cotton shirt", "Shirts", 25.0, 0.36),
    ("Wool socks", "Socks", 14.0, 0.30), ("Cap", "Accessories", 22.0, 0.33),
    ("Belt", "Accessories", 29.0, 0.35), ("Backpack", "Bags", 99.0, 0.50),
)  # fmt: skip
"""Title, type, price in EUR with tax, and what a unit costs as a share of it."""
NO_UNIT_COST = "Belt"
"""Goods of which the shop does not say what they cost it."""

TAX = 0.19
SHIPPING, FREE_FROM = 4.90, 60.0
FEE_SHARE, FEE_FIXED = 0.014, 0.25
REFUNDED, PARTLY, GOODWILL, CANCELLED, TESTS = 0.07, 0.5, 0.1, 0.015, 0.002
"""Shares: of orders that come back, of those that do in part, of those without goods, of orders
that are cancelled; and test orders for each real one."""
CODES = ("WELCOME10", "SPRING15", "NEWS5")
WITH_CODE = 0.18
NOT_READY_DAYS = 1
"""Days until Shopify has attributed an order."""
FIRST_ORDER = 1001
