"""`dmp stream`: the service's logs by Kafka: landing, sending, and how it stands."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import structlog
import typer

from dmp_assets.cli.shared import explained, out
from dmp_assets.home import Home
from dmp_assets.platform.base.errors import GivenError
from dmp_assets.platform.lake import leases
from dmp_assets.platform.lake.lease_holders import BusyError
from dmp_assets.platform.store import where
from dmp_assets.platform.stream import kafka
from dmp_assets.platform.stream.kafka import StreamError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dmp_assets.platform.lake.lakehouse import Lakehouse
    from dmp_assets.platform.stream.stream import Stream

log = structlog.get_logger("dmp.stream")
stream = typer.Typer(
    help="Kafka as the transport of the service's logs; without a command: land what comes.",
    invoke_without_command=True,
)
Named = Annotated[str | None, typer.Argument(help="A stream; without it all of them.")]


@stream.callback()
def land(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Land what is there, and end.")] = False,
    every: Annotated[
        float, typer.Option("--every", min=1, help="Seconds between two looks.")
    ] = 30.0,
    accept_loss: Annotated[
        bool,
        typer.Option("--accept-loss", help="Go on without records that Kafka has deleted."),
    ] = False,
) -> None:
    """Land what comes by Kafka, until it is stopped; beside runs, which it lets go first."""
    if context.invoked_subcommand is not None:
        return
    with explained():
        if accept_loss and not once:
            raise GivenError("--accept-loss is for one round: add --once")
        home = _home()
        with _with_store(home):
            from dmp_assets.platform.lake.lakehouse import Lakehouse

            lakehouse = Lakehouse()
            while True:
                for one in _streams().values():
                    _round(home, lakehouse, one, once=once, accept_loss=accept_loss)
                if once:
                    break
                time.sleep(every)


def _round(
    home: Home, lakehouse: "Lakehouse", one: "Stream", *, once: bool, accept_loss: bool
) -> None:
    """Land what is new of one stream. Where nobody waits for it, what is in the way is told."""
    from dmp_assets.platform.stream import continuous

    try:
        with leases.taken(home, f"stream-{uuid4()}", [one.table, one.dead_letters], wait=once):
            landed = continuous.land(lakehouse, one, log=log, accept_loss=accept_loss)
    except (StreamError, BusyError) as error:
        if once:
            raise
        out.print(f"{one.name}: {error}", markup=False, highlight=False, soft_wrap=True)
        return
    if once or landed.records:
        out.print(
            f"{one.name}: {landed.records:,} records, {landed.rows:,} new rows, "
            f"{landed.dead_letters:,} new dead letters; {landed.lag:,} wait",
            highlight=False,
            soft_wrap=True,
        )


@stream.command()
def status() -> None:
    """How far each log was sent, and has landed."""
    with explained():
        home = _home()
        with _with_store(home), _store(home) as store:
            for one in _streams().values():
                out.print(state(home, one, store), markup=False, highlight=False, soft_wrap=True)


@stream.command()
def topics() -> None:
    """Make the topics that are not there, as the settings have them."""
    with explained():
        settings = _home().settings()
        broker = kafka.Broker(settings)
        for one in _streams().values():
            name = one.topic(settings.kafka_topic_prefix)
            is_new = broker.make(name, settings)
            out.print(f"{name}: {'made' if is_new else 'there already'}", highlight=False)


@stream.command()
def send(name: Named = None) -> None:
    """Send what waits in the store, as the service does while it runs."""
    with explained():
        home = _home()
        with _with_store(home), _store(home) as store:
            from dmp_assets.platform.stream.sender import Sender

            wanted = _named(name)
            sender = Sender(home.settings(), _needed(store), wanted)
            for one in wanted:
                out.print(f"{one.name}: {sender.send(one):,} records sent", highlight=False)


@stream.command()
def resend(name: Annotated[str, typer.Argument(help="A stream.")]) -> None:
    """Have the service send a log again from the first row that the store holds."""
    with explained():
        home = _home()
        (one,) = _named(name)
        with _with_store(home), _store(home) as store:
            from dmp_assets.platform.stream import outbox

            settings = home.settings()
            topic = kafka.Broker(settings).topic(one.topic(settings.kafka_topic_prefix))
            with _needed(store).begin() as connection:
                rows = outbox.rewind(connection, one, topic.id)
            out.print(f"{one.name}: {rows:,} rows are sent again by the service, or `dmp stream "
                      "send`; those that are in the lakehouse stay once", highlight=False,
                      soft_wrap=True)  # fmt: skip


def state(home: Home, one: "Stream", store: "sa.Engine | None") -> str:
    """One line on a stream: what waits to be sent and to land. Raises StreamError."""
    from dmp_assets.platform.lake.tables import Tables
    from dmp_assets.platform.stream import landing, outbox

    settings = home.settings()
    topic, extent = kafka.topic_of(settings, one.topic(settings.kafka_topic_prefix))
    tables = Tables.of(home, settings)
    known = landing.noted(tables, one, topic) if tables.exists(one.table) else {}
    told = [f"{landing.lag(extent, known):,} records wait to land"]
    if lost := landing.lost(extent, known):
        told.append(f"{lost:,} were deleted before they landed")
    if tables.exists(one.dead_letters):
        told.append(f"{int(tables.delta(one.dead_letters).count()):,} dead letters")
    if store is not None:
        with store.connect() as connection:
            rows = outbox.waiting(connection, one, topic.id).rows
        told.insert(0, f"{rows:,} rows wait to be sent")
    return f"{one.name} ({topic.name}, {topic.partitions} partitions): {', '.join(told)}"


def _home() -> Home:
    home = Home.current().prepare()
    if not kafka.is_configured(home.settings()):
        why = " (a sandbox home reaches nothing outside)" if home.profile == "sandbox" else ""
        raise StreamError(
            f"DMP_KAFKA_BOOTSTRAP_SERVERS is not set{why}: runs read the logs from the store"
        )
    kafka.library()
    return home


def _streams() -> "dict[str, Stream]":
    from dmp_assets.platform.faces.service import services

    return {one.name: one for face in services().values() for one in face.streams}


def _named(name: str | None) -> "list[Stream]":
    known = _streams()
    if name is not None and name not in known:
        raise GivenError(f"there is no stream {name}; there are {', '.join(known)}")
    return [known[name]] if name else list(known.values())


@contextmanager
def _with_store(home: Home) -> Iterator[None]:
    from dmp_assets.platform.run.outside import outside_systems

    with outside_systems(home, sources=False):
        yield


@contextmanager
def _store(home: Home) -> "Iterator[sa.Engine | None]":
    """The home's store; None where it has none."""
    if not where.is_configured(home):
        yield None
        return
    from dmp_assets.platform.store import database

    with database.opened(where.store_url(home)) as store:
        yield store


def _needed(store: "sa.Engine | None") -> "sa.Engine":
    if store is None:
        raise StreamError("this home has no operational store to send from: `dmp migrate`")
    return store
