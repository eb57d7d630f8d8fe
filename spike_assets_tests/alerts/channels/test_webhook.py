"""Webhooks against a receiver on this machine: what is sent, what is made of the answers, where nothing is sent."""

import base64
import logging
import shutil
import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook

from spike_assets.alerts import render
from spike_assets.alerts.channels.base import DeliveryError, UndeliverableError
from spike_assets.alerts.channels.webhook import WebhookChannel, keys
from spike_assets.alerts.wants import Wants
from spike_assets.deadline import Deadline
from spike_assets.errors import SettingsError
from spike_assets_tests.alerts.examples import GROUP, PLAIN
from spike_assets_tests.receiver import Drip, Fault, Hang, Receiver, Reset, Status, redirect


def secret(byte: bytes, size: int = 32) -> str:
    return "whsec_" + base64.b64encode(byte * size).decode()


SECRET, NEXT = secret(b"a"), secret(b"b")
PATH = "/hooks/t0ken-of-the-path?key=t0ken-of-the-query"


def channel(url: str, secrets: str = SECRET, *, allow_private: bool = True) -> WebhookChannel:
    return WebhookChannel("desk", url, SecretStr(secrets), Wants(), allow_private, "SPIKE_WEBHOOK_URL")


def soon(seconds: float = 30.0) -> Deadline:
    return Deadline.after(timedelta(seconds=seconds))


def refused(receiver: Receiver, deadline: Deadline | None = None) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        channel(receiver.url + PATH).send(PLAIN, deadline or soon())
    said = str(caught.value)
    assert said.startswith("channel desk: ")
    assert "\n" not in said
    assert "t0ken" not in said
    assert SECRET.removeprefix("whsec_") not in said
    return caught.value


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_a_digest_arrives_signed_as_the_public_library_has_it() -> None:
    with Receiver(SECRET) as receiver:
        channel(receiver.url + PATH).send(PLAIN, soon())
        (came,) = receiver.received
    assert came.verified
    assert (came.method, came.path, came.body) == ("POST", PATH, render.as_json(PLAIN))
    assert came.headers["webhook-id"] == PLAIN.digest_id
    assert came.headers["content-type"] == "application/json"
    assert came.headers["user-agent"].startswith("spike/")
    assert came.headers["host"] == receiver.url.removeprefix("http://")
    assert Webhook(SECRET).verify(came.body, came.headers)["digest_id"] == PLAIN.digest_id


def test_while_secrets_change_both_sign() -> None:
    with Receiver() as receiver:
        channel(receiver.url, f"{NEXT} {SECRET}").send(PLAIN, soon())
        (came,) = receiver.received
    for one in (SECRET, NEXT):
        Webhook(one).verify(came.body, came.headers)
    assert len(came.headers["webhook-signature"].split(" ")) == 2


def test_another_secret_is_noticed_by_the_receiver() -> None:
    with Receiver(NEXT) as receiver:
        channel(receiver.url).send(PLAIN, soon())
        assert [came.verified for came in receiver.received] == [False]


def test_the_same_digest_is_the_same_message_again() -> None:
    with Receiver(SECRET) as receiver:
        desk = channel(receiver.url)
        desk.send(GROUP, soon())
        desk.send(GROUP, soon())
        first, second = receiver.received
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert second.verified


def test_neither_proxy_nor_netrc_has_a_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Receiver() as proxy, Receiver() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        channel(receiver.url).send(PLAIN, soon())
        assert (len(proxy.received), len(receiver.received)) == (0, 1)
        assert "authorization" not in receiver.received[0].headers


# --- what is made of the answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 201, 202, 204])
def test_taken(code: int) -> None:
    with Receiver(faults=[Status(code, body=b"" if code == 204 else b"x" * 100_000)]) as receiver:
        channel(receiver.url).send(PLAIN, soon())
        assert len(receiver.accepted) == 1


def test_an_answer_that_says_yes_is_not_waited_for_to_its_end() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    with Receiver(faults=[Drip(begin=head)]) as receiver:
        channel(receiver.url).send(PLAIN, soon())


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504, 418, 599])
def test_what_may_pass_is_tried_again(code: int) -> None:
    with Receiver(faults=[Status(code, body=b"come\r\nback  later")]) as receiver:
        error = refused(receiver)
    assert f"answered {code} (come back later); it is tried again" in str(error)
    assert error.retry_after == 0


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_somebody_has_to_look(code: int) -> None:
    with Receiver(faults=[Status(code)]) as receiver:
        error = refused(receiver)
    assert "check the" in str(error)
    assert "SPIKE_WEBHOOK_URL" in str(error)


