"""The operational store on a real PostgreSQL: its schema, who is let in, what is published."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import access, audit, database, publish
from dmp_assets.platform.store.access import NotLetInError
from dmp_assets.platform.store.errors import AccessError, StoreError
from dmp_assets.platform.store.schema import (
    every,
    login_session,
    person,
    publication,
    published_tables,
)
from tests.support.postgres import fresh_database
from tests.support.service import PASSWORD, published, usage_rows

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def empty(shop_url: SecretStr) -> Iterator[sa.Engine]:
    engine = database.engine(shop_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(empty: sa.Engine) -> sa.Engine:
    database.migrate(empty)
    return empty


def test_a_store_whose_encoding_is_none_gives_text_all_the_same(postgres: Endpoint) -> None:
    with fresh_database(postgres, "template0", "SQL_ASCII") as url:
        engine = database.engine(url)
        database.migrate(engine)
        with engine.begin() as connection:
            access.add_person(connection, "jürgen@example.com", "admin", PASSWORD, now=NOW)
        with engine.connect() as connection:
            assert connection.scalars(sa.select(person.c.email)).all() == ["jürgen@example.com"]
        engine.dispose()


# the schema --------------------------------------------------------------------------------------
def test_the_migrations_make_what_the_code_expects(store: sa.Engine) -> None:
    with store.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_schemas": True})
        assert compare_metadata(context, every()) == []


def test_every_migration_can_be_undone_and_done_again(empty: sa.Engine) -> None:
    assert database.migrate(empty) == (None, database.head())
    assert database.migrate(empty, "base") == (database.head(), None)
    left = sa.inspect(empty)
    assert set(left.get_table_names()) <= {"alembic_version"}
    assert "published" not in left.get_schema_names()
    assert database.migrate(empty) == (None, database.head())
    assert database.migrate(empty) == (database.head(), database.head())


def test_a_store_without_schema_is_refused_with_what_to_do(empty: sa.Engine) -> None:
    with pytest.raises(StoreError, match=r"has schema none.*run `dmp migrate`"):
        database.check(empty)
    database.migrate(empty)
    database.check(empty)


def test_a_newer_schema_is_refused_and_never_changed(store: sa.Engine) -> None:
    with store.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="schema 9999, which is newer"):
        database.check(store)
    with pytest.raises(StoreError, match="schema 9999, which is newer"):
        database.migrate(store)


def test_an_unknown_schema_to_go_to_is_named(store: sa.Engine) -> None:
    with pytest.raises(StoreError, match="there is no schema 0042; known are 0001"):
        database.migrate(store, "0042")


def test_two_migrations_at_once_wait_for_each_other(empty: sa.Engine) -> None:
    done: list[object] = []

    def work() -> None:
        done.append(database.migrate(empty))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, done)) == sorted(
        map(str, [(None, database.head()), (database.head(), database.head())])
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://a@127.0.0.1/x", "is not a PostgreSQL URL"),
        (
            "postgresql://dmp:Secret-1@127.0.0.1:9/store",
            "serves the operational store at 127.0.0.1",
        ),
    ],
)
def test_a_store_that_cannot_be_reached_is_named_without_its_password(url: str, said: str) -> None:
    with pytest.raises(StoreError, match=said) as caught:
        database.check(database.engine(SecretStr(url)))
    assert "Secret-1" not in str(caught.value)


# machines ----------------------------------------------------------------------------------------
def refused(store: sa.Engine, key: str, now: datetime = NOW) -> str:
    with store.begin() as connection, pytest.raises(NotLetInError) as caught:
        access.client_of(connection, key, now=now)
    return caught.value.why


def test_a_key_opens_with_its_scopes_and_is_not_stored(store: sa.Engine) -> None:
    with store.begin() as connection:
        key = access.add_client(connection, "checkout", ["promo:read", "promo:read"], now=NOW)
        found = access.client_of(connection, key, now=NOW)
    assert found.actor == "client:checkout"
    assert found.scopes == {"promo:read"}
    assert found.may("promo:read") and not found.may("runs:read")
    secret = key.split("_", 2)[2]
    with store.connect() as connection:
        kept = connection.execute(sa.text("SELECT api_key::text FROM api_key")).scalar_one()
    assert secret not in kept


def test_a_wrong_unknown_or_malformed_key_does_not_open(store: sa.Engine) -> None:
    with store.begin() as connection:
        key = access.add_client(connection, "checkout", ["promo:read"], now=NOW)
    changed = key[:-1] + ("A" if key[-1] != "A" else "B")
    assert refused(store, changed) == "wrong"
    assert refused(store, "dmp_" + "0" * 16 + "_" + "x" * 43) == "unknown"
    for malformed in ("", "dmp_", key + "x", key.upper(), "' OR 1=1 --", "\x00"):
        assert refused(store, malformed) == "unknown"


def test_a_key_ends_when_it_expires_or_is_revoked(store: sa.Engine) -> None:
    with store.begin() as connection:
        short = access.add_client(
            connection, "short", ["promo:read"], now=NOW, expires=timedelta(hours=1)
        )
        other = access.add_client(connection, "other", ["promo:read"], now=NOW)
        access.client_of(connection, short, now=NOW + timedelta(minutes=59))
        access.revoke_client(connection, "other", now=NOW)
    assert refused(store, short, NOW + timedelta(hours=1)) == "expired"
    assert refused(store, other) == "revoked"
    with store.begin() as connection, pytest.raises(AccessError, match="there is no client"):
        access.rotate_client(connection, "other", now=NOW, overlap=timedelta(hours=1))


def test_rotation_lets_both_keys_in_for_the_overlap(store: sa.Engine) -> None:
    with store.begin() as connection:
        old = access.add_client(connection, "c", ["promo:read"], now=NOW)
        new = access.rotate_client(connection, "c", now=NOW, overlap=timedelta(hours=24))
        for key in (old, new):
            access.client_of(connection, key, now=NOW + timedelta(hours=23))
        access.client_of(connection, new, now=NOW + timedelta(hours=25))
    assert refused(store, old, NOW + timedelta(hours=25)) == "expired"


def test_rotation_never_lengthens_a_key(store: sa.Engine) -> None:
    with store.begin() as connection:
        old = access.add_client(
            connection, "c", ["promo:read"], now=NOW, expires=timedelta(hours=1)
        )
        access.rotate_client(connection, "c", now=NOW, overlap=timedelta(hours=24))
    assert refused(store, old, NOW + timedelta(hours=2)) == "expired"


@pytest.mark.parametrize(
    ("name", "scopes", "said"),
    [
        ("taken", ["promo:read"], "there is or was a client 'taken'"),
        ("a b", ["promo:read"], "is no name for a client"),
        ("x" * 64, ["promo:read"], "is no name for a client"),
        ("new", [], "at least one scope"),
        ("new", ["everything"], "'everything' is not a scope; known are promo:read"),
    ],
)
def test_a_client_that_cannot_be_made_is_refused_in_words(
    store: sa.Engine, name: str, scopes: list[str], said: str
) -> None:
    with store.begin() as connection:
        access.add_client(connection, "taken", ["promo:read"], now=NOW)
        with pytest.raises(AccessError, match=said):
            access.add_client(connection, name, scopes, now=NOW)


# people ------------------------------------------------------------------------------------------
@pytest.fixture
def ann(store: sa.Engine) -> sa.Engine:
    with store.begin() as connection:
        access.add_person(connection, "Ann@Shop.example", "risk", PASSWORD, now=NOW)
    return store


def log_in(store: sa.Engine, password: str = PASSWORD, now: datetime = NOW) -> str:
    """The session's token, or why there is none."""
    with store.begin() as connection:
        try:
            return enter(connection, "ann@shop.example", password, now)
        except NotLetInError as error:
            return error.why


