"""The visits of the simulated business as ads of a Meta account, and the purchases Meta claims."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from dmp_assets.demo.business import ads_world
from dmp_assets.demo.business.ads_shopify import Order
from dmp_assets.demo.business.ads_trade import Trade, Visit, day_at, money
from dmp_assets.demo.business.shop_text import DAY, Rng

Row = dict[str, Any]
_PEOPLE = (("18-24", 0.22), ("25-34", 0.33), ("35-44", 0.24), ("45-54", 0.13), ("55-64", 0.08))
_PLACES = (("facebook", "feed", 0.4), ("instagram", "stories", 0.25), ("instagram", "reels", 0.35))


@dataclass(frozen=True)
class Ads:
    """The ads of an account by campaign, and which ad each click of the trade was on."""

    rows: Mapping[str, list[Row]]
    of_campaign: Mapping[str, tuple[str, ...]]
    of_click: Mapping[Visit, str]

    @property
    def every(self) -> list[str]:
        """Ids of all ads."""
        return [ad for ads in self.of_campaign.values() for ad in ads]


def ads_of(rng: Rng, trade: Trade) -> Ads:
    """The account's campaigns, ad sets, ads and creatives; each click is on one of the ads."""
    shop = trade.advertiser
    began = trade.starts - 40 * DAY
    made = {"created_time": began, "updated_time": began}
    own = {"account_id": shop.account_id}
    base = int(shop.account_id[-3:]) * 1_000
    rows: dict[str, list[Row]] = {
        "business": [{"business_id": f"9{shop.shop_id}", "name": shop.name}],
        "account": [{
            **own, "business_id": f"9{shop.shop_id}", "name": shop.name, "currency": shop.currency,
            "timezone_name": shop.account_zone, "created_time": began - 200 * DAY,
        }],
        "campaign": [], "adset": [], "creative": [], "ad": [],
    }  # fmt: skip
    of_campaign: dict[str, tuple[str, ...]] = {}
    for c, campaign in enumerate(ads_world.CAMPAIGNS):
        campaign_id = f"23{base + c:012}"
        rows["campaign"].append({
            **own, **made, "campaign_id": campaign_id, "name": campaign.name,
            "objective": campaign.objective, "start_time": began,
            "daily_budget": max(100, round(campaign.daily_budget * shop.rate * 100 * trade.size)),
        })  # fmt: skip
        ads: list[str] = []
        for s, (name, count) in enumerate(campaign.sets):
            adset_id = f"24{(base + c) * 10 + s:012}"
            rows["adset"].append({
                **own, **made, "adset_id": adset_id, "campaign_id": campaign_id, "name": name,
                "optimization_goal": "REACH" if campaign.name == ads_world.REACH_ONLY else
                "OFFSITE_CONVERSIONS", "start_time": began,
                "view_days": 0 if name == ads_world.CLICKS_ONLY else 1,
            })  # fmt: skip
            for n in range(count):
                number = f"{(base + c) * 100 + s * 10 + n:012}"
                ads.append(f"25{number}")
                rows["creative"].append({
                    **own, "creative_id": f"26{number}", "name": f"{name} {n + 1}",
                    "title": f"New in {n + 1}", "body": "Free delivery from 60",
                    "url_tags": f"utm_source=facebook&utm_medium={ads_world.MEDIUM}"
                    f"&utm_campaign={campaign.name}&utm_content=25{number}",
                })  # fmt: skip
                rows["ad"].append({
                    **own, **made, "ad_id": f"25{number}", "adset_id": adset_id,
                    "campaign_id": campaign_id, "creative_id": f"26{number}",
                    "name": f"{name} ad {n + 1}",
                })  # fmt: skip
        of_campaign[campaign.name] = tuple(ads)
    rows["audience"] = _audience(rng, [ad for ads_ in of_campaign.values() for ad in ads_])
    weights = {name: rng.dirichlet(np.full(len(ads_), 3.0)) for name, ads_ in of_campaign.items()}
    of_click = {
        click: of_campaign[click.campaign][
            int(rng.choice(len(of_campaign[click.campaign]), p=weights[click.campaign]))
        ]
        for click in trade.clicks
        if click.campaign in of_campaign
    }
    return Ads(rows, of_campaign, of_click)


def _audience(rng: Rng, ads: Sequence[str]) -> list[Row]:
    rows = []
    for ad in ads:
        women = 0.35 + 0.4 * rng.random()
        for age, share in _PEOPLE:
            for gender, part in (("female", women), ("male", 1 - women)):
                cell = json.dumps({"age": age, "gender": gender})
                rows.append({"ad_id": ad, "kind": "person", "cell": cell, "share": share * part})
        for platform, position, share in _PLACES:
            cell = json.dumps({
                "publisher_platform": platform, "platform_position": position,
                "impression_device": "iphone" if position == "stories" else "android_smartphone",
            })  # fmt: skip
            rows.append({"ad_id": ad, "kind": "placement", "cell": cell, "share": share})
    return rows