@pytest.mark.parametrize("code", [400, 413, 415, 422])
def test_this_very_message_is_never_taken(code: int) -> None:
    with (
        Receiver(faults=[Status(code, body=b"no such field")]) as receiver,
        pytest.raises(UndeliverableError, match=rf"answered {code} \(no such field\); it will not take this message"),
    ):
        channel(receiver.url).send(PLAIN, soon())


NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.mark.parametrize(
    ("says", "seconds"),
    [
        ("120", 120),
        (format_datetime(NOW + timedelta(minutes=5), usegmt=True), 300),
        (format_datetime(NOW - timedelta(minutes=5), usegmt=True), 0),
        ("soon", 0),
        ("-5", 0),
        ("9" * 400, 86400),  # more than a day is nobody's to say
        ("99999999", 86400),
        ("", 0),
    ],
    ids=["seconds", "later", "before", "words", "negative", "many digits", "years", "nothing"],
)
@pytest.mark.parametrize("code", [429, 503])
def test_who_asks_to_be_left_alone_is(code: int, says: str, seconds: float) -> None:
    # The date of the answer is the clock that a date is measured by.
    raw = f"HTTP/1.1 {code} No\r\nRetry-After: {says}\r\nDate: {format_datetime(NOW, usegmt=True)}\r\n\r\n".encode()
    with Receiver(faults=[Drip(begin=raw)]) as receiver:
        assert refused(receiver).retry_after == seconds


def test_an_answer_is_quoted_in_one_short_line_without_our_secrets() -> None:
    page = f"<html>\r\n\x1b[31m bad path {PATH} and {SECRET} {'long ' * 200}".encode() + b"\xff\xfe"
    with Receiver(faults=[Status(500, body=page)]) as receiver:
        said = str(refused(receiver))
    assert "<html> [31m bad path" in said
    assert len(said) < 320


def test_a_redirect_is_not_followed() -> None:
    with Receiver() as other, Receiver(faults=[redirect(other.url + "/t0ken", 307)]) as receiver:
        said = str(refused(receiver))
        assert other.received == []
    assert "answered 307, it has moved to http://127.0.0.1; set the new address in SPIKE_WEBHOOK_URL" in said


@pytest.mark.parametrize("fault", [Reset(), Reset(after_reading=True)])
def test_a_connection_that_breaks(fault: Fault) -> None:
    with Receiver(faults=[fault]) as receiver:
        assert "does not answer (the connection broke)" in str(refused(receiver))
        assert len(receiver.received) == int(fault == Reset(after_reading=True))


def test_nobody_there() -> None:
    with Receiver() as receiver:
        pass
    assert "does not answer (it refuses the connection)" in str(refused(receiver))


def test_nonsense_for_an_answer() -> None:
    with Receiver(faults=[Drip(begin=b"220 smtp.example.com ready\r\n")]) as receiver:
        assert "its answer is no HTTP" in str(refused(receiver))


@pytest.mark.parametrize("fault", [Hang(), Drip(), Drip(begin=b"HTTP/1.1 100 Continue\r\n\r\n")])
def test_an_answer_that_does_not_come_is_given_up_at_the_deadline(fault: Fault) -> None:
    with Receiver(faults=[fault]) as receiver:
        assert "does not answer (there was no answer in time)" in str(refused(receiver, soon(0.3)))
        assert len(receiver.received) == 1


def test_who_has_said_yes_has_said_it_though_the_rest_drips_in() -> None:
    with Receiver(faults=[Drip(begin=b"HTTP/1.1 200 OK\r\nX-Drip: ")]) as receiver:
        channel(receiver.url).send(PLAIN, soon(0.3))


def test_the_reason_that_drips_in_is_not_waited_for() -> None:
    with Receiver(faults=[Drip(begin=b"HTTP/1.1 500 Oh\r\n\r\nbroken")]) as receiver:
        assert "answered 500 (broken" in str(refused(receiver))


def test_without_time_nothing_is_sent() -> None:
    with Receiver() as receiver:
        assert "no time was left" in str(refused(receiver, soon(0)))
        assert receiver.received == []


