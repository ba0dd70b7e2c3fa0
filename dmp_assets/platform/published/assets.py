"""What the assets `published/…` have in common: version, skipping, what they tell."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from dmp_assets.platform.lake import fingerprint
from dmp_assets.platform.lake.code_places import code_at
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.storage_errors import in_words
from dmp_assets.platform.lake.tables import Tables, data_versions
from dmp_assets.platform.text.engine_errors import values_left_out


@dataclass(frozen=True)
class Published:
    """What was published: its rows, its version, and whether it was there already.

    problems: what of it could not be done, each of somebody's own, for the asset's `check`.
    """

    rows: int
    version: str
    unchanged: bool
    problems: Sequence[str] = ()


def made_of(tables: Tables, deps: Sequence[str], module: str, *more: str) -> tuple[str, Tables]:
    """What a publication is made of (every input's data version, code, and what else is said), and
    the tables, its inputs pinned to just that."""
    stands = tables.stands(deps)
    text = json.dumps([fingerprint.code(module), more, data_versions(stands)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20], tables.pinned(stands)


def published_asset(
    name: str,
    about: str,
    publish: Callable[[Lakehouse], Published | None],
    *,
    deps: Sequence[str],
    owner: str,
    kinds: set[str],
    check: tuple[str, str] | None = None,
) -> dg.AssetsDefinition:
    """The asset `published/<name>`; `publish` gives None where there is no operational store.

    check: name and description of one that warns of what is among the problems.
    """
    key = ["published", name]
    checks = [dg.AssetCheckSpec(check[0], asset=key, description=check[1])] if check else []

    @dg.multi_asset(
        name="__".join(key),
        specs=[
            dg.AssetSpec(
                key,
                deps=[dg.AssetKey(dep.split("/")) for dep in deps],
                description=about,
                owners=[owner],
                kinds=kinds,
                metadata=code_at(publish),
                skippable=True,
            )
        ],
        check_specs=checks,
    )
    def asset(context: dg.AssetExecutionContext, lakehouse: Lakehouse) -> Any:
        with values_left_out(), in_words(lakehouse.tables.root):
            done = publish(lakehouse)
        if done is None:
            context.log.info("not published: this home has no operational store (`dmp migrate`)")
            yield from (_checked(spec, ()) for spec in checks)
            return
        for problem in done.problems:
            context.log.warning(problem)
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                "dagster/row_count": done.rows,
                "unchanged": done.unchanged,
                **({"problems": len(done.problems)} if checks else {}),
            },
            data_version=dg.DataVersion(done.version),
        )
        yield from (_checked(spec, done.problems) for spec in checks)

    return asset


def _checked(spec: dg.AssetCheckSpec, problems: Sequence[str]) -> dg.AssetCheckResult:
    cause = {"cause": "; ".join(dict.fromkeys(problems))} if problems else {}
    return dg.AssetCheckResult(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"rule": spec.description or "", "offending": len(problems), **cause},
    )
