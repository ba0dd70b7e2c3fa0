"""Which shop a home reads, and that it stays the same one."""

from dataclasses import asdict
from pathlib import Path

from pydantic import SecretStr

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.lake import remembered
from dmp_assets.platform.lake.once import once_a_run
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres, Role
from dmp_assets.sources.shop import tables as shop

EMBEDDED_DATABASE = "shop"


def shop_url(home: Home) -> SecretStr:
    """URL of the home's shop: `shop_database_url`, else the embedded PostgreSQL's database.

    It can only be read there. Raises PostgresError when the embedded PostgreSQL is not running.
    """
    return _url(home, "dmp_shop_reader")


def loading_url(home: Home) -> SecretStr:
    """The same, for loading into it."""
    return _url(home, "dmp_owner")


def _url(home: Home, role: Role) -> SecretStr:
    configured = home.settings().shop_database_url
    if configured is not None:
        return configured
    return EmbeddedPostgres(home).access(role).url(database=EMBEDDED_DATABASE)


@once_a_run
def _state_in_run(run_id: str, root: Path) -> shop.ShopState:
    home = Home(root)
    state = shop.probe(shop_url(home), home.settings().shop_schema)
    same_shop(home, state)
    return state


def state_in_run(run_id: str, home: Home) -> shop.ShopState:
    """The shop as this run sees it: looked at once per run, and refused when it is another one.

    Raises ShopError (unreachable, missing table or column) or HomeError (another shop).
    """
    return _state_in_run(run_id, home.root)


def has_news(state: shop.ShopState, tables: Tables) -> bool:
    """Whether the shop holds rows that the raw tables have not seen."""
    return any(
        (tables.stamp(f"raw/{name}").get("probe") or {}).get("content") != known.content_hash
        for name, known in state.tables.items()
        if not shop.TABLES[name].optional
    )


def rows_to_read(home: Home) -> int:
    """Rows of the shop's largest table when it has news, else 0; raises as `shop_url` does."""
    settings = home.settings()
    state = shop.probe(shop_url(home), settings.shop_schema)
    if not has_news(state, Tables.of(home, settings)):
        return 0
    return max(known.row_count for known in state.tables.values())


def still_the_same(home: Home) -> None:
    """After a restore of the embedded shop: it is the one that the tables were built from."""
    known, settings = remembered.by_home(home, "shop"), home.settings()
    if known and settings.shop_database_url is None:
        now = shop.probe(shop_url(home), settings.shop_schema).identity
        if now.generation == known.get("generation"):
            remembered.remember(home, shop=asdict(now))


def _is_made(tables: Tables) -> bool:
    return any(tables.exists(f"raw/{name}") for name in shop.TABLES)


def same_shop(home: Home, state: shop.ShopState) -> None:
    """Remember the shop at first sight; raise HomeError, naming both, when it is another one.

    A lakehouse outside the home remembers its own. One that holds a shop's tables and tells of no
    shop belongs to the home that made them.
    """
    now = asdict(state.identity)
    here, there = (find(home, "shop") for find in (remembered.by_home, remembered.by_lakehouse))
    tables = Tables.of(home)
    is_told = here is not None or there is not None
    if not is_told and home.settings().lakehouse_root is not None and _is_made(tables):
        raise HomeError(
            f"{tables.root} holds tables of a shop, and nobody noted of which. Run the home "
            "that made them once, use another DMP_LAKEHOUSE_ROOT, or `dmp run --replace`, "
            "which clears what is there."
        )
    for known, place, setting in (
        (there, tables.root, "DMP_LAKEHOUSE_ROOT"), (here, home.root, "DMP_HOME"),
    ):  # fmt: skip
        if known is not None and known["id"] != now["id"]:
            what = (
                "that shop was loaded anew since"
                if known["name"] == now["name"]
                else f"the shop is now {now['name']}"
            )
            raise HomeError(
                f"{place} was built from the shop {known['name']}; {what}. Use another {setting}, "
                "or `dmp run --replace`, which clears what came from the old one."
            )
    if None in (here, there):
        remembered.remember(home, shop=now)
