"""Exports as people give them: files of Ads Manager and of Shopify, and a home that takes them."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from dmp_assets.home import Home
from dmp_assets.sources.exports.columns import Kind
from dmp_assets.sources.exports.taking import Account, Said, Taken, take

REAL = Path("/work/shared/data/ads/meta_split_test.csv")
NOBODY: Mapping[Kind, Sequence[Account]] = {"meta": [], "shopify": []}
AD = ("Campaign name", "Ad set name", "Ad name", "Day", "Amount spent (EUR)", "Impressions")
ORDER = (
    "Name", "Email", "Financial Status", "Currency", "Subtotal", "Shipping", "Taxes", "Total",
    "Discount Code", "Discount Amount", "Created at", "Lineitem quantity", "Lineitem name",
    "Lineitem price", "Lineitem sku", "Cancelled at", "Payment Method", "Refunded Amount", "Id",
    "Tags", "Source", "Lineitem discount", "Billing Name", "Phone",
)  # fmt: skip


REAL_COLUMNS = (
    "Campaign name", "Ad Set Name", "Ads", "Ad name", "Objective", "Day", "Gender", "Age",
    "Delivery status", "Delivery level", "Attribution setting", "Result type", "Results", "Reach",
    "Frequency", "Cost per result", "Amount spent (USD)", "Impressions", "Link clicks",
    "Clicks (all)", "Purchase ROAS (return on ad spend)", "Purchases", "Website purchases",
    "Objective", "Reporting starts", "Reporting ends",
)  # fmt: skip


def like_the_real_one(path: Path) -> Path:
    """A file of the real one's columns: byte order mark, one twice, sums parted into cells."""
    rows = []
    for number in range(120):
        day = f"2024-11-{1 + number % 10:02}"
        name, shown = f"Ad {number % 7} (copy) - ü", number * 37 % 90
        rows.append([
            "A/B testing", f"Group {'AB'[number % 7 % 2]}", name, name, "LINK_CLICKS", day,
            ("female", "male", "unknown")[number // 10 % 3], ("18-24", "65+")[number // 30 % 2],
            "not_delivering", "ad", "7-day click or 1-day view", "", "", str(shown), "1.0702",
            "", f"{shown / 83:.8f}".rstrip("0").rstrip("."), str(shown), "", str(shown // 9), "",
            "", "", "LINK_CLICKS", day, day,
        ])  # fmt: skip
    return written(path, REAL_COLUMNS, rows, encoding="utf-8-sig")


def ad(day: str, spend: str = "12.50", impressions: str = "100", name: str = "Ad 1") -> list[str]:
    """A row of an ad of one campaign and ad set."""
    return ["Spring", "Set A", name, day, spend, impressions]


def order(name: str, **values: str) -> list[str]:
    """The first line of an order; a further one has nothing but its name, address and line."""
    usual = {
        "Name": name, "Email": "buyer@example.com", "Financial Status": "paid", "Currency": "EUR",
        "Subtotal": "20.00", "Shipping": "5.00", "Taxes": "0.00", "Total": "25.00",
        "Discount Amount": "0.00", "Created at": "2024-03-05 10:00:00 +0100",
        "Lineitem quantity": "2", "Lineitem name": "Mug", "Lineitem price": "10.00",
        "Lineitem sku": "MUG", "Payment Method": "Shopify Payments", "Refunded Amount": "0.00",
        "Source": "web", "Lineitem discount": "0.00", "Billing Name": "Ada Buyer",
        "Phone": "+4915112345678",
    }  # fmt: skip
    given = usual | {key.replace("_", " "): value for key, value in values.items()}
    return [given.get(header, "") for header in ORDER]


def line(name: str, quantity: str, price: str, sku: str = "CUP") -> list[str]:
    """A further line of an order."""
    given = {
        "Name": name, "Email": "buyer@example.com", "Lineitem quantity": quantity,
        "Lineitem name": sku, "Lineitem price": price, "Lineitem sku": sku,
        "Lineitem discount": "0.00",
    }  # fmt: skip
    return [given.get(header, "") for header in ORDER]


def written(
    path: Path,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    delimiter: str = ",",
    encoding: str = "utf-8",
) -> Path:
    """A file of these rows."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([header, *rows])
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def taken(home: Home, *files: Path, known: Mapping[Kind, Sequence[Account]] = NOBODY,
          **said: object) -> list[Taken]:  # fmt: skip
    """What comes of giving these files for the advertiser acme."""
    return take(home, files, Said("acme", **said), known)  # type: ignore[arg-type]
