"""The embedded PostgreSQL: a real server is initialised, killed, found again and stopped."""

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
from dmp_assets.resources import postgres
from dmp_assets.resources.postgres import EmbeddedPostgres, Endpoint, PostgresError, _explain


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's account can enter, unlike pytest's own when root."""
    with tempfile.TemporaryDirectory(prefix="dmp-pg-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    home = Home(folder / "home").prepare("sandbox")
    home.root.chmod(0o755)  # whatever the umask
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
        "from dmp_assets.resources.postgres import EmbeddedPostgres;"
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


def test_a_home_that_the_servers_account_cannot_enter_keeps_its_data_in_the_state_directory(
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
        if os.geteuid() == 0:
            assert status.data.is_relative_to(folder / "state")
            assert str(status.data) in status.note
            assert psutil.Process(status.pid).uids().real != 0
        else:
            assert status.data.is_relative_to(home.root)
            assert status.note == ""
        assert modes(home.root) == before
    finally:
        server.destroy()
    assert not status.data.exists()


def test_binaries_that_the_servers_account_cannot_reach_are_copied_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install = postgres._install(None)
    closed = folder / "closed" / install.parent.name
    shutil.copytree(install, closed / install.name, symlinks=True)
    libraries = f"{install.parent.name}.libs"
    if (install.parents[1] / libraries).exists():
        shutil.copytree(install.parents[1] / libraries, closed.parent / libraries)
    closed.parent.chmod(0o700)
    monkeypatch.setattr(postgres, "_install", lambda data: closed / install.name)
    server = EmbeddedPostgres(Home(folder / "home").prepare("sandbox"), state_dir=folder / "state")
    try:
        assert ask(server.start(), "SELECT 1") == "1"
        copies = [path.name for path in folder.glob("state/postgres*")]
        assert len(copies) == (1 if os.geteuid() == 0 else 0)
    finally:
        server.destroy()


def test_a_home_made_anew_at_the_same_place_never_sees_the_old_data(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    home = Home(closed / "home").prepare("sandbox")
    server = EmbeddedPostgres(home, state_dir=folder / "state")
    old = server.start()
    with psycopg.connect(old.url().get_secret_value()) as connection:
        connection.execute("CREATE TABLE old_shop (x int)")
    if os.geteuid() != 0:
        server.stop()
    subprocess.run(["rm", "-rf", str(home.root)], check=True)
    home.prepare("sandbox")
    try:
        new = server.start()
        assert new.password != old.password
        assert ask(new, "SELECT to_regclass('old_shop') IS NULL") == "True"
        with pytest.raises(psycopg.OperationalError):
            ask(old, "SELECT 1")
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
    assert "is full; free some space" in _explain(said, Path("/var/home"))


def test_an_endpoint_of_a_stopped_server_says_how_to_start_it(server: EmbeddedPostgres) -> None:
    with pytest.raises(PostgresError, match="dmp db start"):
        server.endpoint()


def wait_until(condition: object, seconds: float = 15) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
