"""The simulated web business: the sessions, conversions and costs of the simulated shop's people.

`generate_web` writes

    <out>/web.sqlite                    session_sources, conversions, session_costs: what a web
                                        analytics database holds, with its dirt
    <out>/late/<table>.csv              rows of old days that arrive later, to be appended
    <out>/truth/channel_effects.parquet channel_name, incremental_conversions, incremental_revenue
                                        (EUR), expected_conversions, exposures, cost (EUR)
    <out>/truth/web_ledger.parquet      table, rule, key (the id that the row had), row_number
                                        (rowid; null: late), detail: one row per dirty thing

`incremental_*` is what happened less what happens in the same simulation without the channel (see
`web_journeys`), before any dirt; `expected_conversions` is the same over the chances instead of
the outcomes. Truth and ledger are for tests and reports about the product; no product code reads
them. The same arguments give the same bytes. Times are UTC, money is EUR; only paid channels have
costs.
"""

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dmp_assets.demo.business import shop_world, web_dirt
from dmp_assets.demo.business.shop_text import DAY, Bools, Ints, Rng, digits, join, pool, uuids
from dmp_assets.demo.business.web_journeys import People, World, outcome, probability, simulate
from dmp_assets.demo.business.web_world import CAMPAIGNS, CHANNEL_NAMES, CHANNELS
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.base.errors import GivenError

CLICK_FACTOR = 12  # how much dearer a click is than a view, on channels that sell both
_EPOCH = date(1970, 1, 1).toordinal()
_STREAMS = ("world", "ids", "costs", "engagement", "dirt")
_WRITE_ROWS = 100_000
_TYPES = {
    "holder_engagement": "INTEGER",
    "closer_engagement": "INTEGER",
    "impression_interaction": "INTEGER",
    "revenue": "REAL",
    "cost": "REAL",
}


@dataclass(frozen=True)
class Summary:
    """What was written: rows per table and late file, dirty rows per `table.rule`."""

    database: Path
    late: Path
    truth: Path
    first_day: date
    last_day: date
    people: int
    rows: dict[str, int]
    dirty: dict[str, int]


@dataclass(frozen=True)
class Business:
    """The world between the first and the last day: which touchpoints and purchases are seen.

    `touches` and `purchases` are rows of the world, in order of time; `cost` is in 1/10000 EUR of
    every touchpoint of the world.
    """

    world: World
    ids: pa.Array
    bought: Bools
    touches: Ints
    purchases: Ints
    cost: Ints
    start: int
    stop: int


def generate_web(
    out_dir: Path,
    shop_export: Path,
    *,
    seed: int,
    end: date,
    days: int = 90,
    dirt: float = 1.0,
    without: str | None = None,
) -> Summary:
    """Write the last `days` up to `end` (UTC) of the people in the simulated shop's export.

    `dirt` multiplies the share of dirty rows (0: a clean database). `without` leaves a channel
    out: what the same people would have done had it not been there.
    Raises ValueError for a negative `dirt`, less than one day or an unknown channel.
    """
    if dirt < 0 or days < 1:
        raise GivenError(f"dirt cannot be negative, days at least one: {dirt}, {days}")
    if without is not None and without not in CHANNEL_NAMES:
        raise GivenError(f"no channel {without}; there are {', '.join(CHANNEL_NAMES)}")
    business, tables, soiling = _simulated(Path(shop_export), seed, end, days, without)
    soiled = _soil(soiling, business, tables, dirt)

    out = Path(out_dir)
    late, truth = out / "late", out / "truth"
    for folder in (late, truth):
        folder.mkdir(parents=True, exist_ok=True)
    _write_sqlite(out / "web.sqlite", {name: made.table for name, made in soiled.items()})
    for name, made in soiled.items():
        _write_csv(made.late_table, late / f"{name}.csv")
    ledger = pa.concat_tables([made.ledger for made in soiled.values()])
    pq.write_table(_effects(business), truth / "channel_effects.parquet")
    pq.write_table(ledger, truth / "web_ledger.parquet")
    tally = Counter(
        f"{table}.{rule}"
        for table, rule in zip(ledger["table"].to_pylist(), ledger["rule"].to_pylist(), strict=True)
    )
    return Summary(
        database=out / "web.sqlite",
        late=late,
        truth=truth,
        first_day=end - timedelta(days=days - 1),
        last_day=end,
        people=len(business.ids),
        rows={name: len(made.table) for name, made in soiled.items()}
        | {f"late/{name}": len(made.late_table) for name, made in soiled.items()},
        dirty=dict(sorted(tally.items())),
    )


def clean(
    shop_export: Path, *, seed: int, end: date, days: int = 90
) -> tuple[Business, dict[str, pa.Table]]:
    """What `generate_web` soils and writes for the same arguments: the business and its tables."""
    business, tables, _ = _simulated(Path(shop_export), seed, end, days, None)
    return business, tables


