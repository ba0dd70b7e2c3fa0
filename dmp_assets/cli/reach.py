"""Trying what is configured outside this machine, once each, as a run or the API would use it.

`probes(home)` gives what to try, what domains bring among it; see `platform/faces/probes.py`.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.base.addresses import is_loopback, place_of
from dmp_assets.platform.base.answers import why_unanswered
from dmp_assets.platform.faces.domain import known_domains
from dmp_assets.platform.faces.probes import (
    PATIENCE_SECONDS,
    USUAL_SECONDS,
    Probe,
    UnreachableError,
)
from dmp_assets.settings import Settings
from dmp_assets.sources.ihc.settings import IhcSettings
from dmp_assets.sources.shop.settings import ShopSettings
from dmp_assets.sources.web.settings import WebSettings

SPARK_SECONDS = 150.0  # a JVM, executors on every worker and four small jobs


def probes(home: Home) -> list[Probe]:
    """What this home's settings name outside; a sandbox home uses nothing of it."""
    from dmp_assets.platform.lake import spark_conf

    if home.profile == "sandbox":
        return []
    settings = home.settings()
    shop, web = settings.of(ShopSettings), settings.of(WebSettings)
    ihc = settings.of(IhcSettings)
    wanted: list[tuple[object, str, Callable[[], str]]] = [
        (shop.shop_database_url, "Shop", lambda: _shop(shop)),
        (web.web_database, "Web database", lambda: _web(web)),
        (settings.lakehouse_root, "Lakehouse root", lambda: _lakehouse(home, settings)),
        (settings.lakehouse_root, "Leases", lambda: _leases(settings)),
        (not spark_conf.runs_here(settings), "Spark", lambda: _spark(home, settings)),
        (settings.kafka_bootstrap_servers, "Kafka", lambda: _kafka(home)),
        (settings.slack_token, "Slack", lambda: _slack(settings)),
        (settings.smtp_host or settings.smtp_from, "Mail server", lambda: _mail(settings)),
        (ihc.ihc_api_key, "IHC API", lambda: _http(ihc.ihc_url, "DMP_IHC_URL")),
        (settings.oidc_issuer, "OpenID provider", lambda: _oidc(settings)),
        (settings.api_rate_limit_storage, "Rate limits", lambda: _limits(settings)),
        (settings.api_health_url, "API's health", lambda: _health(settings)),
    ]
    return [
        *(
            Probe(name, look, SPARK_SECONDS if name == "Spark" else USUAL_SECONDS)
            for configured, name, look in wanted
            if configured
        ),
        *(probe for domain in known_domains() for probe in domain.probes(home)),
    ]


def _shop(settings: ShopSettings) -> str:
    from dmp_assets.sources.shop import connection as shop_connection
    from dmp_assets.sources.shop.probe import checked_tables
    from dmp_assets.sources.shop.tables import TABLES

    url = settings.shop_database_url
    assert url is not None
    name = shop_connection.shop_name(url)
    with shop_connection.connect(url) as connection:
        columns = checked_tables(connection, name, settings.shop_schema)
    return f"{name}: {', '.join(table for table in TABLES if table in columns)}"


def _web(settings: WebSettings) -> str:
    from dmp_assets.sources.web.database import WebSource

    assert settings.web_database is not None
    source = WebSource(settings.web_database)
    problems = source.check()
    if problems:
        raise UnreachableError("; ".join(problems))
    return source.name


