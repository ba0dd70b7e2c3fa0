"""The stand-ins for the services that ad performance reads."""

from dmp_assets.demo.sandbox.meta import MetaSandbox
from dmp_assets.demo.sandbox.shopify import ShopifySandbox

SERVICES = (MetaSandbox, ShopifySandbox)