def _simulated(
    export: Path, seed: int, end: date, days: int, without: str | None
) -> tuple[Business, dict[str, pa.Table], Rng]:
    last_day = end.toordinal() - _EPOCH
    first_day = last_day - days + 1
    streams = {
        name: np.random.default_rng([seed, last_day, days, number])
        for number, name in enumerate(_STREAMS)
    }
    ids, people = _people(export)
    world = simulate(streams["world"], people, first_day, last_day)
    cost = _costs(streams["costs"], world)
    business = _seen(world, ids, cost, first_day * DAY, (last_day + 1) * DAY, without)
    return business, _tables(streams["ids"], streams["engagement"], business), streams["dirt"]


def _people(export: Path) -> tuple[pa.Array, People]:
    """Ids and people of the export, each once; who abuses is known from the shop's truth."""
    truth = export.parent / "truth" / "users.parquet"
    abusers = f"SELECT user_id FROM '{truth}' WHERE is_abuser" if truth.is_file() else "SELECT NULL"
    with duckdb.connect() as connection:
        rows = connection.sql(
            f"SELECT user_id, min(timezone) AS zone, user_id IN ({abusers}) AS abuser "
            f"FROM read_csv('{export / 'users.csv'}', all_varchar = true, header = true) "
            "WHERE trim(user_id) <> '' GROUP BY user_id ORDER BY user_id"
        ).to_arrow_table()
    zones = tuple(sorted({city.timezone for city in shop_world.CITIES}))
    zone = pc.fill_null(pc.index_in(rows["zone"], pa.array(zones)), zones.index("Europe/Berlin"))
    abuser = pc.fill_null(rows["abuser"], False)
    ids = rows["user_id"].combine_chunks()
    return ids, People(zone.to_numpy().astype(np.int64), zones, abuser.to_numpy())


def _costs(rng: Rng, world: World) -> Ints:
    price = np.array([channel.price for channel in CHANNELS])[world.channel]
    sells_views = np.array([channel.views > 0 for channel in CHANNELS])[world.channel]
    price = price * np.where(sells_views & ~world.is_view, CLICK_FACTOR, 1)
    drawn = price * rng.lognormal(-0.045, 0.3, len(price)) * 10_000
    ten_thousandths: Ints = np.maximum(np.rint(drawn), price > 0).astype(np.int64)
    return ten_thousandths


def _seen(
    world: World, ids: pa.Array, cost: Ints, start: int, stop: int, without: str | None
) -> Business:
    bought, happens = outcome(world, without)

    def ordered(seconds: Ints, there: Bools) -> Ints:
        rows = np.flatnonzero(there & (seconds >= start) & (seconds < stop))
        return rows[np.argsort(seconds[rows], kind="stable")]

    return Business(
        world, ids, bought, ordered(world.seconds, happens), ordered(world.bought_at, bought),
        cost, start, stop,
    )  # fmt: skip


