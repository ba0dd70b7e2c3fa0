"""Which web database and IHC service a home uses."""

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.compute as pc

from dmp_assets.home import Home
from dmp_assets.platform.lake.once import once_a_run
from dmp_assets.settings import Settings
from dmp_assets.sources.ihc.client import IhcConfig
from dmp_assets.sources.ihc.journeys import Redistribution
from dmp_assets.sources.ihc.settings import IhcSettings
from dmp_assets.sources.web.database import WebSource, WebState
from dmp_assets.sources.web.settings import WebSettings


def web_source(home: Home) -> WebSource | None:
    """The home's web database; None when none is configured."""
    configured = home.settings().of(WebSettings).web_database
    return WebSource(configured.get_secret_value()) if configured else None


@once_a_run
def _state_in_run(run_id: str, root: Path) -> WebState | None:
    source = web_source(Home(root))
    return source.probe() if source else None


def state_in_run(run_id: str, home: Home) -> WebState | None:
    """The web database as this run sees it, looked at once per run; None without one.

    Raises WebError for a database that cannot be read or has another shape.
    """
    return _state_in_run(run_id, home.root)


def conversion_days(source: WebSource) -> tuple[date, date] | None:
    """First and last day (included) that its conversions name; None without a readable one.

    Days after today are left out: they are mistakes.
    """
    _, batches = source.read_batches("conversions")
    today = datetime.now(UTC).date().isoformat()
    found: list[str] = []
    for batch in batches:
        days = pc.utf8_slice_codeunits(batch.column("conv_date"), 0, 10)
        readable = pc.and_(
            pc.match_substring_regex(days, r"^(19|20)\d\d-(0[1-9]|1[0-2])-([0-2]\d|3[01])$"),
            pc.less_equal(days, today),
        )
        bounds = pc.min_max(days.filter(readable)).as_py()
        found += [day for day in bounds.values() if day]
    return (date.fromisoformat(min(found)), date.fromisoformat(max(found))) if found else None


def ihc_config(settings: Settings) -> IhcConfig | None:
    """How to reach the IHC service; None without a key. Raises IhcError for wrong settings."""
    own = settings.of(IhcSettings)
    if own.ihc_api_key is None:
        return None
    given = own.ihc_redistribution
    return IhcConfig(
        url=own.ihc_url,
        api_key=own.ihc_api_key,
        conversion_type=own.ihc_conversion_type,
        max_journeys=own.ihc_max_journeys,
        max_sessions=own.ihc_max_sessions,
        concurrency=own.ihc_concurrency,
        redistribution=Redistribution.model_validate(given) if given else None,
    )