def enter(connection: sa.Connection, email: str, password: str, now: datetime = NOW) -> str:
    found = access.credential(connection, email)
    return access.log_in(connection, found, access.verify(found, password), now=now)


def who(store: sa.Engine, token: str, now: datetime = NOW) -> str:
    with store.begin() as connection:
        try:
            return str(access.person_of(connection, token, now=now).role)
        except NotLetInError as error:
            return error.why


def test_a_person_logs_in_whatever_the_case_of_the_address(ann: sa.Engine) -> None:
    token = log_in(ann)
    with ann.begin() as connection:
        found = access.person_of(connection, token, now=NOW)
        kept = connection.execute(sa.select(person.c.password_hash)).scalar_one()
        tokens = connection.execute(sa.select(login_session.c.token_sha256)).scalars().all()
    assert found.role == "risk"
    assert "personal:read" in found.scopes
    assert "ann" not in found.actor
    assert kept.startswith("$argon2id$")
    assert token.encode() not in [bytes(t) for t in tokens]


def test_wrong_passwords_of_others_keep_nobody_out(ann: sa.Engine) -> None:
    assert [log_in(ann, "wrong") for _ in range(6)] == ["wrong"] * 6
    assert who(ann, log_in(ann)) == "risk"


def test_a_password_that_was_changed_while_it_was_compared_opens_nothing(ann: sa.Engine) -> None:
    with ann.begin() as connection:
        found = access.credential(connection, "ann@shop.example")
        verified = access.verify(found, PASSWORD)
        access.set_password(connection, "ann@shop.example", "another password")
        with pytest.raises(NotLetInError):
            access.log_in(connection, found, verified, now=NOW)