def _lakehouse(home: Home, settings: Settings) -> str:
    from dmp_assets.platform.lake.tables import Tables

    root, tables = settings.lakehouse_root, Tables.of(home, settings)
    assert root is not None
    if tables.s3 is not None:
        from dmp_assets.cli import s3_probe

        return s3_probe.look(tables, settings)
    if "://" not in root:
        nearest = next(p for p in (Path(root), *Path(root).absolute().parents) if p.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            raise UnreachableError(f"cannot write to {nearest} (DMP_LAKEHOUSE_ROOT)")
    try:
        return f"{root}: {len(tables.written())} tables"
    except (OSError, ValueError) as error:  # what pyarrow's file systems raise
        raise UnreachableError(
            f"{root} cannot be listed ({_first_line(error)}); look at DMP_LAKEHOUSE_ROOT and the "
            "credentials in the environment (AWS_…)"
        ) from error


def _leases(settings: Settings) -> str:
    from dmp_assets.platform.lake.lease_database import LeaseDatabase

    url = settings.lease_database_url or settings.store_url
    if url is None:
        return "kept in this home alone, so no other may write there; see DMP_LEASE_DATABASE_URL"
    database = LeaseDatabase(url)
    try:
        database.turn(lambda cursor: cursor.execute("SELECT 1"))
    finally:
        database.close()
    return f"kept at {database.where}, which answers"


def _spark(home: Home, settings: Settings) -> str:
    from dmp_assets.platform.lake import spark_probe

    found = spark_probe.found(settings, home.root / "spark" / "doctor")
    if found.problems:
        raise UnreachableError("; ".join(found.problems))
    return str(found)


def _kafka(home: Home) -> str:
    from dmp_assets.cli import stream
    from dmp_assets.platform.lake import java
    from dmp_assets.platform.stream import kafka

    kafka.library()
    java.jar_paths("kafka")
    return "; ".join(stream.state(home, one, None) for one in stream._streams().values())


def _slack(settings: Settings) -> str:
    from dmp_assets.platform.reporting import slack_probe

    return slack_probe.look(settings)


def _mail(settings: Settings) -> str:
    from dmp_assets.platform.reporting.email import reached

    return reached(settings, timeout=int(PATIENCE_SECONDS))


def _http(url: str, setting: str) -> str:
    import httpx

    try:
        local = is_loopback(httpx.URL(url).host)
        with httpx.Client(timeout=PATIENCE_SECONDS, trust_env=not local) as client:
            answer = client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnreachableError(
            f"no answer from {place_of(url)} ({why_unanswered(error)}); see {setting}"
        ) from error
    return f"{httpx.URL(url).host} answers (HTTP {answer.status_code}); the first run tries the key"


def _oidc(settings: Settings) -> str:
    import httpx

    url = f"{settings.oidc_issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        local = is_loopback(httpx.URL(url).host)
        with httpx.Client(timeout=PATIENCE_SECONDS, trust_env=not local) as client:
            answer = client.get(url).raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise UnreachableError(
            f"{url} gives no configuration ({why_unanswered(error)}); see DMP_OIDC_ISSUER"
        ) from error
    if not isinstance(answer, dict) or answer.get("issuer") != settings.oidc_issuer:
        raise UnreachableError(f"{url} is of another issuer than DMP_OIDC_ISSUER")
    if not settings.oidc_client_id:
        raise UnreachableError("DMP_OIDC_CLIENT_ID is empty: nobody can log in by it")
    return str(settings.oidc_issuer)


def _limits(settings: Settings) -> str:
    import limits.aio.storage
    import limits.errors
    import limits.storage

    storage = settings.api_rate_limit_storage
    assert isinstance(storage, SecretStr)
    try:
        found = limits.storage.storage_from_string(f"async+{storage.get_secret_value()}")
        assert isinstance(found, limits.aio.storage.Storage)  # as the API counts
        alive = asyncio.run(found.check())
    except (limits.errors.ConfigurationError, ImportError, ValueError, OSError) as error:
        raise UnreachableError(
            f"cannot be used ({type(error).__name__}); see DMP_API_RATE_LIMIT_STORAGE and, for "
            "Redis, the extra `redis`"
        ) from None  # the message may quote the URL with its password
    if not alive:
        at = place_of(storage.get_secret_value())
        raise UnreachableError(f"no answer from {at}; see DMP_API_RATE_LIMIT_STORAGE")
    return "answers"


def _health(settings: Settings) -> str:
    from dmp_assets.platform.automation import readiness

    answer = readiness.ask(settings.api_health_url)
    if not answer.ready:
        raise UnreachableError(f"not ready: {answer.cause}; see DMP_API_HEALTH_URL")
    return "ready"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
