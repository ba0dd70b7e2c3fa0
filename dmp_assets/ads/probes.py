"""What `dmp doctor` tries of ad performance: Meta, Shopify, exchange rates, channels of notices."""

from collections.abc import Sequence

from dmp_assets.ads.settings import AdsSettings
from dmp_assets.home import Home
from dmp_assets.platform.faces.probes import Probe


def probes(home: Home) -> Sequence[Probe]:
    """What is configured, in part or whole; libraries are imported by what is tried."""
    settings = home.settings()
    own = settings.of(AdsSettings)
    meta = (own.meta_app_id, own.meta_app_secret, own.meta_system_user_token)
    shopify = (own.shopify_client_id, own.shopify_client_secret, own.shopify_shops)
    channels = settings.slack_token and own.ads_slack_channels
    wanted = (
        (any(meta), Probe("Meta", lambda: _meta(home))),
        (any(shopify), Probe("Shopify", lambda: _shopify(home))),
        (own.ads_exchange_rates, Probe("Exchange rates", lambda: _rates(own))),
        (channels, Probe("Channels of notices", lambda: _channels(home))),
    )
    return [probe for is_configured, probe in wanted if is_configured]


def _meta(home: Home) -> str:
    from dmp_assets.sources.meta import probe

    return probe.look(home)


def _shopify(home: Home) -> str:
    from dmp_assets.sources.shopify import probe

    return probe.look(home)


def _rates(settings: AdsSettings) -> str:
    from dmp_assets.ads import rates

    assert settings.ads_exchange_rates is not None
    return rates.look(settings.ads_exchange_rates)


def _channels(home: Home) -> str:
    from dmp_assets.platform.reporting import slack_probe

    settings = home.settings()
    named = settings.of(AdsSettings).ads_slack_channels
    return slack_probe.channels(settings, "DMP_ADS_SLACK_CHANNELS", named)
