"""E-mail by a real SMTP server on loopback: headers, every way in which it fails, never twice."""

import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from dmp_assets.demo.sandbox.smtp import PASSWORD, USER, Manner, SmtpSandbox
from dmp_assets.platform.reporting.email import (
    Email,
    LaterError,
    NotSetUpError,
    RefusedError,
    UnsureError,
    composed,
    send,
)
from dmp_assets.platform.reporting.mail_outbox import (
    GIVEN_UP_AFTER,
    MailRecord,
    Stage,
    deliver,
    flush,
    kept,
)
from dmp_assets.platform.reporting.mail_settings import MailSettings
from tests.support.mail import mail_server, settings_of
from tests.support.service import until
from tests.support.tls import certificate


def told_settings(**given: Any) -> MailSettings:
    return MailSettings.model_validate(given)


NOW = datetime(2026, 6, 10, 9, tzinfo=UTC)
ANN = "ann@shop.example"
MAIL = Email(
    "d-1", "news", ANN, "Spend is up", "Line one\n.\nGrüße", "<p>Grüße</p>", "https://x.example/p"
)


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with mail_server(tmp_path) as running:
        yield running


def changed(**given: Any) -> Email:
    return Email(**{**MAIL.__dict__, **given})


# what is sent ------------------------------------------------------------------------------------
def test_a_mail_arrives_with_its_headers_as_text_and_as_html(server: SmtpSandbox) -> None:
    send(settings_of(server), MAIL, NOW)
    [mail] = server.mails()
    assert (mail["X-RcptTo"], mail["X-MailFrom"]) == (ANN, "reports@sandbox.example")
    assert (mail["To"], mail["From"]) == (ANN, "Reports <reports@sandbox.example>")
    assert (mail["Subject"], mail["Message-ID"]) == ("Spend is up", "<d-1@sandbox.example>")
    assert mail["List-Unsubscribe"] == "<https://x.example/p>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert parsedate_to_datetime(mail["Date"]) == NOW
    assert mail.get_content_type() == "multipart/alternative"
    text, html = mail.iter_parts()
    assert text.get_content().splitlines() == ["Line one", ".", "Grüße"]  # a lone dot ends nothing
    assert html.get_content().strip() == "<p>Grüße</p>"


@pytest.mark.parametrize("evil", ["x\r\nBcc: eve@evil.example", "x\nX: y", "a\r\n\r\nbody", "x\0y"])
def test_no_text_becomes_a_header(server: SmtpSandbox, evil: str) -> None:
    send(settings_of(server), changed(subject=evil, preferences=f"https://x.example/{evil}"), NOW)
    [mail] = server.mails()
    assert mail["X-RcptTo"] == ANN
    assert {"Bcc", "X"}.isdisjoint(mail.keys()) and mail["List-Unsubscribe"] is None
    assert "body" not in mail.as_string().partition("\n\n")[2].partition("Line one")[0]


@pytest.mark.parametrize(
    "address",
    ["", "ann", "@x.example", "a@", "a b@x.example", "a@x.example\r\nRCPT TO:<e@e.example>"],
)
def test_an_address_that_is_none_is_refused_before_anything_is_said(address: str) -> None:
    settings = told_settings(smtp_host="nowhere.invalid", smtp_from="a@b.example")
    with pytest.raises(RefusedError) as told:
        send(settings, changed(to=address), NOW)
    assert not address or address not in str(told.value)


@pytest.mark.parametrize(
    ("address", "envelope"),
    [
        ("ann@münchen.example", "ann@xn--mnchen-3ya.example"),
        ("änn@shop.example", "änn@shop.example"),
        ("o'neil+x@shop.example", "o'neil+x@shop.example"),
    ],
)
def test_addresses_beyond_ascii_arrive(server: SmtpSandbox, address: str, envelope: str) -> None:
    send(settings_of(server), changed(to=address), NOW)
    [path] = server.outbox.iterdir()
    assert f"X-RcptTo: {envelope}\r\n".encode() in path.read_bytes()


def test_a_long_subject_is_cut_and_lines_stay_short(server: SmtpSandbox) -> None:
    send(settings_of(server), changed(subject="ä" * 5_000, text="x" * 5_000), NOW)
    [mail] = server.mails()
    assert len(str(mail["Subject"])) <= 200
    [path] = server.outbox.iterdir()
    assert max(map(len, path.read_bytes().split(b"\r\n"))) <= 998


