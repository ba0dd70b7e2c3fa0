"""The stand-in for the service that attribution asks."""

from dmp_assets.demo.sandbox.ihc import IhcSandbox

SERVICES = (IhcSandbox,)
