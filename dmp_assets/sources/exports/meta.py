"""Exports of Meta's Ads Manager, by day: what their columns are.

Nothing here leads to a person: ads are shown to many.
"""

from dmp_assets.platform.cleaning.received import Kind, Received, ReceivedColumns
from dmp_assets.sources.exports.columns import Export
from dmp_assets.sources.exports.meta_headers import HEADERS


def _of(kind: Kind, about: str) -> Received:
    return Received(kind, about, personal=None)


NAMES = ("campaign_name", "adset_name", "ad_name")
IDS = ("campaign_id", "adset_id", "ad_id")
CELL = ("age", "gender", "publisher_platform", "platform_position", "country", "region")
"""By what a row may be broken down."""
SUMMED = (
    "spend", "impressions", "clicks", "inline_link_clicks", "purchases", "purchase_value",
    "website_purchases", "website_purchase_value",
)  # fmt: skip
"""What adds up over rows, as reach does not."""
COLUMNS: ReceivedColumns = {
    "account_id": _of("id", "The ad account, without `act_`."),
    "currency": _of("text", "Currency of the amounts (ISO 4217)."),
    "campaign_id": _of("id", "The campaign."),
    "campaign_name": _of("text", "What it is called."),
    "adset_id": _of("id", "The ad set."),
    "adset_name": _of("text", "What it is called."),
    "ad_id": _of("id", "The ad."),
    "ad_name": _of("text", "What it is called."),
    "day": _of("day", "Its day, of the account's time zone."),
    "reporting_starts": _of("day", "The first day that the row is of."),
    "reporting_ends": _of("day", "The last day that the row is of."),
    "age": _of("text", "Age group of those who saw it."),
    "gender": _of("text", "Their gender."),
    "publisher_platform": _of("text", "Where it was shown: facebook, instagram and the like."),
    "platform_position": _of("text", "In which place there."),
    "country": _of("text", "Country of those who saw it."),
    "region": _of("text", "Region of those who saw it."),
    "impressions": _of("count", "How often it was shown."),
    "reach": _of("count", "How many it was shown to, as Meta estimates."),
    "clicks": _of("count", "Clicks of any kind."),
    "inline_link_clicks": _of("count", "Clicks on links to the shop."),
    "spend": _of("amount", "What was spent, in main units of the currency."),
    "purchases": _of("count", "Purchases that Meta claims, wherever they were made."),
    "purchase_value": _of("amount", "What they were worth."),
    "purchase_roas": _of("amount", "That value by the spend."),
    "website_purchases": _of("count", "Those of them in the web's shop."),
    "website_purchase_value": _of("amount", "What these were worth."),
    "website_purchase_roas": _of("amount", "That value by the spend."),
    "attribution_setting": _of("text", "Which purchases count, as the ad set has it."),
    "objective": _of("text", "What the campaign is to bring."),
}
CLAIMS = {
    "purchases": ("purchases", "website_purchases"),
    "their value": ("purchase_value", "purchase_roas", "website_purchase_value",
                    "website_purchase_roas"),
}  # fmt: skip
"""What Meta claims → the columns of which a file has one at least, that it is known."""
META = Export(
    kind="meta",
    table="meta_exports",
    columns=COLUMNS,
    headers=HEADERS,
    needs=(("spend",), ("day", "reporting_starts"), (*NAMES, *IDS)),
    title="Ads Manager",
)
