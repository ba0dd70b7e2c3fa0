"""Trying Shopify: whether each shop that is connected takes the token that is stored for it.

The app's own credentials cannot be tried without a shop. No token is renewed: where each opens
once, looking would use it up.
"""

from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.connect.errors import ConnectError, NoAnswerError
from dmp_assets.platform.connect.http import Patience
from dmp_assets.platform.connect.keys import SealError
from dmp_assets.platform.connect.oauth import AsStored
from dmp_assets.platform.connect.own import looked_at
from dmp_assets.platform.connect.tokens import Connections, Health
from dmp_assets.platform.faces.probes import NotKnownError, UnreachableError
from dmp_assets.sources.shopify.access import SERVICE, missing_scopes, oauth_of
from dmp_assets.sources.shopify.graphql import ShopApi
from dmp_assets.sources.shopify.resource import shopify_lacks, shopify_settings
from dmp_assets.sources.shopify.settings import ShopifySettings
from dmp_assets.sources.shopify.shops import address_of

_HASTY = Patience(attempts=1, total=10.0)


def look(home: Home) -> str:
    """How the shops take us. Raises UnreachableError, and NotKnownError where there is no knowing.

    A shop that needs a new consent is the matter of another check.
    """
    settings = shopify_settings(home)
    if lacks := shopify_lacks(settings):
        raise UnreachableError(f"no shop is read without {' and '.join(lacks)}: set it")
    good, wrong, open_ = list[str](), list[str](), list[str]()
    with looked_at(home, SERVICE) as connections:
        held = {one.account: one for one in connections.health() if one.service == SERVICE}
        for shop, one in held.items():
            if one.state != "active":
                continue
            try:
                said = _shop(home, settings, connections, one)
            except ConnectError as error:
                at = "; see DMP_SHOPIFY_URL" if isinstance(error, NoAnswerError) else ""
                wrong.append(f"{error}{at}")
                continue
            (good if said is None else open_).append(shop if said is None else f"{shop}: {said}")
    by_consent = settings.shopify_access == "consent"
    how = "`dmp connect shopify {}`" if by_consent else "the next run does it"
    open_ += [
        f"{shop} is not connected yet: {how.format(shop)}"
        for shop in settings.shopify_shops
        if shop not in held
    ]
    if not settings.shopify_shops:
        open_.append("no shop is read: name shops and advertisers in DMP_SHOPIFY_SHOPS")
    if wrong:
        raise UnreachableError("; ".join(wrong))
    if open_:
        raise NotKnownError("; ".join(open_))
    return ", ".join(good)


def _shop(
    home: Home, settings: ShopifySettings, connections: Connections, one: Health
) -> str | None:
    """Why a shop's token could not be tried; None where it is taken. Raises ConnectError."""
    try:
        tokens = connections.stored(one.connection_id)
    except SealError:
        return "no key opens its token"  # which another check says
    if tokens is None or not tokens.is_valid(home.now()):
        return "its token has run out, and is renewed when it is used next"
    own = AsStored(oauth_of(settings, one.account), SecretStr(tokens.access))
    with ShopApi.of(
        one.account,
        address_of(settings.shopify_url, one.account),
        own,
        loopback_only=home.profile == "sandbox",
        patience=_HASTY,
    ) as api:
        missing = missing_scopes(settings, api)
    if missing:
        raise ConnectError(f"{one.account} does not grant {', '.join(missing)}", "scope missing")
    return None
