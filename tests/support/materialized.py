"""Log tables that are made here and now, and what their checks say."""

from typing import Any

import dagster as dg

from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.window import Window


def materialized(*assets: Any, succeeds: bool = True) -> dg.ExecuteInProcessResult:
    """Make the assets in this process, and see that it went as it should."""
    result = dg.materialize(
        list(assets),
        instance=dg.DagsterInstance.ephemeral(),
        resources={"lakehouse": Lakehouse(), "window": Window()},
        raise_on_error=False,
    )
    assert result.success == succeeds
    return result


def failed_checks(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Per asset and failed check, its cause."""
    return {
        f"{e.asset_key.path[-1]} {e.check_name}": e.metadata["cause"].value
        for e in result.get_asset_check_evaluations()
        if not e.passed
    }
