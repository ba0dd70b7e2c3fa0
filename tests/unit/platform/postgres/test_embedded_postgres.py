"""The embedded PostgreSQL: a real server is initialised, killed, found again and stopped."""

import hashlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from dmp_assets.home import Home
from dmp_assets.platform.postgres import server as postgres_server
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres, Endpoint, PostgresError, Role
from dmp_assets.platform.postgres.endpoint import explain


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's account can enter, unlike pytest's own when root."""
    with tempfile.TemporaryDirectory(prefix="dmp-pg-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    home = Home(folder / "home").prepare("sandbox")
    server = EmbeddedPostgres(home, state_dir=folder / "state")
    yield server
    server.destroy()


def ask(endpoint: Endpoint, question: str) -> str:
    with psycopg.connect(endpoint.url().get_secret_value()) as connection:
        row = connection.execute(question).fetchone()
    assert row is not None
    return str(row[0])


def modes(path: Path) -> dict[Path, tuple[int, int, int]]:
    return {p: ((s := p.stat()).st_mode, s.st_uid, s.st_gid) for p in (path, *path.parents)}


def test_the_server_is_utf8_in_utc_durable_and_listens_on_loopback_only(
    server: EmbeddedPostgres,
) -> None:
    endpoint = server.start()
    assert ask(endpoint, "SHOW server_encoding") == "UTF8"
    assert ask(endpoint, "SHOW timezone") == "UTC"
    assert ask(endpoint, "SHOW fsync") == "on"
    assert ask(endpoint, "SHOW listen_addresses") == "127.0.0.1"
    assert ask(endpoint, "SHOW unix_socket_directories") == ""
    pid = server.status().pid
    listening = {
        c.laddr.ip for c in psutil.Process(pid).net_connections() if c.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_a_wrong_or_no_password_is_refused_over_tcp(server: EmbeddedPostgres) -> None:
    endpoint = server.start()
    for password in ("wrong", ""):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(
                host=endpoint.host,
                port=endpoint.port,
                user=endpoint.user,
                password=password,
                dbname=endpoint.database,
            )


def test_the_endpoint_file_is_private_and_the_password_is_never_printed(
    server: EmbeddedPostgres,
) -> None:
    endpoint = server.start()
    file = server.folder / "endpoint.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    password = json.loads(file.read_text())["password"]
    assert len(password) >= 24
    assert password not in f"{endpoint!r} {endpoint.url()} {server.status()!r}"
    assert password not in endpoint.jdbc()[0]
    assert endpoint.jdbc()[1]["password"] == password


def test_the_modes_and_owners_of_the_folders_above_never_change(folder: Path) -> None:
    home = Home(folder / "home").prepare("sandbox")
    before = modes(home.root)
    server = EmbeddedPostgres(home, state_dir=folder / "state")
    try:
        server.start()
        assert modes(home.root) == before
    finally:
        server.destroy()
    assert modes(home.root) == before


def test_a_killed_server_recovers_with_its_data_at_the_next_start(server: EmbeddedPostgres) -> None:
    endpoint = server.start()
    with psycopg.connect(endpoint.url().get_secret_value()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not server.status().running)
    again = server.start()
    assert ask(again, "SELECT answer FROM kept") == "42"
    assert again.password == endpoint.password


def test_a_stale_pid_file_with_another_processs_id_does_not_matter(
    server: EmbeddedPostgres,
) -> None:
    server.start()
    server.stop()
    data = server.status().data
    file = data / "postmaster.pid"
    file.write_text(f"{os.getpid()}\n{data}\n1\n5432\n\n127.0.0.1\n\nready\n")
    os.chown(file, data.stat().st_uid, data.stat().st_gid)
    assert not server.status().running
    assert ask(server.start(), "SELECT 1") == "1"


def test_a_server_whose_starter_was_killed_is_found_and_stopped(server: EmbeddedPostgres) -> None:
    root = server.folder.parent
    script = (
        "import sys, time; from pathlib import Path; from dmp_assets.home import Home;"
        "from dmp_assets.platform.postgres.embedded import EmbeddedPostgres;"
        "EmbeddedPostgres(Home(Path(sys.argv[1])), state_dir=Path(sys.argv[2])).start();"
        "print('up', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(root), str(root.parent / "state")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    with child, child.stdout:
        assert child.stdout.readline() == "up\n"
        child.kill()
    endpoint = server.endpoint()
    assert ask(endpoint, "SELECT 1") == "1"
    assert server.start() == endpoint
    assert server.stop()
    assert not server.status().running
    assert not server.stop()


def test_a_taken_port_is_replaced_by_another(server: EmbeddedPostgres) -> None:
    first = server.start()
    server.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first.port))
        other.listen()
        second = server.start()
    assert second.port != first.port
    assert ask(second, "SELECT 1") == "1"
    server.stop()
    assert server.start().port == second.port


def test_running_stops_what_it_started_and_leaves_what_it_found(server: EmbeddedPostgres) -> None:
    with server.running() as endpoint:
        assert ask(endpoint, "SELECT 1") == "1"
    assert not server.status().running
    server.start()
    with server.running():
        pass
    assert server.status().running


def test_the_last_of_several_users_stops_the_server(server: EmbeddedPostgres) -> None:
    first, second = server.running(), server.running()
    first.__enter__()
    endpoint = second.__enter__()
    first.__exit__(None, None, None)
    assert ask(endpoint, "SELECT 1") == "1"
    second.__exit__(None, None, None)
    assert not server.status().running


def test_a_kill_during_initialisation_is_made_good_by_the_next_start(
    server: EmbeddedPostgres,
) -> None:
    half = server.folder / "data.part"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server.folder.chmod(0o755)
    assert ask(server.start(), "SELECT 1") == "1"
    assert not half.exists()


def test_a_home_that_only_its_owner_can_enter_holds_its_data_and_stays_closed(
    folder: Path,
) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    home = Home(closed / "home").prepare("sandbox")
    before = modes(home.root)
    server = EmbeddedPostgres(home, state_dir=folder / "state")
    try:
        endpoint = server.start()
        status = server.status()
        assert ask(endpoint, "SELECT 1") == "1"
        assert status.data.is_relative_to(home.root)
        assert status.note == ""
        assert psutil.Process(status.pid).uids().real != 0
        assert modes(home.root) == before
        server.stop()
        server = EmbeddedPostgres(home, state_dir=folder / "state")
        assert ask(server.start(), "SELECT 1") == "1"
        assert [p for p in server.folder.rglob("*") if p.stat().st_mode & 0o077] == []
    finally:
        server.destroy()
    assert not status.data.exists()


def test_a_copy_of_a_home_has_databases_of_its_own(folder: Path) -> None:
    home = Home(folder / "a").prepare("sandbox")
    one = EmbeddedPostgres(home, state_dir=folder / "state")
    try:
        with psycopg.connect(one.start().url().get_secret_value()) as connection:
            connection.execute("CREATE TABLE shop AS SELECT 'of a' AS name")
        subprocess.run(["cp", "-a", str(home.root), str(folder / "b")], check=True)  # running
        other = EmbeddedPostgres(Home(folder / "b"), state_dir=folder / "state")
        try:
            assert not other.status().running
            with psycopg.connect(other.start().url().get_secret_value()) as connection:
                connection.execute("UPDATE shop SET name = 'of b'")
            assert ask(one.endpoint(), "SELECT name FROM shop") == "of a"
            assert other.stop() and one.status().running
        finally:
            other.destroy()
    finally:
        one.destroy()


def outside(folder: Path) -> tuple[Home, Path]:
    """A home as earlier versions made it for root below a closed folder: its data lies outside."""
    home = Home(folder / "a").prepare("sandbox")
    server = EmbeddedPostgres(home, state_dir=folder / "state")
    server.start()
    server.stop()
    place = folder / "state" / hashlib.sha256(str(home.root).encode()).hexdigest()[:16]
    place.mkdir(parents=True)
    (server.folder / "data").rename(place / "data")
    file = server.folder / "endpoint.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"data": str(place / "data")}))
    return home, place


def test_data_outside_a_home_is_opened_by_that_home_only(folder: Path) -> None:
    home, place = outside(folder)
    server = EmbeddedPostgres(home, state_dir=folder / "state")
    with psycopg.connect(server.start().url().get_secret_value()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert "outside the home" in server.status().note
    subprocess.run(["cp", "-a", str(home.root), str(folder / "b")], check=True)
    copied = EmbeddedPostgres(Home(folder / "b"), state_dir=folder / "state")
    for work in (copied.start, copied.stop, copied.status, copied.destroy):
        with pytest.raises(PostgresError, match=rf"belong to the home {home.root}.*dmp backup"):
            work()
    assert ask(server.endpoint(), "SELECT answer FROM kept") == "42"
    server.stop()
    home.root.rename(folder / "moved")  # the home itself, at another place
    moved = EmbeddedPostgres(Home(folder / "moved"), state_dir=folder / "state")
    try:
        assert ask(moved.start(), "SELECT answer FROM kept") == "42"
        moved.stop()
        with pytest.raises(PostgresError, match="dmp db claim"):
            copied.start()
        copied.claim()
        assert ask(copied.start(), "SELECT answer FROM kept") == "42"
        with pytest.raises(PostgresError, match="belong to the home"):
            moved.status()
    finally:
        copied.destroy()
    assert not place.exists()


def test_data_outside_that_says_no_owner_is_opened_at_its_homes_old_place_only(
    folder: Path,
) -> None:
    home, place = outside(folder)
    subprocess.run(["cp", "-a", str(home.root), str(folder / "b")], check=True)
    copied = EmbeddedPostgres(Home(folder / "b"), state_dir=folder / "state")
    with pytest.raises(PostgresError, match="home at another place"):
        copied.start()
    server = EmbeddedPostgres(home, state_dir=folder / "state")
    try:
        server.start()
    finally:
        server.destroy()
    assert not place.exists()


def test_the_roles_of_the_databases_can_neither_run_programs_nor_touch_files_nor_each_other(
    server: EmbeddedPostgres,
) -> None:
    server.start()
    server.create("store")
    mark = server.folder / "mark"
    reaches = {
        "dmp_owner": {"shop", "store"}, "dmp_shop_reader": {"shop"}, "dmp_service": {"store"},
    }  # fmt: skip
    roles: tuple[Role, ...] = ("dmp_owner", "dmp_shop_reader", "dmp_service")
    for role in roles:
        for database in ("shop", "store"):
            url = server.access(role).url(database).get_secret_value()
            if database not in reaches[role]:
                with pytest.raises(psycopg.OperationalError, match="permission denied"):
                    psycopg.connect(url)
                continue
            with psycopg.connect(url, autocommit=True) as connection:
                for command in (
                    f"COPY (SELECT 1) TO PROGRAM 'touch {mark}'",
                    f"COPY (SELECT 1) TO '{mark}'",
                    "SELECT pg_read_file('/etc/passwd')",
                    "SELECT rolpassword FROM pg_authid",
                    "SET session_replication_role = replica",
                    "CREATE ROLE more SUPERUSER",
                    "SET ROLE dmp",
                ):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        connection.execute(command)
    assert not mark.exists()
    with psycopg.connect(server.access("dmp_owner").url("shop").get_secret_value()) as loading:
        loading.execute("CREATE TABLE users AS SELECT 1 AS user_id")
    reader = server.access("dmp_shop_reader").url("shop").get_secret_value()
    with psycopg.connect(reader, autocommit=True) as reading:
        assert reading.execute("SELECT user_id FROM users").fetchone() == (1,)
        for command in ("DELETE FROM users", "DROP TABLE users", "CREATE TABLE more (x int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reading.execute(command)


def test_what_an_earlier_version_made_as_administrator_becomes_the_owners(
    server: EmbeddedPostgres,
) -> None:
    endpoint = server.start()
    with psycopg.connect(endpoint.url("shop").get_secret_value()) as connection:
        connection.execute('CREATE SCHEMA "odd name"')
        connection.execute('CREATE TABLE "odd name"."odd; table" (id bigserial, x text)')
        connection.execute("CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY)")
        connection.execute("CREATE VIEW seen AS SELECT id FROM users")
        connection.execute("CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT a'")
    file = server.folder / "endpoint.json"
    known = json.loads(file.read_text())
    file.write_text(json.dumps({name: known[name] for name in known if name != "roles"}))
    url = server.access("dmp_owner").url("shop").get_secret_value()  # it ran all the time
    with psycopg.connect(url) as connection:
        for command in (
            "DROP FUNCTION f",
            "DROP VIEW seen",
            "DROP TABLE users",
            'DROP SCHEMA "odd name" CASCADE',
        ):
            connection.execute(command)


def test_binaries_that_the_servers_account_cannot_reach_are_copied_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install = postgres_server.install_of(None)
    closed = folder / "closed" / install.parent.name
    shutil.copytree(install, closed / install.name, symlinks=True)
    libraries = f"{install.parent.name}.libs"
    if (install.parents[1] / libraries).exists():
        shutil.copytree(install.parents[1] / libraries, closed.parent / libraries)
    closed.parent.chmod(0o700)
    monkeypatch.setattr(postgres_server, "install_of", lambda data: closed / install.name)
    server = EmbeddedPostgres(Home(folder / "home").prepare("sandbox"), state_dir=folder / "state")
    try:
        assert ask(server.start(), "SELECT 1") == "1"
        copies = [path.name for path in folder.glob("state/postgres*")]
        assert len(copies) == (1 if os.geteuid() == 0 else 0)
    finally:
        server.destroy()


def test_a_home_that_was_moved_keeps_its_data(server: EmbeddedPostgres, folder: Path) -> None:
    with psycopg.connect(server.start().url().get_secret_value()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    server.folder.parent.rename(folder / "moved")
    moved = EmbeddedPostgres(Home(folder / "moved"), state_dir=folder / "state")
    try:
        assert ask(moved.start(), "SELECT answer FROM kept") == "42"
    finally:
        moved.destroy()


def test_a_lost_endpoint_file_is_named_and_the_data_left_alone(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    (server.folder / "endpoint.json").unlink()
    with pytest.raises(PostgresError, match=r"endpoint\.json with its password is missing"):
        server.start()
    assert (server.folder / "data" / "PG_VERSION").exists()


def test_a_place_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "file").write_text("")
    server = EmbeddedPostgres(Home(folder / "file" / "home"), state_dir=folder / "state")
    with pytest.raises(PostgresError, match=r"cannot write to .* set DMP_HOME"):
        server.start()
    assert not server.status().running


def test_a_full_disk_is_called_that() -> None:
    said = "initdb: error: could not write to file: No space left on device"
    assert "is full; free some space" in explain(said, Path("/var/home"))


def test_an_endpoint_of_a_stopped_server_says_how_to_start_it(server: EmbeddedPostgres) -> None:
    with pytest.raises(PostgresError, match="dmp db start"):
        server.endpoint()


def wait_until(condition: object, seconds: float = 15) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
