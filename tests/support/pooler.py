"""A pooler in front of PostgreSQL that refuses the startup parameters that PgBouncer refuses."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What PgBouncer tracks or ignores without `ignore_startup_parameters`.
KNOWN = frozenset(
    ("user", "database", "client_encoding", "datestyle", "timezone",
     "standard_conforming_strings", "application_name", "intervalstyle")
)  # fmt: skip
_KEY_DATA, _OWN_NUMBER = b"K\0\0\0\x0c", 1_234_567_890
_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102


@contextmanager
def pooler(host: str, port: int) -> Iterator[tuple[int, list[str]]]:
    """(its port, the parameters that it refused so far); forwards the rest to host and port."""
    refused: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, (host, port), refused), daemon=True).start()
        yield server.getsockname()[1], refused


def _accept(server: socket.socket, real: tuple[str, int], refused: list[str]) -> None:
    with contextlib.suppress(OSError):  # closed at the end of the test
        while True:
            client, _ = server.accept()
            threading.Thread(target=_serve, args=(client, real, refused), daemon=True).start()


def _serve(client: socket.socket, real: tuple[str, int], refused: list[str]) -> None:
    with contextlib.suppress(OSError, ConnectionError), client:
        head, body = _startup(client)
        while (code := struct.unpack("!i", body[:4])[0]) in (_SSL, _GSS):
            client.sendall(b"N")
            head, body = _startup(client)
        if code != _CANCEL:
            words = body[4:].rstrip(b"\0").split(b"\0")
            names = [word.decode() for word in words[::2]]
            if unknown := [name for name in names if name.lower() not in KNOWN]:
                refused += unknown
                client.sendall(_error(f"unsupported startup parameter: {unknown[0]}"))
                return
        with socket.create_connection(real) as upstream:
            upstream.sendall(head + body)
            back = threading.Thread(target=_pump, args=(upstream, client, _renamed), daemon=True)
            back.start()
            _pump(client, upstream)
            back.join()


def _startup(client: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(client, 4)
    return head, _exactly(client, struct.unpack("!i", head)[0] - 4)


def _exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = client.recv(count - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


def _error(message: str) -> bytes:
    fields = b"SFATAL\0VFATAL\0C08P01\0M" + message.encode() + b"\0\0"
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


def _renamed(data: bytes) -> bytes:
    """With a process number of the pooler's own, as its callers get."""
    head, found, rest = data.partition(_KEY_DATA)
    return head + found + struct.pack("!i", _OWN_NUMBER) + rest[4:] if found else data


def _pump(
    source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes] = bytes
) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(change(data))
        sink.shutdown(socket.SHUT_WR)
