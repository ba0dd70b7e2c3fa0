"""The settings of e-mail: the server that takes ours, and as whom it is sent."""

from email.errors import HeaderParseError
from email.headerregistry import Address
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr

from dmp_assets.platform.config import setting_values
from dmp_assets.platform.config.setting_kinds import Outside, given


def sender(text: str) -> str:
    """An address with or without a name, such as `Reports <reports@example.com>`."""
    name, address = parseaddr(text.strip())
    try:
        parsed = Address(addr_spec=address)
        known = bool(
            parsed.username and parsed.domain and text.isprintable() and name.isprintable()
        )
    except (HeaderParseError, ValueError, IndexError):
        known = False
    if not known:
        raise ValueError(
            "this is not an address to send from, such as Reports <reports@example.com>"
        )
    return text.strip()


def is_bare(text: str) -> bool:
    """Whether it is an address without a name, such as reports@example.com."""
    try:
        return "<" not in sender(text)
    except ValueError:
        return False


class MailSettings(BaseModel):
    """Where e-mail is handed over, and how one logs in there."""

    smtp_host: Annotated[str | None, Outside(), given(setting_values.host)] = Field(
        None, description="Server that takes our e-mail (SMTP); empty: none is sent, it waits."
    )
    smtp_port: Annotated[int, Outside()] = Field(
        587, ge=1, le=65535, description="Its port: usually 587 with starttls, 465 with tls."
    )
    smtp_security: Annotated[Literal["starttls", "tls", "none"], Outside()] = Field(
        "starttls",
        description="starttls: encrypted before anything is said, or not sent; tls: from the first "
        "byte on; none: not, which no password goes over.",
    )
    smtp_user: Annotated[str | None, Outside()] = Field(
        None, description="As whom one logs in there; empty: without a login."
    )
    smtp_password: Annotated[SecretStr | None, Outside()] = Field(
        None, description="The password that goes with it."
    )
    smtp_from: Annotated[str | None, Outside(), given(sender)] = Field(
        None, description="Address that e-mail is from, e.g. Reports <reports@example.com>."
    )
    smtp_ca_file: Annotated[Path | None, Outside()] = Field(
        None,
        description="PEM file of the authorities that its certificate may be of; empty: those that "
        "the machine trusts.",
    )
    smtp_timeout: int = Field(
        30, ge=1, le=600, description="Seconds after which a silent mail server is given up."
    )


def mail_lacks(settings: MailSettings) -> tuple[str, ...]:
    """The settings without which no mail is sent and that are not set."""
    needed = {"DMP_SMTP_HOST": settings.smtp_host, "DMP_SMTP_FROM": settings.smtp_from}
    return tuple(name for name, value in needed.items() if not value)
