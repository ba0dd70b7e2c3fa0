"""A mail server for tests: the sandbox's, on its own, and the settings that lead to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dmp_assets.demo.sandbox.smtp import SmtpSandbox
from dmp_assets.platform.reporting.mail_settings import MailSettings


@contextmanager
def mail_server(
    folder: Path, certificate: tuple[Path, Path] | None = None
) -> Iterator[SmtpSandbox]:
    """It answers until the block ends."""
    server = SmtpSandbox(folder, certificate)
    server.listen()
    try:
        yield server
    finally:
        server.close()


def settings_of(server: SmtpSandbox, **changed: Any) -> MailSettings:
    """Settings that lead there, soon given up."""
    return MailSettings.model_validate({**server.settings(""), "smtp_timeout": 5, **changed})