# TLS and login -----------------------------------------------------------------------------------
@pytest.fixture
def secure(tmp_path: Path) -> Any:
    with mail_server(tmp_path, certificate(tmp_path)) as running:
        running.manner = Manner(login=True, tls=True)
        yield running


def trusted(server: SmtpSandbox, tmp_path: Path, **given: Any) -> MailSettings:
    known = {"smtp_user": USER, "smtp_password": PASSWORD, "smtp_ca_file": tmp_path / "cert.pem"}
    return settings_of(server, **{**known, **given})


def test_it_is_encrypted_before_the_login_and_from_the_first_byte(
    secure: SmtpSandbox, tmp_path: Path
) -> None:
    send(trusted(secure, tmp_path, smtp_security="starttls"), MAIL, NOW)
    send(trusted(secure, tmp_path, smtp_security="tls", smtp_port=secure.tls_port), MAIL, NOW)
    assert len(secure.mails()) == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"smtp_security": "starttls", "smtp_password": "wrong"},
            r"refuses the login \(535 5\.7\.8",
        ),
        ({"smtp_security": "starttls", "smtp_user": None}, r"without a login \(530"),
        (
            {"smtp_security": "starttls", "smtp_ca_file": None},
            "certificate of .* is not valid: self",
        ),
        (
            {"smtp_security": "none", "smtp_user": None},
            r"at the moment \(530|without a login \(530",
        ),
        ({"smtp_security": "tls"}, "TLS with the mail server 127.0.0.1:.* fails"),
        (
            {"smtp_security": "starttls", "smtp_ca_file": Path("/nowhere.pem")},
            "no file DMP_SMTP_CA",
        ),
    ],
)
def test_what_is_wrong_with_tls_or_login_is_said(
    secure: SmtpSandbox, tmp_path: Path, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(LaterError, match=told) as found:
        send(trusted(secure, tmp_path, **given), MAIL, NOW)
    assert ANN not in str(found.value) and PASSWORD not in str(found.value)
    assert secure.mails() == []


def test_a_certificate_that_has_expired_is_not_trusted(tmp_path: Path) -> None:
    files = certificate(tmp_path, ends=timedelta(hours=-1))
    assert x509.load_pem_x509_certificate(files[0].read_bytes()).not_valid_after_utc < (
        datetime.now(UTC)
    )
    with mail_server(tmp_path, files) as server:
        with pytest.raises(LaterError, match="not valid: certificate has expired"):
            send(trusted(server, tmp_path, smtp_security="starttls"), MAIL, NOW)
        assert server.mails() == []


def test_a_server_without_starttls_gets_nothing(server: SmtpSandbox) -> None:
    with pytest.raises(LaterError, match="STARTTLS"):
        send(settings_of(server, smtp_security="starttls"), MAIL, NOW)
    assert server.mails() == []


def test_no_password_leaves_the_machine_unencrypted() -> None:
    settings = told_settings(
        smtp_host="mail.example.com", smtp_security="none", smtp_from="a@b.example",
        smtp_user="u", smtp_password="secret-word",
    )  # fmt: skip
    with pytest.raises(LaterError, match="would go unencrypted") as told:
        send(settings, MAIL, NOW)
    assert "secret-word" not in str(told.value)


# refusals and faults -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("manner", "error", "told"),
    [
        (Manner(refused=(ANN,)), RefusedError, r"the recipient is refused \(550 5\.1\.1\)"),
        (Manner(greylist=0), LaterError, r"not taken at the moment \(451 4\.7\.1\)"),
        (Manner(refuses_content=True), RefusedError, r"refuses the message \(554 5\.7\.1\)"),
        (Manner(drop="greeting"), LaterError, "broke off"),
        (Manner(drop="recipient"), LaterError, "broke off"),
        (Manner(drop="message"), UnsureError, "may have been sent"),
        (Manner(drop="answer"), UnsureError, "may have been sent"),
        (Manner(silent=3), LaterError, "did not answer"),
    ],
)
def test_what_a_server_does_is_told_without_whom(
    server: SmtpSandbox, manner: Manner, error: type[Exception], told: str
) -> None:
    server.manner = manner.model_copy()
    with pytest.raises(error, match=told) as found:
        send(settings_of(server, smtp_timeout=1), MAIL, NOW)
    assert ANN not in str(found.value) and found.value.__suppress_context__
    assert len(server.mails()) == (manner.drop == "answer")