def test_after_an_outage_it_arrives() -> None:
    with Receiver(SECRET) as receiver:
        receiver.outage = Status(503, {"Retry-After": "7"})
        assert refused(receiver).retry_after == 7
        receiver.outage = Reset()
        refused(receiver)
        receiver.outage = None
        channel(receiver.url).send(PLAIN, soon())
        assert [came.status for came in receiver.received] == [503, 200]


def test_one_that_hung_is_answered_when_it_is_released() -> None:
    with Receiver(faults=[Hang()]) as receiver:
        receiver.release()
        channel(receiver.url).send(PLAIN, soon())
        assert len(receiver.accepted) == 1


def test_nothing_of_it_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Receiver(faults=[Status(500)]) as receiver:
        refused(receiver)
        channel(receiver.url + PATH).send(PLAIN, soon())
    assert "t0ken" not in caplog.text
    assert SECRET not in caplog.text


# --- where nothing is sent --------------------------------------------------------------------------------------------

ANY = "0.0.0.0"  # noqa: S104 - nobody binds to it
PRIVATE = [
    "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", ANY,
    "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1",
    "fd00::1", "fc00::1", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1", "3fff::1", "3fff:fff::1", "192.88.99.1",
    "2001:4860::5efe:808:808", "2001:4860::200:5efe:a00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1", "::127.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused_at_once(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(SettingsError, match="channel desk: its url cannot be used: it is no public address; set allow"):
        channel(f"https://{host}/x", allow_private=False)
    channel(f"https://{host}/x", allow_private=True)


NAT64_AND_6TO4 = ["[64:ff9b::808:808]", "[2002:808:808::1]"]


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "192.88.98.1", "[2001:4860:4860::8888]", "[2001:4860::5eff:808:808]", *NAT64_AND_6TO4]
)
def test_a_public_address_may_be_used(address: str) -> None:
    channel(f"https://{address}/x", allow_private=False)


