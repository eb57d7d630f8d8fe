"""Apprise channels: the real library, against a receiver on this machine."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from spike_assets.alerts import render
from spike_assets.alerts.channels.apprise_url import AppriseChannel, schema, urls
from spike_assets.alerts.channels.base import DeliveryError
from spike_assets.alerts.digest import Digest
from spike_assets.alerts.wants import Wants
from spike_assets.deadline import Deadline
from spike_assets.errors import SettingsError
from spike_assets_tests.alerts.examples import GROUP, OPERATIONAL, PLAIN, RECOVERY
from spike_assets_tests.receiver import Drip, Fault, Hang, Receiver, Reset, Status

pytestmark = pytest.mark.filterwarnings(
    # Apprise imports it to mend another library of its own, which is not installed here.
    "ignore:'imghdr' is deprecated:DeprecationWarning"
)

TOKEN = "t0kenOfTheService"  # noqa: S105 - opens nothing
LONG = GROUP.model_copy(update={"entries": GROUP.entries * 75})


def soon(seconds: float = 30.0) -> Deadline:
    return Deadline.after(timedelta(seconds=seconds))


def channel(url: str) -> AppriseChannel:
    return AppriseChannel("phone", SecretStr(url), Wants())


def here(receiver: Receiver, kind: str = "json", rest: str = f"/{TOKEN}") -> str:
    return f"{kind}://127.0.0.1:{receiver.port}{rest}"


def refused(url: str, deadline: Deadline | None = None, digest: Digest = PLAIN) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        channel(url).send(digest, deadline or soon())
    assert str(caught.value).startswith("channel phone: ")
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_a_digest_arrives_as_title_and_text() -> None:
    with Receiver() as receiver:
        channel(here(receiver, rest=f"/{TOKEN}?:desk=fx")).send(PLAIN, soon())
        (came,) = receiver.received
    said = json.loads(came.body)
    assert (said["title"], said["message"]) == (render.title(PLAIN), render.text(PLAIN))
    assert (said["type"], said["desk"]) == ("info", "fx")
    assert came.headers["user-agent"] == "spike"


@pytest.mark.parametrize(("digest", "kind"), [(OPERATIONAL, "warning"), (RECOVERY, "success")])
def test_trouble_and_its_end_have_their_colours(digest: Digest, kind: str) -> None:
    with Receiver() as receiver:
        channel(here(receiver)).send(digest, soon())
        assert json.loads(receiver.received[0].body)["type"] == kind


def test_a_service_that_shows_markdown_gets_markdown() -> None:
    with Receiver() as receiver:
        channel(here(receiver, rest="/?format=markdown")).send(PLAIN, soon())
        assert json.loads(receiver.received[0].body)["message"] == render.markdown(PLAIN)


@pytest.mark.parametrize("overflow", ["upstream", "split", "truncate"])
@pytest.mark.parametrize(
    ("url", "most", "read"),
    [
        ("json://127.0.0.1:{port}/", 32768, lambda came: json.loads(came.body)["message"]),
        ("json://127.0.0.1:{port}/?format=html", 32768, lambda came: json.loads(came.body)["message"]),
        ("ntfy://127.0.0.1:{port}/topic", 7800, lambda came: came.body.decode()),
        ("mmost://127.0.0.1:{port}/" + "b" * 26, 4000, lambda came: json.loads(came.body)["text"]),
    ],
)
def test_what_is_too_long_is_shortened_by_us_and_says_so(
    url: str, most: int, read: Callable[[Any], str], overflow: str
) -> None:
    with Receiver() as receiver:
        where = url.format(port=receiver.port)
        channel(f"{where}{'&' if '?' in where else '?'}overflow={overflow}").send(LONG, soon())
        (came,) = receiver.received
    text = read(came)
    assert most * 0.8 < len(text) <= most
    assert " more" in text.replace("&nbsp;", " ")


# --- what is made of failures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [400, 401, 404, 429, 500, 503])
def test_a_refusal_is_one_request_and_says_why(code: int) -> None:
    with Receiver(faults=[Status(code)] * 3) as receiver:
        error = refused(here(receiver, rest=f"/{TOKEN}?retry=3"))
        assert len(receiver.received) == 1
    assert "JSON did not take the message: Failed to send JSON POST notification: " in str(error)
    assert f"error={code}." in str(error)


@pytest.mark.parametrize("fault", [Reset(), Reset(after_reading=True)])
def test_a_connection_that_breaks(fault: Fault) -> None:
    with Receiver(faults=[fault]) as receiver:
        assert "A Connection error occurred sending JSON notification to 127.0.0.1." in str(refused(here(receiver)))


@pytest.mark.parametrize("fault", [Hang(), Drip(begin=b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")])
def test_an_answer_that_does_not_come_is_given_up_at_the_deadline(fault: Fault) -> None:
    with Receiver(faults=[fault]) as receiver:
        refused(here(receiver), soon(0.4))
        assert len(receiver.received) == 1


def test_while_one_is_under_way_no_other_is_begun() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"
    with Receiver(faults=[Drip(begin=head)]) as receiver:
        phone = channel(here(receiver))
        with pytest.raises(DeliveryError, match="JSON did not answer in time"):
            phone.send(PLAIN, soon(0.4))
        with pytest.raises(DeliveryError, match="an earlier message is still under way"):
            phone.send(PLAIN, soon())
        assert len(receiver.received) == 1


def test_without_time_nothing_is_sent() -> None:
    with Receiver() as receiver:
        assert "no time was left" in str(refused(here(receiver), soon(0)))
        assert receiver.received == []


def test_timeouts_are_those_of_the_url_again_after_a_send_in_a_hurry() -> None:
    with Receiver(faults=[Hang()]) as receiver:
        phone = channel(here(receiver, rest="/?rto=7&cto=8"))
        with pytest.raises(DeliveryError):
            phone.send(PLAIN, soon(0.2))
        receiver.release()
    with Receiver(port=receiver.port) as again:
        while not again.received:
            try:
                phone.send(PLAIN, soon())
            except DeliveryError as error:
                assert "still under way" in str(error)  # noqa: PT017 - the hurried one may be on its way out yet
        assert len(again.received) == 1


def test_a_service_that_wants_pauses_is_not_waited_for_beyond_the_deadline() -> None:
    with Receiver() as receiver:
        phone = channel(here(receiver, "ntfy", "/topic"))  # five seconds and a half between two
        phone.send(PLAIN, soon())
        with pytest.raises(DeliveryError, match="takes its next message in") as error:
            phone.send(PLAIN, soon(2))
        assert 2 < error.value.retry_after <= 5.5
        assert len(receiver.received) == 1


def test_a_message_that_was_begun_goes_to_all_its_recipients() -> None:
    with Receiver() as receiver:
        channel(here(receiver, "ntfy", "/one/two/three")).send(PLAIN, soon(3))
        topics = sorted(json.loads(came.body)["topic"] for came in receiver.received)
    assert topics == ["one", "three", "two"]


# --- secrets ----------------------------------------------------------------------------------------------------------


class Log(logging.Handler):
    """What a log would hold at its most talkative. Not caplog: that hears what is not passed on, too."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += f"{record.name}: {record.getMessage()}\n"


