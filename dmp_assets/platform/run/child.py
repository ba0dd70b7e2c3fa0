"""The process of a run (`python -m dmp_assets.platform.run.child`) makes the assets it is told of.

It leaves its events and logs in the home's Dagster instance, where its parent reads them.
"""

import os
import re
import socket
import sys
import threading
from collections.abc import Collection, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from dmp_assets import domains
from dmp_assets.home import Home
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.base.leaving import run_and_leave
from dmp_assets.platform.faces.domain import known_domains
from dmp_assets.platform.lake import leases, remembered
from dmp_assets.platform.run.ends import DOMAINS_TAG, HOST_TAG, PID_TAG
from dmp_assets.platform.run.process import REFUSAL, REFUSED, request
from dmp_assets.platform.text.spelling import meant


def _execute(request: dict[str, Any], *, warm: bool = False) -> int:
    """The child: run the assets in this process. Exit code 0 only when all went well.

    `warm`: Spark has been started.
    """

    from dmp_assets.definitions import defs
    from dmp_assets.platform.faces import lake
    from dmp_assets.platform.reporting import renderer
    from dmp_assets.platform.run import history
    from dmp_assets.platform.run.executor import run_job
    from dmp_assets.settings import project_dir

    home = Home.current()
    remembered.use(home)
    if request["shop"] and not warm:
        threading.Thread(target=_warm_up, args=(home,), daemon=True).start()
    repository = defs.get_repository_def()
    job = repository.get_implicit_global_asset_job_def()
    graph = repository.asset_graph
    _check_limits(home.settings().source_limits, graph)
    keys = _selected(request["select"], graph)
    skipped = {
        key
        for domain in known_domains()
        if not domain.is_configured(home)
        for key in lake.of(domain.name).resolve(graph)
    }
    concerned = {graph.get(key).tags[lake.TAG] for key in keys}
    keys = keys - skipped or keys  # unless nothing else is asked for
    names = ["/".join(key.path) for key in keys]
    daily = {graph.get(key).tags[lake.TAG] for key in keys if graph.get(key).is_partitioned}
    window = {"start": request["start"], "end": request["end"]}
    with (
        history.opened(home.dagster) as instance,
        leases.taken(home, request["run_id"], names, wait=request["wait"]),
        renderer.kept(project_dir(), home) as engine,
    ):
        if not home.reports.exists() and any(key.path[0] == "reports" for key in keys):
            engine.start()  # all reports will be rendered: their kernel imports beside other work
        result = run_job(
            job,
            run_id=request["run_id"],
            instance=instance,
            assets=keys,
            tags={
                PID_TAG: str(os.getpid()),
                DOMAINS_TAG: ",".join(sorted(concerned)),
                HOST_TAG: socket.gethostname(),
                "dmp/trigger": "cli",
                **_partition_tags(home, daily, request["start"], request["end"]),
            },
            run_config={
                "resources": {"window": {"config": window}},
                "loggers": {"console": {"config": {"log_level": "WARNING"}}},
            },
        )
    if not result.success:
        _tell_of_failure(home, result, set(names), window)
    return 0 if result.success else 1


def _check_limits(limits: Collection[str], graph: Any) -> None:
    """Raises UserError for a limit of a source that no table reads: nothing would be limited."""
    if not limits:
        return
    known = {pool for key in graph.materializable_asset_keys for pool in graph.get(key).pools}
    for name in limits:
        if name not in known:
            raise UserError(
                f"DMP_SOURCE_LIMITS names {name}, from which no table is read; sources are "
                f"{', '.join(sorted(known))}{meant(name, known)}"
            )


def _partition_tags(home: Home, of: Collection[str], start: str, end: str) -> dict[str, str]:
    """The range of daily partitions; a run has one, so only one of the domains may have any."""
    found = [
        domain.partition_tags(home, start, end)
        for domain in known_domains()
        if domain.name in of and domain.partition_tags
    ]
    if len(found) > 1 and any(tags != found[0] for tags in found):
        raise UserError(f"run them one after the other: the days of {', '.join(sorted(of))} differ")
    return dict(found[0]) if found else {}


def _selected(asked: str, graph: Any) -> Any:
    """The keys of the assets that are asked for. Raises UserError when there are none."""
    import dagster as dg
    from dagster._core.definitions.asset_selection import DagsterInvalidAssetSelectionError

    groups = sorted({graph.get(key).group_name for key in graph.materializable_asset_keys})
    one = "/".join(min(graph.materializable_asset_keys).path)
    try:
        selection = dg.AssetSelection.from_string(asked)
    except DagsterInvalidAssetSelectionError as error:
        raise UserError(
            f"--select {asked!r} cannot be read; write it as `group:{groups[0]}`, "
            f'`key:"{one}"` or `group:{groups[0]} or group:{groups[-1]}`'
        ) from error
    # A table and its quarantine are written together: naming one of them means both.
    keys = selection.required_multi_asset_neighbors().resolve(graph)
    if not keys:
        from dmp_assets.platform.faces.lake import lakes

        if empty := [
            name for name in domains.DOMAINS if name not in lakes() and _names(asked, name)
        ]:
            raise UserError(
                f"--select {asked!r} names {', '.join(empty)}, which makes no asset: there is no "
                f"dmp_assets/{empty[0]}/lake.py"
            )
        raise UserError(
            f"no asset matches --select {asked!r}; there are the groups {', '.join(groups)}, "
            f'a layer as `key:"{one.partition("/")[0]}/*"`, and single assets as `key:"{one}"`'
        )
    return keys


def _names(asked: str, domain: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(domain)}(?!\w)", asked) is not None


def _tell_of_failure(home: Home, result: Any, wanted: set[str], window: dict[str, str]) -> None:
    """A failed run skips its deliveries; a message must not be silently absent."""
    from dmp_assets.platform.lake.window import Window
    from dmp_assets.platform.reporting.report_assets import deliver_failure, in_range
    from dmp_assets.platform.reporting.slack import SlackResource

    failed = [
        (event.step_key or "?").replace("__", "/", 1)
        for event in result.all_events
        if event.is_step_failure
    ]
    made = {"/".join(event.asset_key.path) for event in result.get_asset_materialization_events()}
    deliver_failure(home, SlackResource(), failed, wanted - made, in_range(Window(**window)))


def _warm_up(home: Home) -> None:
    """Start Spark beside the imports of this process when a domain's source has news.

    Only a head start: whatever goes wrong here is told by the asset that needs it.
    """
    from dmp_assets.platform.lake import spark

    settings = home.settings()
    if settings.spark_remote is None and (
        rows := max(domain.rows_to_read(home) for domain in known_domains())
    ):
        spark.start_ahead(settings, home.root / "spark", rows)


def _main(arguments: Sequence[str]) -> int:
    first = [int(rows) for rows in arguments[1:]]  # of a first run, whose Spark is surely wanted
    if first:
        from dmp_assets.platform.lake import spark

        home = Home.current()
        told = home.settings(), home.root / "spark", first[0]
        threading.Thread(target=spark.start_ahead, args=told, daemon=True).start()
    import_module("dmp_assets.definitions")  # what takes long, before it is wanted
    wanted = request()
    try:
        return _execute(wanted, warm=bool(first)) if wanted else 0
    except UserError as error:  # for whoever asked
        print(f"\n{REFUSAL}{' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return REFUSED


if __name__ == "__main__":
    run_and_leave(partial(_main, sys.argv[1:]))