def _tables(rng: Rng, mood: Rng, business: Business) -> dict[str, pa.Table]:
    """The clean tables, all text, in order of time."""
    world, rows = business.world, business.touches
    session_id = uuids(rng, len(world.wish)).take(pa.array(rows))
    conv_id = uuids(rng, len(world.person)).take(pa.array(business.purchases))
    holder, closer = _engagement(mood, business)
    day, time = web_dirt.day_and_time(world.seconds[rows])
    conv_day, conv_time = web_dirt.day_and_time(world.bought_at[business.purchases])
    paid = np.flatnonzero(business.cost[rows])
    cost = business.cost[rows][paid]
    cents = world.cents[business.purchases]
    bits = ("0", "1")
    return {
        "session_sources": pa.table(
            {
                "session_id": session_id,
                "user_id": business.ids.take(pa.array(world.visitor[rows])),
                "event_date": day,
                "event_time": time,
                "channel_name": pool(CHANNEL_NAMES, world.channel[rows]),
                "holder_engagement": pool(bits, holder.astype(np.int64)),
                "closer_engagement": pool(bits, closer.astype(np.int64)),
                "impression_interaction": pool(bits, world.is_view[rows].astype(np.int64)),
                "campaign_name": _campaigns(mood, world).take(pa.array(rows)),
            }
        ),
        "conversions": pa.table(
            {
                "conv_id": conv_id,
                "user_id": business.ids.take(pa.array(world.person[business.purchases])),
                "conv_date": conv_day,
                "conv_time": conv_time,
                "revenue": join(digits(cents // 100), ".", digits(cents % 100, 2)),
            }
        ),
        "session_costs": pa.table(
            {
                "session_id": session_id.take(pa.array(paid)),
                "cost": join(digits(cost // 10_000), ".", digits(cost % 10_000, 4)),
            }
        ),
    }


def _engagement(rng: Rng, business: Business) -> tuple[Bools, Bools]:
    """Whether somebody looked at products, and whether they went for the checkout.

    Views do neither; the session of a purchase does both; later touchpoints do more of it.
    """
    world, rows = business.world, business.touches
    draws = rng.random((2, len(world.wish)), dtype=np.float32)[:, rows]
    wishing = world.wish[rows] >= 0
    buys = wishing & world.is_last[rows] & business.bought[world.wish[rows]]
    clicked = ~world.is_view[rows]
    place = world.place[rows]
    holder = clicked & (buys | (draws[0] < np.where(wishing, 0.35 + 0.4 * place, 0.25)))
    closer = holder & (buys | (draws[1] < np.where(wishing, 0.05 + 0.4 * place, 0.03)))
    return holder, closer


def _campaigns(rng: Rng, world: World) -> pa.Array:
    """A campaign of the touchpoint's channel; null where the channel has none."""
    names = [CAMPAIGNS.get(name, ()) for name in CHANNEL_NAMES]
    size = np.array([len(campaigns) for campaigns in names])
    first = np.cumsum(size) - size
    drawn = (rng.random(len(world.channel)) * size[world.channel]).astype(np.int64)
    every = [campaign for campaigns in names for campaign in campaigns]
    index = np.where(size[world.channel] > 0, first[world.channel] + drawn, 0)
    return web_dirt.empty_where(size[world.channel] == 0, pool(every, index))


def _soil(
    rng: Rng, business: Business, tables: dict[str, pa.Table], dirt: float
) -> dict[str, web_dirt.Soiled]:
    world, rows = business.world, business.touches
    wish = world.wish[rows]
    place = np.full(len(world.person), -1)
    place[business.purchases] = np.arange(len(business.purchases))
    purchase = np.where((wish >= 0) & world.is_last[rows], place[wish], -1)
    conversions = tables["conversions"]["conv_id"].combine_chunks()
    bought_at = np.where(purchase >= 0, world.bought_at[wish], -1)
    sessions = web_dirt.soil_sessions(
        rng,
        tables["session_sources"],
        world.seconds[rows],
        conversions.take(pa.array(purchase, mask=purchase < 0)),
        bought_at,
        business.stop,
        dirt,
    )
    paid = np.flatnonzero(business.cost[rows])
    return {
        "session_sources": sessions,
        "conversions": web_dirt.soil_conversions(
            rng,
            tables["conversions"],
            world.bought_at[business.purchases],
            _has_session(business, sessions.table),
            business.stop,
            dirt,
        ),
        "session_costs": web_dirt.soil_costs(
            rng,
            tables["session_costs"],
            world.seconds[rows][paid],
            np.isin(paid, sessions.lost_id),
            np.isin(paid, sessions.late),
            dirt,
        ),
    }


def _has_session(business: Business, sessions: pa.Table) -> Bools:
    """Whether the person of a conversion has a session up to a minute after it."""
    day, time = (sessions[name].combine_chunks() for name in ("event_date", "event_time"))
    seconds = web_dirt.seconds_of(day, time)
    person = pc.index_in(sessions["user_id"].combine_chunks(), business.ids)
    known = pc.and_(pc.is_valid(seconds), pc.is_valid(person))
    first = np.full(len(business.ids), np.iinfo(np.int64).max)
    np.minimum.at(first, person.filter(known).to_numpy(), seconds.filter(known).to_numpy())
    world, rows = business.world, business.purchases
    has: Bools = first[world.person[rows]] <= world.bought_at[rows] + 60
    return has


def _effects(business: Business) -> pa.Table:
    """What each channel caused, by comparison with the same world without it."""
    world = business.world
    inside = (world.bought_at >= business.start) & (world.bought_at < business.stop)
    happened, chances = business.bought & inside, probability(world)
    channel = world.channel[business.touches]
    effects = []
    for name in CHANNEL_NAMES:
        caused = happened & ~outcome(world, name)[0]
        lift = (chances - probability(world, name))[inside].sum()
        effects.append((int(caused.sum()), float(world.cents[caused].sum()) / 100, float(lift)))
    conversions, revenue, expected = zip(*effects, strict=True)
    cost = np.bincount(channel, business.cost[business.touches], minlength=len(CHANNELS)) / 10_000
    return pa.table(
        {
            "channel_name": list(CHANNEL_NAMES),
            "incremental_conversions": list(conversions),
            "incremental_revenue": list(revenue),
            "expected_conversions": list(expected),
            "exposures": np.bincount(channel, minlength=len(CHANNELS)),
            "cost": cost,
        }
    )


def _write_sqlite(path: Path, tables: dict[str, pa.Table]) -> None:
    with (
        whole_file.replacing(path) as part,
        closing(sqlite3.connect(part, isolation_level=None)) as connection,
    ):
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for name, table in tables.items():
            columns = ", ".join(f"{c} {_TYPES.get(c, 'TEXT')}" for c in table.column_names)
            connection.execute(f"CREATE TABLE {name} ({columns})")
            places = ", ".join("?" * table.num_columns)
            for batch in table.combine_chunks().to_batches(max_chunksize=_WRITE_ROWS):
                values = [column.to_pylist() for column in batch.columns]
                connection.executemany(
                    f"INSERT INTO {name} VALUES ({places})", zip(*values, strict=True)
                )
        connection.execute("COMMIT")


def _write_csv(table: pa.Table, path: Path) -> None:
    with duckdb.connect() as connection:
        connection.register("rows", table)
        connection.execute(f"COPY (FROM rows) TO '{path}' (FORMAT csv, HEADER)")
