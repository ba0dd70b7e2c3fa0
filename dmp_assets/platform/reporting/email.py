"""E-mail: one message to one person, handed over to the server of DMP_SMTP_HOST.

What becomes of it is one of four: the server took it, it or the recipient's refuses this very
message, it may be tried again later, or nobody knows, since the connection broke between the last
byte and the answer. SMTP has no way to look a message up, so whoever wants none twice does not
send that one again. Sources: RFC 5321 (replies, handing over), RFC 5322 (headers), RFC 3834
(Auto-Submitted), RFC 2369 (List-Unsubscribe).

What servers say may name people, so of a reply only its codes are told.
"""

import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr

from dmp_assets.platform.base.addresses import is_loopback
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.reporting.mail_settings import MailSettings, mail_lacks
from dmp_assets.platform.text.foreign_text import cut, visible

_SUBJECT = 200
_ENHANCED = re.compile(r"\A[245]\.\d{1,3}\.\d{1,3}(?=\s|\Z)")
_LOGIN_NEEDED = frozenset({530, 534, 535, 538})
"""Replies that are about how we come, not about this message (RFC 4954)."""


class MailError(UserError):
    """An e-mail that was not handed over; nothing in its words is of the recipient."""


class RefusedError(MailError):
    """This message, or its recipient, is refused for good."""


class LaterError(MailError):
    """It was certainly not taken; the same may go well later."""


class NotSetUpError(LaterError):
    """No mail is sent here as long as a setting is missing; the message names it."""

    def __init__(self, lacks: Sequence[str]) -> None:
        super().__init__(f"no mail is sent: set {' and '.join(lacks)}")


class UnsureError(MailError):
    """The connection broke after the message and before the answer: it may have been taken."""


@dataclass(frozen=True)
class Email:
    """One message to one person.

    `delivery_id` names it for good, so does its Message-ID. `about`: which report or kind of news,
    for our own records. `preferences`: address of the page where the recipient says what to get.
    """

    delivery_id: str
    about: str
    to: str
    subject: str
    text: str
    html: str
    preferences: str | None = None


def recipient(address: str) -> Address:
    """An address as mail is sent to it. Raises RefusedError for one that is none."""
    local, at, domain = address.strip().rpartition("@")
    try:
        if not at or not local or not domain or not address.isprintable() or " " in address.strip():
            raise ValueError("no address")
        host = domain if domain.isascii() else domain.encode("idna").decode()
        return Address(username=local, domain=host)
    except (HeaderParseError, ValueError, IndexError):  # UnicodeError is a ValueError
        raise RefusedError("the recipient's address is none that mail can be sent to") from None


