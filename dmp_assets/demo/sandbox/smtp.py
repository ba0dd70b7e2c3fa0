"""The sandbox's mail server: it speaks SMTP (RFC 5321) on loopback and delivers to a folder.

Each mail that it took is a file of `$DMP_HOME/sandbox/smtp/outbox/`, its envelope in the first
lines. To misbehave, POST a `Manner` to `/smtp/_sandbox/manner`.
"""

import asyncio
import email
import socket
import ssl
import threading
import time
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path
from typing import Any, Literal

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from dmp_assets.platform.base import whole_file
from dmp_assets.platform.text.foreign_text import html_text

USER, PASSWORD = "sandbox", "sandbox-password"
SENDER = "Reports <reports@sandbox.example>"


class Manner(BaseModel):
    """How the server behaves; in memory, so a new sandbox behaves well.

    `refused`: recipients that are not known (550). `greylist`: seconds in which a recipient is put
    off (451) from the first try on. `refuses_content`: every message is refused (554) once it was
    read. `drop`: where the next `drop_times` conversations break: at the greeting, at the
    recipient, with the message unread, or with the message taken and not answered for. `silent`:
    seconds before anything is said of a recipient; `slow`: before that a message was taken.
    `login`, `tls`: nothing is taken without.
    """

    model_config = ConfigDict(extra="forbid")

    refused: tuple[str, ...] = ()
    greylist: float | None = None
    refuses_content: bool = False
    drop: Literal["greeting", "recipient", "message", "answer"] | None = None
    drop_times: int = Field(default=1, ge=1)
    silent: float = Field(default=0, ge=0)
    slow: float = Field(default=0, ge=0)
    login: bool = False
    tls: bool = False

    def drops(self, place: str) -> bool:
        """Whether the conversation breaks here; counted down."""
        if self.drop != place:
            return False
        self.drop_times -= 1
        if self.drop_times <= 0:
            self.drop = None
        return True


