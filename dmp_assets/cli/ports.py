"""Ports that commands are to listen on."""

import errno
import socket

from dmp_assets.home import HomeError


def free_port(host: str, port: int, setting: str) -> int:
    """The port, or one that is free for 0. Raises HomeError naming the setting when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise HomeError(
                    f"port {port} of {host} is taken: does `dmp up` or `dmp api` run already? Else "
                    f"set {setting} to another one"
                ) from error
            raise HomeError(
                f"port {port} of {host} cannot be listened on ({error.strerror or error}); set "
                f"{setting} to another one, or the host beside it"
            ) from error
        return int(probe.getsockname()[1])


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there; what listens everywhere is asked on loopback."""
    here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 # nosec B104 - asked, not listened on
    try:
        socket.create_connection((here, port), timeout=1).close()
    except OSError:
        return False
    return True