def test_where_nobody_answers_that_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for host, told in (("127.0.0.1", f"127.0.0.1:{port} cannot be reached: Connection refused"),
                       ("nowhere.invalid", "no host of the name nowhere.invalid")):  # fmt: skip
        settings = told_settings(smtp_host=host, smtp_port=port, smtp_from="a@b.example",
                                smtp_security="none")  # fmt: skip
        with pytest.raises(LaterError, match=told):
            send(settings, MAIL, NOW)
    with pytest.raises(NotSetUpError, match=r"set DMP_SMTP_FROM$"):
        send(told_settings(smtp_host="127.0.0.1"), MAIL, NOW)
    with pytest.raises(NotSetUpError, match=r"set DMP_SMTP_HOST$"):
        send(told_settings(smtp_from="a@b.example"), MAIL, NOW)
    with pytest.raises(NotSetUpError, match=r"set DMP_SMTP_HOST and DMP_SMTP_FROM$"):
        composed(MAIL, told_settings(), NOW)


@pytest.mark.parametrize(
    "said", [b"", b"\xff\xfe nonsense\r\n", b"220" + b"x" * 20_000, b"HTTP/1.1 400 Bad\r\n\r\n"]
)
def test_what_is_no_mail_server_is_told_as_that(said: bytes) -> None:
    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        settings = told_settings(
            smtp_host="127.0.0.1", smtp_port=listener.getsockname()[1], smtp_security="none",
            smtp_from="a@b.example", smtp_timeout=2,
        )  # fmt: skip
        with pytest.raises(LaterError):
            send(settings, MAIL, NOW)
        thread.join()


# the outbox --------------------------------------------------------------------------------------
def record(outbox: Path) -> MailRecord:
    return MailRecord.model_validate_json((outbox / "mail" / "d-1.json").read_text())


def test_the_same_delivery_is_sent_once_and_leaves_no_address(
    server: SmtpSandbox, tmp_path: Path
) -> None:
    outbox, settings = tmp_path / "out", settings_of(server)
    for _ in range(2):
        assert deliver(settings, outbox, MAIL, now=NOW).stage is Stage.SENT
    assert flush(settings, outbox) == [] and len(server.mails()) == 1
    assert ANN not in (outbox / "mail" / "d-1.json").read_text()
    assert record(outbox).ended_at == NOW


def test_a_greylisted_mail_waits_and_arrives(server: SmtpSandbox, tmp_path: Path) -> None:
    outbox, settings = tmp_path / "out", settings_of(server)
    server.manner = Manner(greylist=0)
    first = deliver(settings, outbox, MAIL, now=NOW)
    assert (first.stage, first.next_try_at) == (Stage.KEPT, NOW + timedelta(minutes=5))
    [early] = flush(settings, outbox, now=NOW + timedelta(minutes=4))
    assert early.stage is Stage.KEPT and server.mails() == []
    [late] = flush(settings, outbox, now=NOW + timedelta(minutes=5))
    assert late.stage is Stage.SENT and len(server.mails()) == 1


@pytest.mark.parametrize("drop", ["message", "answer"])
def test_what_may_have_been_sent_is_not_sent_again(
    server: SmtpSandbox, tmp_path: Path, drop: Any
) -> None:
    outbox, settings = tmp_path / "out", settings_of(server)
    server.manner = Manner(drop=drop)
    assert deliver(settings, outbox, MAIL, now=NOW).stage is Stage.UNSURE
    sent = len(server.mails())
    assert deliver(settings, outbox, MAIL, now=NOW + timedelta(days=1)).stage is Stage.UNSURE
    assert flush(settings, outbox) == [] and len(server.mails()) == sent == (drop == "answer")


def test_a_process_that_died_while_it_handed_over_is_not_repeated(
    server: SmtpSandbox, tmp_path: Path
) -> None:
    outbox = tmp_path / "out"
    deliver(told_settings(), outbox, MAIL, now=NOW)
    path = outbox / "mail" / "d-1.json"
    path.write_text(path.read_text().replace('"kept"', '"handing over"'))
    [told] = flush(settings_of(server), outbox, now=NOW)
    assert told.stage is Stage.UNSURE and server.mails() == []