def claimed(rng: Rng, ads: Ads, trade: Trade, orders: Sequence[Order]) -> list[Row]:
    """What Meta will have claimed of the orders, rows of `ads.CLAIM_SCHEMA`."""
    shop = trade.advertiser
    every = ads.every
    lags, shares = zip(*ads_world.LAGS, strict=True)
    found: list[Row] = []

    def claim(ad: str, order: Order, kind: str, touch: str, after: int, known: bool = True) -> None:
        found.append({
            "advertiser_id": shop.advertiser_id, "ad_id": ad,
            "day": day_at(order.at, shop.account_zone),
            "order_id": order.order_id if known else None, "kind": kind, "touch": touch,
            "after_days": after, "lag_days": int(rng.choice(lags, p=shares)),
            "value": money(order.total),
        })  # fmt: skip

    for order in orders:
        if order.purchase is None:
            claim(every[int(rng.integers(len(every)))], order, "test", "click", 0)
            continue
        since = order.at - ads_world.CLICK_DAYS * DAY
        clicks = [one for one in order.purchase.before if one in ads.of_click and one.at > since]
        if clicks:
            after = (order.at - clicks[-1].at) // DAY
            ad = ads.of_click[clicks[-1]]
            claim(ad, order, "click", "click", after)
            if rng.random() < ads_world.TWICE:
                claim(ad, order, "twice", "click", after, known=False)
        elif rng.random() < ads_world.VIEW_SHARE:
            claim(every[int(rng.integers(len(every)))], order, "view", "view", 0)
    return found


def rows(
    rng: Rng, ads: Ads, trade: Trade, claims: Sequence[Mapping[str, Any]]
) -> dict[str, list[Row]]:
    """The rows of the account by table of `meta_world`, with delivery and purchases by day."""
    return {
        **ads.rows,
        "delivery": [*_clicked(rng, ads, trade), *_reached(rng, ads, trade)],
        "purchase": _purchases(claims),
    }


def _clicked(rng: Rng, ads: Ads, trade: Trade) -> list[Row]:
    """What ads delivered that brought visits: these cost there what the web says."""
    shop = trade.advertiser
    visits: dict[tuple[str, date], list[int]] = defaultdict(list)
    for click, ad in ads.of_click.items():
        visits[ad, day_at(click.at, shop.account_zone)].append(click.cost)
    found = []
    for number in range((trade.last - trade.first).days + 1):
        day = trade.first + timedelta(days=number)
        for ad in (ad for name, own in ads.of_campaign.items() if name != ads_world.REACH_ONLY
                   for ad in own):  # fmt: skip
            costs = visits.get((ad, day), [])
            lost = int(rng.poisson(ads_world.LOST_CLICKS * len(costs)))
            clicks = len(costs) + lost
            idle = ads_world.UNCLICKED * trade.size * rng.lognormal(0, 0.3)
            unclicked = 0 if costs else round(idle)
            rate = ads_world.CLICK_RATE * rng.lognormal(0, 0.15)
            shown = max(clicks, round(clicks / rate)) + unclicked
            spend = sum(costs) / 100 + unclicked * ads_world.COST_PER_THOUSAND / 10
            found.append({
                "ad_id": ad, "day": day.isoformat(), "impressions": shown,
                "reach": max(1, round(shown / rng.uniform(1.05, 1.5))),
                "clicks": clicks + int(rng.poisson(0.25 * clicks)), "link_clicks": clicks,
                "spend_cents": round(spend * shop.rate),
            })  # fmt: skip
    return found


def _reached(rng: Rng, ads: Ads, trade: Trade) -> list[Row]:
    """What the campaign delivered that nobody clicks."""
    (campaign,) = (one for one in ads_world.CAMPAIGNS if one.name == ads_world.REACH_ONLY)
    own = ads.of_campaign[campaign.name]
    found = []
    for number in range((trade.last - trade.first).days + 1):
        day = trade.first + timedelta(days=number)
        for ad in own:
            budget = campaign.daily_budget * trade.size
            spend = budget / len(own) * rng.lognormal(0, 0.1)
            shown = round(spend / ads_world.COST_PER_THOUSAND * 1_000)
            found.append({
                "ad_id": ad, "day": day.isoformat(), "impressions": shown,
                "reach": max(1, round(shown / 1.2)), "clicks": int(rng.poisson(shown / 5_000)),
                "link_clicks": 0,
                "spend_cents": round(spend * 100 * trade.advertiser.rate),
            })  # fmt: skip
    return found


def _purchases(claims: Sequence[Mapping[str, Any]]) -> list[Row]:
    summed: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for one in claims:
        key = (one["ad_id"], one["day"].isoformat(), one["touch"], one["after_days"],
               one["lag_days"])  # fmt: skip
        summed[key][0] += 1
        summed[key][1] += int(one["value"] * 100)
    names = ("ad_id", "day", "touch", "after_days", "lag_days")
    return [
        {**dict(zip(names, key, strict=True)), "purchases": count, "value_cents": cents}
        for key, (count, cents) in sorted(summed.items())
    ]