def test_who_has_no_password_logs_in_by_a_verified_address_only(ann: sa.Engine) -> None:
    with ann.begin() as connection:
        access.add_person(connection, "Ben@Shop.example", "analyst", None, now=NOW)
        token = access.log_in_verified(connection, "BEN@shop.example", now=NOW)
        assert access.person_of(connection, token, now=NOW).role == "analyst"
        with pytest.raises(NotLetInError) as refused:
            enter(connection, "ben@shop.example", PASSWORD)
        assert refused.value.why == "unknown"
        with pytest.raises(NotLetInError) as refused:
            access.log_in_verified(connection, "ann@shop.example", now=NOW)
        assert refused.value.why == "has a password"
        access.set_password(connection, "ann@shop.example", None)
        assert access.log_in_verified(connection, "ann@shop.example", now=NOW)
        access.set_password(connection, "ben@shop.example", PASSWORD)
        with pytest.raises(NotLetInError):
            access.person_of(connection, token, now=NOW)  # every session ended
        assert enter(connection, "ben@shop.example", PASSWORD)


def test_a_session_ends_when_idle_old_logged_out_or_the_person_disabled(ann: sa.Engine) -> None:
    token = log_in(ann)
    assert who(ann, token, NOW + timedelta(hours=8)) == "expired"
    at = NOW
    for _ in range(28):  # in use every six hours
        at += timedelta(hours=6)
        seen = who(ann, token, at)
        assert seen == ("risk" if at < NOW + timedelta(days=7) else "expired")
    token = log_in(ann)
    with ann.begin() as connection:
        access.log_out(connection, token)
    assert who(ann, token) == "unknown"
    token = log_in(ann)
    with ann.begin() as connection:
        access.set_password(connection, "ann@shop.example", "another password")
    assert who(ann, token) == "unknown"
    token = log_in(ann, "another password")
    with ann.begin() as connection:
        access.disable_person(connection, "ann@shop.example", now=NOW)
    assert who(ann, token) == "unknown"
    assert log_in(ann, "another password") == "revoked"


def sessions(store: sa.Engine) -> int:
    with store.connect() as connection:
        query = sa.select(sa.func.count()).select_from(login_session)
        return int(connection.scalar(query) or 0)