class SmtpSandbox:
    """One mail server and what it took. `certificate`: files of a certificate and its key; with it
    STARTTLS is offered, and `tls_port` speaks TLS from the first byte on."""

    name = "e-mail"
    prefix = "smtp"

    def __init__(self, root: Path, certificate: tuple[Path, Path] | None = None) -> None:
        self.folder = root / "smtp"
        self.outbox = self.folder / "outbox"
        self.outbox.mkdir(parents=True, exist_ok=True)
        self.manner = Manner()
        self.port = self.tls_port = 0
        self._tls = _tls(*certificate) if certificate else None
        self._seen: dict[str, float] = {}
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._servers: list[asyncio.Server] = []

    # the server ----------------------------------------------------------------------------------
    def listen(self) -> None:
        """Answer until `close`, at the port of the time before where it is free."""
        self._thread = threading.Thread(target=self._loop.run_forever, name="smtp", daemon=True)
        self._thread.start()
        self.port = self._serve(self._at_noted_port(), None)
        if self._tls is not None:
            self.tls_port = self._serve(socket.create_server(("127.0.0.1", 0)), self._tls)

    def close(self) -> None:
        """Answer nobody any more."""
        if self._thread is None:
            return
        for server in self._servers:
            self._loop.call_soon_threadsafe(server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._thread = None

    def _at_noted_port(self) -> socket.socket:
        note = self.folder / "port"
        try:
            return socket.create_server(("127.0.0.1", int(note.read_text())))
        except (OSError, ValueError, OverflowError):
            listener = socket.create_server(("127.0.0.1", 0))
            whole_file.write(note, str(listener.getsockname()[1]), mode=None)
            return listener

    def _serve(self, listener: socket.socket, tls: ssl.SSLContext | None) -> int:
        beginning = self._loop.create_server(
            lambda: self._conversation(is_encrypted=tls is not None), sock=listener, ssl=tls
        )
        self._servers.append(
            asyncio.run_coroutine_threadsafe(beginning, self._loop).result(timeout=10)
        )
        return int(listener.getsockname()[1])

    def _conversation(self, *, is_encrypted: bool) -> SMTP:
        """What speaks with one client, as it is to behave now."""
        manner = self.manner
        return SMTP(
            _Handler(self),
            hostname="sandbox.example",
            ident="SMTP",
            enable_SMTPUTF8=True,
            loop=self._loop,
            tls_context=None if is_encrypted else self._tls,
            require_starttls=manner.tls and not is_encrypted,
            auth_required=manner.login,
            auth_require_tls=self._tls is not None and not is_encrypted,
            authenticator=_authenticated,
        )

    def take(self, envelope: Envelope) -> None:
        """Keep a mail."""
        to = ", ".join(envelope.rcpt_tos)
        head = f"X-MailFrom: {envelope.mail_from}\r\nX-RcptTo: {to}\r\n"
        content = envelope.original_content or b""
        path = self.outbox / f"{len(list(self.outbox.glob('*.eml'))) + 1:06}.eml"
        with whole_file.replacing(path) as part:
            part.write_bytes(head.encode() + content)

    def is_put_off(self, recipient: str) -> bool:
        """Whether greylisting has this recipient tried again later: at the first try, and until
        its time is over."""
        if self.manner.greylist is None:
            return False
        now = time.monotonic()
        if recipient not in self._seen:
            self._seen[recipient] = now
            return True
        return now - self._seen[recipient] < self.manner.greylist

    # the sandbox's side --------------------------------------------------------------------------
    def settings(self, base_url: str) -> dict[str, Any]:
        return {
            "smtp_host": "127.0.0.1",
            "smtp_port": self.port,
            "smtp_security": "none",
            "smtp_from": SENDER,
        }

    def routes(self) -> list[BaseRoute]:
        return [Route("/_sandbox/manner", self._set_manner, methods=["POST"])]

    async def _set_manner(self, request: Request) -> Response:
        try:
            self.manner = Manner.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(), status_code=422, media_type="application/json")
        return JSONResponse({"ok": True})

    def mails(self) -> list[EmailMessage]:
        """What it took, the oldest first."""
        return [
            email.message_from_bytes(path.read_bytes(), policy=modern)
            for path in sorted(self.outbox.glob("*.eml"))
        ]

    def messages(self) -> list[dict[str, Any]]:
        return [
            {
                "service": "smtp",
                "to": str(mail["X-RcptTo"]),
                "subject": str(mail["Subject"]),
                "text": _text(mail),
            }
            for mail in self.mails()
        ]

    def page(self) -> str:
        out = [
            "<h1>E-mail</h1><p class=note>The sandbox’s stand-in for a mail server: what was "
            "sent, as text.</p>"
        ]
        mails = self.mails()
        for mail in mails:
            about = f"to {mail['X-RcptTo']} · {mail['Date']}"
            out.append(
                f"<div class=message><span class=who>{html_text(mail['Subject'])}</span> "
                f"<span class=time>{html_text(about)}</span>"
                f"<pre>{html_text(_text(mail))}</pre></div>"
            )
        if not mails:
            out.append("<p class=context>Nothing was sent.</p>")
        return "".join(out)


class _Handler:
    """What aiosmtpd asks at each step of a conversation."""

    def __init__(self, sandbox: SmtpSandbox) -> None:
        self._sandbox = sandbox

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str,
        responses: list[str],
    ) -> list[str]:  # fmt: skip
        session.host_name = hostname
        if self._sandbox.manner.drops("greeting"):
            _break_off(server)
        return responses

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str,
        rcpt_options: list[str],
    ) -> str:  # fmt: skip
        manner = self._sandbox.manner
        if manner.silent:
            await asyncio.sleep(manner.silent)
        if manner.drops("recipient"):
            _break_off(server)
        if address in manner.refused:
            return f"550 5.1.1 <{address}>: recipient unknown"
        if self._sandbox.is_put_off(address):
            return f"451 4.7.1 <{address}>: greylisted, try again later"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(rcpt_options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        manner = self._sandbox.manner
        if manner.drops("message"):
            _break_off(server)
            return "451 4.3.0 gone"
        if manner.refuses_content:
            return "554 5.7.1 message refused"
        self._sandbox.take(envelope)
        if manner.slow:
            await asyncio.sleep(manner.slow)
        if manner.drops("answer"):
            _break_off(server)
        return "250 2.0.0 taken"


def _break_off(server: SMTP) -> None:
    assert isinstance(server.transport, asyncio.WriteTransport)
    server.transport.abort()


def _authenticated(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any
) -> AuthResult:
    is_known = isinstance(given, LoginPassword) and (
        (given.login, given.password) == (USER.encode(), PASSWORD.encode())
    )
    return AuthResult(success=is_known, handled=is_known)


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    return str(body.get_content()) if body is not None else ""