KILLED = """
import sys
from pathlib import Path
from dmp_assets.platform.reporting.email import Email
from dmp_assets.platform.reporting.mail_outbox import deliver
from dmp_assets.platform.reporting.mail_settings import MailSettings
settings = MailSettings.model_validate_json(sys.argv[1])
deliver(settings, Path(sys.argv[2]), Email(*sys.argv[3:]))
"""


def test_a_kill_while_the_server_takes_it_sends_nothing_twice(
    server: SmtpSandbox, tmp_path: Path
) -> None:
    outbox, settings = tmp_path / "out", settings_of(server, smtp_timeout=60)
    server.manner = Manner(slow=30)
    words = [getattr(MAIL, name) for name in ("delivery_id", "about", "to", "subject", "text")]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, settings.model_dump_json(), str(outbox), *words, "<p>"]
    )
    until(lambda: len(server.mails()) == 1)
    process.kill()
    process.wait()
    server.manner = Manner()
    [told] = flush(settings, outbox)
    assert told.stage is Stage.UNSURE and len(server.mails()) == 1
    assert deliver(settings, outbox, MAIL).stage is Stage.UNSURE and len(server.mails()) == 1


def test_without_a_server_it_waits_and_goes_out_as_soon_as_there_is_one(
    server: SmtpSandbox, tmp_path: Path
) -> None:
    outbox, lacks = tmp_path / "out", "no mail is sent: set DMP_SMTP_HOST and DMP_SMTP_FROM"
    for n in range(3):
        told = deliver(told_settings(), outbox, MAIL, now=NOW + timedelta(minutes=n))
        assert (told.stage, told.reason, told.next_try_at) == (Stage.KEPT, lacks, None)
    assert [one.delivery_id for one in kept(outbox)] == ["d-1"]
    [sent] = flush(settings_of(server), outbox, now=NOW + timedelta(minutes=3))
    assert sent.stage is Stage.SENT


def test_it_is_tried_ever_later_and_given_up_after_five_days(
    server: SmtpSandbox, tmp_path: Path
) -> None:
    outbox, settings = tmp_path / "out", settings_of(server)
    server.manner = Manner(drop="greeting", drop_times=1_000)
    now, tries, told = NOW, 0, deliver(settings, outbox, MAIL, now=NOW)
    while told.stage is Stage.KEPT:
        assert told.next_try_at is not None and told.next_try_at > now
        now, tries = told.next_try_at, tries + 1
        [told] = flush(settings, outbox, now=now)
    assert told.stage is Stage.GIVEN_UP and "broke off" in str(told.reason)
    assert now >= NOW + GIVEN_UP_AFTER and 25 < tries < 45
    assert ANN not in (outbox / "mail" / "d-1.json").read_text()


def test_a_refusal_is_the_end(server: SmtpSandbox, tmp_path: Path) -> None:
    outbox, settings = tmp_path / "out", settings_of(server)
    server.manner = Manner(refused=(ANN,))
    assert deliver(settings, outbox, MAIL, now=NOW).stage is Stage.REFUSED
    server.manner = Manner()
    assert deliver(settings, outbox, MAIL, now=NOW).stage is Stage.REFUSED
    assert server.mails() == []


def test_a_record_that_cannot_be_read_is_told_and_keeps_nobody(
    server: SmtpSandbox, tmp_path: Path
) -> None:
    outbox = tmp_path / "out"
    deliver(told_settings(), outbox, MAIL, now=NOW)
    (outbox / "mail" / "d-0.json").write_text("{")
    told = flush(settings_of(server), outbox, now=NOW)
    assert [(one.delivery_id, one.stage) for one in told] == [
        ("d-0", Stage.KEPT), ("d-1", Stage.SENT),
    ]  # fmt: skip


def test_several_at_once_send_one(server: SmtpSandbox, tmp_path: Path) -> None:
    outbox, settings = tmp_path / "out", settings_of(server)
    threads = [threading.Thread(target=deliver, args=(settings, outbox, MAIL)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.mails()) == 1


def test_an_id_that_is_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="delivery id"):
        deliver(told_settings(), tmp_path, changed(delivery_id="../x"))
