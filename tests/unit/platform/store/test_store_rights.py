"""What the service's role may do with the operational store: rows, but never the audit log's."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from dmp_assets.cli import service
from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres
from dmp_assets.platform.store import access, audit, database, publish, rights, where
from dmp_assets.platform.store.errors import StoreError
from dmp_assets.platform.store.schema import audit_event, every
from tests.support.postgres import stoppable_server
from tests.support.service import fill, now, published


@dataclass
class Stores:
    """A home's store as its service, its owner and the server's administrator see it."""

    home: Home
    service: sa.Engine
    owner: sa.Engine
    admin: sa.Engine


@pytest.fixture(scope="module")
def stores() -> Iterator[Stores]:
    with stoppable_server() as server:
        home = Home(server.folder.parent)
        service.migrate_home(home)
        admin = server.endpoint().url(where.DATABASE)
        engines = [
            database.engine(url) for url in (where.store_url(home), where.owner_url(home), admin)
        ]
        yield Stores(home, *engines)
        for engine in engines:
            engine.dispose()


def test_the_service_works_with_every_table_and_publishes(stores: Stores) -> None:
    database.check(stores.service)
    with stores.service.begin() as store:
        access.add_person(store, "ann@shop.example", "risk", "correct horse battery", now=now())
        key = access.add_client(store, "c", ["promo:read"], now=now(), expires=timedelta(days=1))
        access.client_of(store, key, now=now())
        audit.record(store, at=now(), actor="a", action="x", outcome="done")
        for table in every().sorted_tables:
            store.execute(sa.select(table).limit(1))
            if table is not audit_event:
                store.execute(table.delete().where(sa.false()))
                column = next(iter(table.columns))
                if not column.identity:
                    store.execute(table.update().where(sa.false()).values({column.name: None}))
    fill(stores.service, published())
    with stores.service.begin() as store:
        publish.clear(store)


@pytest.mark.parametrize(
    "command",
    [
        "UPDATE audit_event SET actor = 'nobody'",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
        "ALTER TABLE audit_event DISABLE TRIGGER ALL",
        "DROP TRIGGER append_only ON audit_event",
        "DROP TABLE audit_event CASCADE",
        "CREATE RULE r AS ON INSERT TO audit_event DO INSTEAD NOTHING",
        "SET session_replication_role = replica",
        "CREATE TABLE mine (x int)",
        "UPDATE alembic_version SET version_num = '0001'",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY person FROM PROGRAM 'true'",
        "COPY person TO '/tmp/people'",
        "SET ROLE dmp_owner",
    ],
)
def test_the_service_can_change_neither_the_audit_log_nor_the_schema_nor_the_server(
    stores: Stores, command: str
) -> None:
    with stores.service.connect() as store, pytest.raises(ProgrammingError) as refused:
        store.execute(sa.text(command))
    assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)


def test_a_role_that_can_do_too_much_is_named(stores: Stores) -> None:
    with stores.service.connect() as store:
        assert rights.too_much(store) == []
    with stores.owner.connect() as store:
        assert rights.too_much(store) == ["owns the tables: it can change the audit log"]
    with stores.admin.connect() as store:
        assert "superuser" in rights.too_much(store)[0]
    with stores.admin.begin() as store:
        store.execute(sa.text("GRANT pg_read_server_files TO dmp_service"))
        store.execute(sa.text("GRANT DELETE ON audit_event TO dmp_service"))
    with stores.service.connect() as store:
        assert rights.too_much(store) == [
            "may change the audit log", "is a member of pg_read_server_files",
        ]  # fmt: skip
    assert EmbeddedPostgres(stores.home).status().running


def test_migrating_again_takes_back_what_is_too_much(stores: Stores) -> None:
    with stores.admin.begin() as store:
        store.execute(sa.text("REVOKE pg_read_server_files FROM dmp_service"))
        store.execute(sa.text("REVOKE ALL ON audit_event FROM dmp_service"))
    with stores.owner.begin() as store:
        store.execute(sa.text("GRANT UPDATE ON audit_event TO dmp_service"))
    service.migrate_home(stores.home)
    with stores.service.connect() as store:
        assert rights.too_much(store) == []


def test_a_role_that_may_not_migrate_is_told_whose_work_that_is(stores: Stores) -> None:
    with psycopg.connect(
        EmbeddedPostgres(stores.home).endpoint().url("postgres").get_secret_value(), autocommit=True
    ) as server:
        server.execute("CREATE DATABASE empty OWNER dmp_owner")
    url = EmbeddedPostgres(stores.home).access("dmp_service").url(database="empty")
    with database.opened(url, checked=False) as empty, pytest.raises(StoreError) as refused:
        database.migrate(empty)
    said = str(refused.value)
    assert "dmp_service" in said and "set DMP_STORE_OWNER_URL" in said, said
    with pytest.raises(StoreError, match="set DMP_STORE_OWNER_URL"):
        database.migrate(stores.service, "0001")


def test_a_role_without_rights_is_told_to_be_given_them(stores: Stores) -> None:
    with stores.admin.begin() as store:
        store.execute(sa.text("CREATE ROLE newcomer LOGIN PASSWORD 'newcomer'"))
        store.execute(sa.text("GRANT CONNECT ON DATABASE store TO newcomer"))
    url = stores.service.url.set(username="newcomer", password="newcomer")
    newcomer = sa.create_engine(url, hide_parameters=True)
    with pytest.raises(StoreError, match=r"newcomer may not .* gives that role its rights"):
        database.check(newcomer)
    newcomer.dispose()


def test_a_wrong_password_is_no_server_that_is_away(stores: Stores) -> None:
    wrong = sa.create_engine(stores.service.url.set(password="s3cr3t"), hide_parameters=True)
    with pytest.raises(StoreError) as refused:
        database.check(wrong)
    assert "refuses the user or password; check DMP_STORE_URL" in str(refused.value)
    assert "s3cr3t" not in str(refused.value)
    wrong.dispose()