def test_logging_in_sweeps_sessions_that_are_over(ann: sa.Engine) -> None:
    log_in(ann)
    assert sessions(ann) == 1
    fresh = log_in(ann, now=NOW + timedelta(hours=9))
    assert sessions(ann) == 1
    assert who(ann, fresh, NOW + timedelta(hours=9)) == "risk"


@pytest.mark.parametrize(
    ("email", "role", "password", "said"),
    [
        ("ann@shop.example", "risk", PASSWORD, "there is a person with this address already"),
        ("no address", "risk", PASSWORD, "this is no e-mail address"),
        ("bob@shop.example", "king", PASSWORD, "'king' is not a role; known are admin, risk"),
        ("bob@shop.example", "risk", "short", "at least 12 characters"),
    ],
)
def test_a_person_that_cannot_be_made_is_refused_in_words(
    ann: sa.Engine, email: str, role: str, password: str, said: str
) -> None:
    with ann.begin() as connection, pytest.raises(AccessError, match=said):
        access.add_person(connection, email, role, password, now=NOW)


# the audit log -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change",
    ["UPDATE audit_event SET actor = 'x'", "DELETE FROM audit_event", "TRUNCATE audit_event"],
)
def test_the_audit_log_can_only_grow(store: sa.Engine, change: str) -> None:
    with store.begin() as connection:
        audit.record(connection, at=NOW, actor="client:c", action="log in", outcome="done")
    with pytest.raises(sa.exc.ProgrammingError, match="append-only"), store.begin() as connection:
        connection.execute(sa.text(change))
    with store.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM audit_event")).scalar() == 1


# published tables --------------------------------------------------------------------------------
def count(store: sa.Engine, name: str = "user_usage") -> int:
    with store.connect() as connection:
        return int(
            connection.scalar(sa.select(sa.func.count()).select_from(published_tables()[name]))
        )


def noted_rows(connection: sa.Connection, name: str) -> int | None:
    return connection.scalar(sa.select(publication.c.rows).where(publication.c.table_name == name))


def test_every_published_table_takes_its_rows_and_notes_their_version(store: sa.Engine) -> None:
    tables = published()
    assert set(tables) == set(published_tables())
    with store.begin() as connection:
        for name, rows in tables.items():
            written = publish.replace(connection, name, rows, data_version="v1", run_id="r")
            assert written == rows.num_rows == noted_rows(connection, name)
        assert set(publish.versions(connection).values()) == {"v1"}
    assert {name: count(store, name) for name in tables} == {
        name: rows.num_rows for name, rows in tables.items()
    }


def test_a_reader_sees_the_old_table_or_the_new_one_never_half(store: sa.Engine) -> None:
    sizes = (2_000, 3_000)

    def replace(size: int) -> None:
        with store.begin() as connection:
            publish.replace(
                connection, "user_usage", usage_rows(size), data_version=str(size), run_id="r"
            )

    replace(sizes[0])
    seen, over = set(), threading.Event()

    def read() -> None:
        while not over.is_set():
            with store.connect() as connection:
                found = connection.execute(
                    sa.text(
                        "SELECT (SELECT count(*) FROM published.user_usage), data_version "
                        "FROM publication WHERE table_name = 'user_usage'"
                    )
                ).one()
            seen.add(tuple(found))

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(6):
        replace(sizes[(n + 1) % 2])
    over.set()
    reader.join()
    assert seen == {(size, str(size)) for size in sizes}


def test_a_failed_publication_leaves_the_old_table(store: sa.Engine) -> None:
    with store.begin() as connection:
        publish.replace(connection, "user_usage", usage_rows(5), data_version="v1", run_id="r")
    twice = pa.concat_tables([usage_rows(3), usage_rows(3)])
    with pytest.raises(psycopg.errors.UniqueViolation), store.begin() as connection:
        publish.replace(connection, "user_usage", twice, data_version="v2", run_id="r")
    assert count(store) == 5
    with store.connect() as connection:
        assert publish.versions(connection) == {"user_usage": "v1"}


