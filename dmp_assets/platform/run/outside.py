"""What a home needs beside itself while something works on it, and what it lacks."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

from dmp_assets import domains
from dmp_assets.home import Home
from dmp_assets.platform.faces.domain import known_domains
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres
from dmp_assets.platform.store import where


@contextmanager
def outside_systems(home: Home, *, sources: bool = True) -> Iterator[None]:
    """Start what the home needs beside itself and leave it as found: the embedded PostgreSQL
    when it is a source of some domain (and `sources` are wanted) or the store, and a sandbox home's
    stand-ins."""
    with ExitStack() as stack:
        if home.profile == "sandbox":
            from dmp_assets.demo.sandbox.server import Sandbox

            stack.enter_context(Sandbox(home).running())
        is_source = sources and any(domain.reads_embedded(home) for domain in known_domains())
        if is_source or where.is_embedded(home):
            stack.enter_context(EmbeddedPostgres(home).running())
        yield


def missing_parts(home: Home, of: Collection[str] = domains.DOMAINS) -> list[str]:
    """What is not configured and therefore skipped, in words; of the domains, of these alone."""
    settings = home.settings()
    missing = []
    if settings.slack_token is None and home.profile == "live":
        missing.append("Slack (no DMP_SLACK_TOKEN): messages wait in the outbox")
    for domain in known_domains():
        if domain.name in of:
            missing += domain.lacks(home)
    if not where.is_configured(home):
        missing.append("the operational store (`dmp migrate`): nothing is published to the API")
    if settings.public_url is None:
        missing.append("DMP_PUBLIC_URL: messages carry files but no link")
    return missing