class Names:
    """A resolver of our own: what each name leads to, and what it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, known: dict[str, list[str]]) -> None:
        self.asked: list[str] = []
        self._known = known
        self._system = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: str, port: int, *arguments: Any, **options: Any) -> Any:
        self.asked.append(host)
        found = self._known.get(host, [host])
        return [one for address in found for one in self._system(address, port, *arguments, **options)]


@pytest.mark.parametrize("found", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["169.254.169.254"], ["::ffff:10.0.0.1"]])
def test_a_name_that_leads_to_a_private_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    names = Names(monkeypatch, {"hook.example": found})
    with Receiver() as receiver, pytest.raises(DeliveryError, match=r"nothing was sent to .*: its name leads to"):
        channel(f"https://hook.example:{receiver.port}/x", allow_private=False).send(PLAIN, soon())
    assert names.asked == ["hook.example"]  # and nobody was connected to


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.1"])
def test_another_way_to_write_this_machine_does_not_help(host: str) -> None:
    with Receiver() as receiver:
        with pytest.raises(DeliveryError, match="its name leads to"):
            channel(f"https://{host}:{receiver.port}/x", allow_private=False).send(PLAIN, soon())
        assert (receiver.received, receiver.connections) == ([], 0)


def test_a_name_is_asked_for_once_and_who_answers_is_looked_at_before_a_byte_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The address passes, and yet the connection ends up on this machine.
    names = Names(monkeypatch, {"hook.example": ["8.8.8.8"], "8.8.8.8": ["127.0.0.1"]})

    def rebound(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        first = len(names.asked) == 0
        found = names(host, port, *arguments, **options)
        return [(*one[:4], ("8.8.8.8", port)) for one in found] if first else found

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    with Receiver() as receiver:
        with pytest.raises(DeliveryError, match=r"its name leads to 127\.0\.0\.1, which is not allowed"):
            channel(f"https://hook.example:{receiver.port}/x", allow_private=False).send(PLAIN, soon())
        assert receiver.received == []
    assert names.asked == ["hook.example", "8.8.8.8"]


def test_plain_http_goes_to_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, {"localhost": ["192.168.1.1"]})
    with pytest.raises(DeliveryError, match=r"its name leads to 192\.168\.1\.1"):
        channel("http://localhost:1/x").send(PLAIN, soon())


def test_a_name_that_is_none() -> None:
    for host in ("does-not-exist.invalid", "a" * 70 + ".example"):
        with pytest.raises(DeliveryError, match=r"does not answer \(its name"):
            channel(f"https://{host}/x").send(PLAIN, soon())


@pytest.mark.parametrize(
    ("url", "allow_private", "says"),
    [
        ("http://hook.example/x", False, "use https://"),
        ("http://hook.example/x", True, "use https://"),
        ("http://10.0.0.1/x", True, "use https://"),
        ("http://127.0.0.1/x", False, "use https://"),
        ("ftp://hook.example/x", False, "write it like https://"),
        ("hook.example/x", False, "write it like https://"),
        ("https:///x", False, "write it like https://"),
        ("https://hook.example/x#y", False, "write it like https://"),
        ("https://me:t0ken@hook.example/x", False, "leave the name and password out"),
        ("https://hook.example:t0ken/x", False, "what stands behind the colon of the host is no port"),
        ("https://hook.example:0/x", False, "what stands behind the colon of the host is no port"),
        ("https://hook.example:99999/x", False, "what stands behind the colon of the host is no port"),
        ("https://[::1/x", False, "cannot be used"),
        ("https://höök.example/x", False, "plain ASCII"),
        ("https://hook.example/x y", False, "plain ASCII"),
        ("https://hook.example/x\r\nX: y", False, "plain ASCII"),
    ],
)
def test_an_address_that_cannot_be_used(url: str, allow_private: bool, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as error:
        channel(url, allow_private=allow_private)
    assert "t0ken" not in str(error.value)


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_secret(size: int) -> None:
    assert keys(SecretStr(secret(b"k", size))) == (b"k" * size,)
    assert keys(SecretStr(secret(b"k", size).rstrip("="))) == (b"k" * size,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        (SECRET.removeprefix("whsec_"), "begin with whsec_"),
        ("whsec_", "24 to 64 bytes, this one has 0"),
        (secret(b"k", 23), "24 to 64 bytes, this one has 23"),
        (secret(b"k", 65), "24 to 64 bytes, this one has 65"),
        ("whsec_p@ssw0rd-p@ssw0rd-p@ssw0rd-p@ssw0rd", "no base64"),
        ("whsec_ä" + "A" * 40, "no base64"),
        (f"{SECRET} {secret(b'k', 5)}", "this one has 5"),
        (f"{SECRET},{NEXT}", "no base64"),
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_shown(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=f"channel desk: its secret cannot be used: .*{says}") as error:
        channel("https://hook.example/x", text)
    for word in text.split():
        assert len(word) < 7 or word.removeprefix("whsec_") not in str(error.value)


def test_a_channel_does_not_show_its_secrets() -> None:
    shown = repr(channel("https://hook.example" + PATH))
    assert "t0ken" not in shown
    assert SECRET not in shown


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openssl = shutil.which("openssl")
    assert openssl, "install openssl: it makes the certificate of this test"
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(certificate: Path) -> None:
    with Receiver(tls=server_side(certificate)) as receiver:
        with pytest.raises(DeliveryError, match="its certificate is not trusted"):
            channel(f"https://localhost:{receiver.port}/x").send(PLAIN, soon())
        assert receiver.received == []


def test_one_of_your_own_is_where_the_machine_trusts_it(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    with Receiver(SECRET, tls=server_side(certificate)) as receiver:
        channel(f"https://localhost:{receiver.port}/x").send(PLAIN, soon())
        assert [came.verified for came in receiver.received] == [True]


def test_a_certificate_of_somebody_else_is_not_trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    with Receiver(tls=server_side(certificate)) as receiver:
        with pytest.raises(DeliveryError, match="its certificate is not trusted"):
            channel(receiver.url + "/x").send(PLAIN, soon())
        assert receiver.received == []


def test_the_deadline_holds_behind_tls_and_before_it(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    late = pytest.raises(DeliveryError, match="no answer in time")
    with Receiver(tls=server_side(certificate), faults=[Drip()]) as receiver, late:
        channel(f"https://localhost:{receiver.port}/x").send(PLAIN, soon(0.5))
    late = pytest.raises(DeliveryError, match="no answer in time")
    with socket.create_server(("127.0.0.1", 0)) as silent, late:  # takes the connection, and never shakes hands
        channel(f"https://localhost:{silent.getsockname()[1]}/x").send(PLAIN, soon(0.3))