def composed(email: Email, settings: MailSettings, at: datetime) -> EmailMessage:
    """The message with its headers, as text and as HTML.

    Raises RefusedError for an address that is none, NotSetUpError where no sender is set.
    """
    if not settings.smtp_from:
        raise NotSetUpError(mail_lacks(settings))
    to = recipient(email.to)
    message = EmailMessage(policy=SMTP if to.addr_spec.isascii() else SMTPUTF8)
    name, address = parseaddr(settings.smtp_from)
    own = Address(display_name=name, addr_spec=address)
    message["From"] = own
    message["To"] = to
    message["Subject"] = cut(visible(email.subject), _SUBJECT)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{email.delivery_id}@{own.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    if email.preferences and re.fullmatch(r"https?://[\x21-\x3b\x3d\x3f-\x7e]+", email.preferences):
        message["List-Unsubscribe"] = f"<{email.preferences}>"
    message.set_content(email.text)
    message.add_alternative(email.html, subtype="html")
    return message


def send(
    settings: MailSettings,
    email: Email,
    at: datetime,
    handing_over: Callable[[], None] = lambda: None,
) -> None:
    """Hand the message over to the server.

    `handing_over` is called once all is accepted but the message itself: when it has returned, the
    message may be taken. Raises RefusedError, LaterError, UnsureError, and what it raises.
    """
    if lacks := mail_lacks(settings):
        raise NotSetUpError(lacks)
    message, to = composed(email, settings, at), recipient(email.to).addr_spec
    server = _opened(settings)
    try:
        with _in_words(settings, server):
            _envelope(server, parseaddr(str(settings.smtp_from))[1], to, message)
        handing_over()
        with _in_words(settings, server):
            code, said = server.data(message.as_bytes())
            if code != 250:
                raise smtplib.SMTPDataError(code, said)
        with suppress(OSError):  # it has the message, however we part
            server.quit()
    finally:
        server.close()


def reached(settings: MailSettings, *, timeout: int) -> str:
    """Greet the server as for a message, and send none: who it is and how it is spoken to.

    `timeout`: seconds of patience, in place of the setting's. Raises LaterError.
    """
    if lacks := mail_lacks(settings):
        raise NotSetUpError(lacks)
    server = _opened(settings.model_copy(update={"smtp_timeout": timeout}))
    try:
        with _in_words(settings):
            server.ehlo_or_helo_if_needed()
            server.quit()
    finally:
        server.close()
    secured = "unencrypted" if settings.smtp_security == "none" else "encrypted"
    return f"{settings.smtp_host}, {secured}{', logged in' if settings.smtp_user else ''}"


class _Server(smtplib.SMTP):
    """A conversation that knows whether the whole message is on its way without an answer."""

    is_on_its_way = False

    def send(self, s: object) -> None:
        super().send(s)  # type: ignore[arg-type]
        self.is_on_its_way = isinstance(s, bytes) and s.endswith(b"\r\n.\r\n")

    def getreply(self) -> tuple[int, bytes]:
        answer = super().getreply()
        self.is_on_its_way = self.is_on_its_way and answer[0] < 0  # which is no reply at all
        return answer


class _TlsServer(smtplib.SMTP_SSL, _Server):
    """The same, encrypted from the first byte on."""


def _opened(settings: MailSettings) -> _Server:
    """The server, encrypted and logged in as the settings say. Raises LaterError."""
    host, port = str(settings.smtp_host), settings.smtp_port
    password = settings.smtp_password.get_secret_value() if settings.smtp_password else ""
    if password and settings.smtp_security == "none" and not is_loopback(host):
        raise LaterError("the password would go unencrypted, for DMP_SMTP_SECURITY is none")
    own = parseaddr(str(settings.smtp_from))[1].rpartition("@")[2]
    server: _Server | None = None
    try:
        with _in_words(settings):
            if settings.smtp_security == "tls":
                server = _TlsServer(
                    host, port, own, timeout=settings.smtp_timeout, context=_trust(settings)
                )
            else:
                server = _Server(host, port, own, timeout=settings.smtp_timeout)
            if settings.smtp_security == "starttls":
                server.starttls(context=_trust(settings))
            if settings.smtp_user:
                server.login(settings.smtp_user, password)
    except MailError:
        if server is not None:
            server.close()
        raise
    return server


def _trust(settings: MailSettings) -> ssl.SSLContext:
    file = settings.smtp_ca_file
    if file is not None and not file.is_file():
        raise LaterError("there is no file DMP_SMTP_CA_FILE")
    return ssl.create_default_context(cafile=file)


def _envelope(server: smtplib.SMTP, sender: str, to: str, message: EmailMessage) -> None:
    """Say from whom and to whom. Raises OSError, RefusedError."""
    server.ehlo_or_helo_if_needed()
    options = [f"size={len(message.as_bytes())}"] if server.has_extn("size") else []
    if not to.isascii():
        if not server.has_extn("smtputf8"):
            raise RefusedError("the mail server takes no addresses beyond ASCII (SMTPUTF8)")
        server.command_encoding = "utf-8"
        options += ["SMTPUTF8", "BODY=8BITMIME"]
    code, said = server.mail(sender, options)
    if code != 250:
        raise smtplib.SMTPSenderRefused(code, said, "")
    code, said = server.rcpt(to)
    if code not in (250, 251):
        raise smtplib.SMTPRecipientsRefused({"": (code, said)})


@contextmanager
def _in_words(settings: MailSettings, server: _Server | None = None) -> Iterator[None]:
    """Raise MailError for whatever a mail server, or the way to it, does."""
    try:
        yield
    except (OSError, ValueError) as error:  # what smtplib raises is an OSError, too
        if server is not None and server.is_on_its_way:
            raise UnsureError(
                "the connection broke before the mail server had answered: it may have been sent, "
                "and is not sent again"
            ) from None
        raise _explained(error, settings) from None  # whose texts may name the recipient


def _explained(error: Exception, settings: MailSettings) -> MailError:
    at = f"the mail server {settings.smtp_host}:{settings.smtp_port}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        [(code, said)] = error.recipients.values()
        if 500 <= code < 600 and code not in _LOGIN_NEEDED:
            return RefusedError(f"the recipient is refused ({_codes(code, said)})")
        return LaterError(f"the recipient is not taken at the moment ({_codes(code, said)})")
    if isinstance(error, smtplib.SMTPResponseException):
        codes = _codes(error.smtp_code, error.smtp_error)
        if isinstance(error, smtplib.SMTPAuthenticationError):
            return LaterError(
                f"{at} refuses the login ({codes}): check DMP_SMTP_USER and DMP_SMTP_PASSWORD"
            )
        if isinstance(error, smtplib.SMTPSenderRefused):
            return LaterError(
                f"the mail server takes nothing from DMP_SMTP_FROM, or without a login ({codes})"
            )
        is_final = isinstance(error, smtplib.SMTPDataError) and 500 <= error.smtp_code < 600
        if is_final and error.smtp_code not in _LOGIN_NEEDED:
            return RefusedError(f"the mail server refuses the message ({codes})")
        return LaterError(f"the mail server takes nothing at the moment ({codes})")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return LaterError(f"{error} Check DMP_SMTP_SECURITY and DMP_SMTP_PORT")  # smtplib's words
    if isinstance(error, ssl.SSLCertVerificationError):
        return LaterError(f"the certificate of {at} is not valid: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return LaterError(
            f"TLS with {at} fails ({error.reason}): check DMP_SMTP_SECURITY and DMP_SMTP_PORT"
        )
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return LaterError(f"{at} did not answer in {settings.smtp_timeout} s (DMP_SMTP_TIMEOUT)")
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return LaterError(f"{at} broke off the connection")
    if isinstance(error, socket.gaierror):
        return LaterError(f"there is no host of the name {settings.smtp_host} (DMP_SMTP_HOST)")
    if isinstance(error, OSError) and error.strerror:
        return LaterError(f"{at} cannot be reached: {error.strerror}")
    return LaterError(f"{at} cannot be understood")


def _codes(code: int, said: bytes | str) -> str:
    """A reply's code and, where it begins with one, its enhanced status code (RFC 3463)."""
    text = said.decode("ascii", "replace") if isinstance(said, bytes) else said
    enhanced = _ENHANCED.match(text)
    return f"{code} {enhanced[0]}" if enhanced else str(code)