def test_rows_without_a_column_are_refused_before_anything_is_deleted(store: sa.Engine) -> None:
    with store.begin() as connection:
        publish.replace(connection, "user_usage", usage_rows(5), data_version="v1", run_id="r")
        with pytest.raises(ValueError, match=r"published/user_usage lacks rank"):
            publish.replace(
                connection, "user_usage", usage_rows(1).drop_columns(["rank"]),
                data_version="v2", run_id="r",
            )  # fmt: skip
    assert count(store) == 5


# tables that are published ------------------------------------------------------------------------
KINDS = [
    sa.Float, sa.Double, sa.String, sa.String(10), sa.CHAR(3), sa.Text, sa.Numeric(18, 8),
    sa.Numeric, sa.Integer, sa.SmallInteger, sa.BigInteger, sa.Boolean, sa.Date, sa.Uuid,
    sa.DateTime(timezone=True), sa.DateTime, sa.LargeBinary, JSONB, ARRAY(sa.Text),
]  # fmt: skip


@pytest.fixture
def published_once(monkeypatch: pytest.MonkeyPatch) -> sa.Table:
    """A published table with a column of every type, known to this test alone."""
    columns = [sa.Column(f"c{n}", kind) for n, kind in enumerate(KINDS)]
    table = sa.Table("every_kind", sa.MetaData(), *columns, schema="published")
    known = {**published_tables(), "every_kind": table}
    monkeypatch.setattr(publish, "published_tables", lambda: known)
    return table


def test_a_published_table_is_made_once_whatever_its_types(
    store: sa.Engine, published_once: sa.Table
) -> None:
    with store.begin() as owner:
        assert publish.make(owner, only="every_kind") == ["every_kind"]
        owner.execute(published_once.insert().values(c5="kept"))
    with store.begin() as owner:
        assert publish.misfits(owner) == publish.make(owner) == []
        assert owner.scalar(sa.select(published_once.c.c5)) == "kept"


@pytest.mark.parametrize(
    "differs",
    [
        "DROP INDEX published.ix_user_usage_order",
        "CREATE INDEX further ON published.user_usage (codes)",
        "DROP INDEX published.ix_user_usage_order; "
        "CREATE INDEX ix_user_usage_order ON published.user_usage (usages, user_id)",
        "ALTER TABLE published.user_usage ALTER usages DROP NOT NULL",
        "ALTER TABLE published.user_usage DROP CONSTRAINT pk_user_usage",
        "ALTER TABLE published.user_usage ADD UNIQUE (rank)",
        "ALTER TABLE published.user_usage DROP COLUMN codes",
    ],
)
def test_a_published_table_that_differs_in_keys_nulls_or_indexes_is_made_anew(
    store: sa.Engine, differs: str
) -> None:
    with store.begin() as owner:
        publish.make(owner)
        assert publish.misfits(owner) == []
        owner.execute(sa.text(differs))
        assert publish.misfits(owner) == ["user_usage"]
    with store.begin() as owner:
        assert publish.make(owner) == ["user_usage"]
        assert publish.misfits(owner) == []


def test_who_makes_published_tables_at_once_takes_turns(
    store: sa.Engine, published_once: sa.Table
) -> None:
    def make(_: int) -> list[str]:
        with store.begin() as owner:
            return publish.make(owner, only="every_kind")

    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(make, range(3)))
    assert sorted(made) == [[], [], ["every_kind"]]


def test_what_nobody_publishes_any_more_is_gone(store: sa.Engine) -> None:
    with store.begin() as owner:
        owner.execute(sa.text("CREATE TABLE published.gone (a text)"))
        owner.execute(
            publication.insert().values(
                table_name="gone", data_version="1", rows=0, run_id="", published_at=NOW
            )
        )
        publish.make(owner)
        assert "gone" not in publish.versions(owner)
    assert "gone" not in sa.inspect(store).get_table_names("published")