def test_nothing_of_it_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log, root = Log(), logging.getLogger()
    root.addHandler(log)
    try:
        with Receiver(faults=[Status(500), Status(500)]) as receiver:
            for url in (here(receiver), here(receiver, "ntfy", f"/{TOKEN}?auth=token&token={TOKEN}")):
                refused(url)
                assert TOKEN not in repr(channel(url))
    finally:
        root.removeHandler(log)
    assert TOKEN not in log.text


@pytest.mark.parametrize(
    "url",
    [
        f"slack://{TOKEN}",
        f"sl4ck://{TOKEN}/{TOKEN}/{TOKEN}",
        f"{TOKEN}",
        "",
        f"json://:{TOKEN}@/",
        f"tgram://{TOKEN}/",
        f"json://user:{TOKEN}@host/?method={TOKEN}",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^channel phone: Apprise cannot use this \w+:// URL") as error:
        channel(url)
    assert TOKEN not in str(error.value)
    assert "\n" not in str(error.value)


# --- lists of URLs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ntfy://a", ["ntfy://a"]),
        (" ntfy://a  json://b:1/x\n", ["ntfy://a", "json://b:1/x"]),
        ("ntfy://a,slack://b/c/d,  json://e", ["ntfy://a", "slack://b/c/d", "json://e"]),
        ("mailto://u:p@h?to=a@b.c,d@e.f, ntfy://a", ["mailto://u:p@h?to=a@b.c,d@e.f", "ntfy://a"]),
    ],
)
def test_urls_are_split_as_apprise_splits_them(text: str, found: list[str]) -> None:
    assert list(urls(text)) == found
    assert [schema(one) for one in found] == [urlsplit(one).scheme for one in found]


@pytest.mark.parametrize("text", ["", "   ", "ntfy", "please ntfy://a"])
def test_what_is_no_list_of_urls(text: str) -> None:
    with pytest.raises(ValueError, match="write Apprise URLs"):
        urls(text)


def test_the_library_is_imported_only_where_a_channel_needs_it() -> None:
    code = "import sys, spike_assets.alerts.config; print({'apprise', 'requests'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
