"""A relay to a database or store that goes down half-way: when a text is sent to it."""

import socket
import threading
from contextlib import suppress

JDBC = b"PostgreSQL JDBC Driver"


class FailingRelay:
    """Relays a loopback port to another one; once armed, it goes down when somebody sends `at`.

    That is by default what Spark's driver says first: the connections before, by which the shop is
    looked at, still work.
    """

    def __init__(self, port: int, at: bytes = JDBC) -> None:
        self.target = port
        self.at = at
        self.armed = False
        self.down = False
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.down:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.target))
            self._open += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if self.armed and self.at in data:
                    self.cut()
                    return
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Go down."""
        self.down = True
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Be up again, and stay so."""
        self.armed = self.down = False

    def close(self) -> None:
        """Stop listening; open connections end with their programs."""
        self._listener.close()
