"""Domains of shops: what is one, and where it answers. No other host is ever asked."""

import re
from collections.abc import Mapping

from dmp_assets.platform.base.errors import GivenError

API_VERSION = "2026-10"
"""The one version of the Admin API that is spoken."""
_SHOP = re.compile(r"[a-z0-9][a-z0-9-]*[a-z0-9]\.myshopify\.com", re.ASCII)
_SHOWN = 80


class ShopDomainError(GivenError):
    """What was given is no domain of a shop."""


def shop_domain(given: str) -> str:
    """The domain of a shop, in lower case. Raises ShopDomainError for anything else."""
    shop = given.strip().lower()
    if not _SHOP.fullmatch(shop):
        raise ShopDomainError(
            f"{given[:_SHOWN]!r} is no domain of a shop: it must be like some-shop.myshopify.com "
            "(the shop's own name, not that of its website)"
        )
    return shop


def shop_url(given: str) -> str:
    """A shop's address with `{shop}` in the place of its domain. Raises ValueError."""
    if given.count("{shop}") != 1 or not given.startswith(("https://", "http://")):
        raise ValueError(f"{given!r} is no address of shops, such as https://{{shop}}")
    return given.rstrip("/")


def shops_of(given: Mapping[str, str]) -> dict[str, str]:
    """Shop → advertiser, the domains checked. Raises ValueError."""
    found = {shop_domain(shop): advertiser.strip() for shop, advertiser in given.items()}
    if len(found) < len(given):
        raise ValueError("each shop is named once, whatever its letters' case: it is of one alone")
    if not all(found.values()):
        raise ValueError('each shop belongs to an advertiser, e.g. {"a.myshopify.com": "acme"}')
    return found


def address_of(template: str, shop: str) -> str:
    """Where a shop answers. Raises ShopDomainError."""
    return template.replace("{shop}", shop_domain(shop))
