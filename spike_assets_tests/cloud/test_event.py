"""Every envelope that a platform puts around `{"granularity": "H1"}`, and what is none."""

import base64
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from spike_assets.cloud.event import Asked, BadEventError, read, time_left
from spike_assets.granularity import GRANULARITIES, H1, H4

AT = datetime(2026, 1, 15, 22, 5, tzinfo=UTC)
TEXT = "2026-01-15T22:05:00Z"
PLAIN = {"granularity": "H4"}


def packed(content: object) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode()


LEGACY = {"@type": "type.googleapis.com/google.pubsub.v1.PubsubMessage", "data": packed(PLAIN), "attributes": None}
MESSAGE = {"data": packed(PLAIN), "messageId": "1", "publishTime": TEXT, "attributes": {}}
PUSH = {"message": MESSAGE, "subscription": "projects/p/subscriptions/s"}
STRUCTURED = {"specversion": "1.0", "id": "1", "source": "//pubsub", "type": "t", "time": TEXT, "data": PUSH}
EVENTBRIDGE = {
    "version": "0",
    "id": "1",
    "detail-type": "spike",
    "source": "spike",
    "time": TEXT,
    "region": "eu-west-1",
    "resources": [],
    "detail": PLAIN,
}


@pytest.mark.parametrize(
    ("event", "at"),
    [
        pytest.param(PLAIN, None, id="plain"),
        pytest.param({"granularity": "h4"}, None, id="small letters"),
        pytest.param(json.dumps(PLAIN).encode(), None, id="an HTTP body"),
        pytest.param(PLAIN | {"time": TEXT}, AT, id="EventBridge Scheduler's own input"),
        pytest.param(LEGACY, None, id="Pub/Sub, a legacy event"),
        pytest.param(PUSH, AT, id="Pub/Sub, a push body or a CloudEvent's data"),
        pytest.param({"message": {"data": packed(PLAIN), "publish_time": TEXT}}, AT, id="Pub/Sub, as it is spelt, too"),
        pytest.param(STRUCTURED, AT, id="a whole CloudEvent"),
        pytest.param({"specversion": "1.0", "data": PLAIN, "time": TEXT}, AT, id="a CloudEvent around the event"),
        pytest.param(EVENTBRIDGE, AT, id="EventBridge"),
    ],
)
def test_every_envelope_is_opened(event: object, at: datetime | None) -> None:
    assert read(event) == Asked(H4, at)


@pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
def test_every_granularity_is_known(granularity: object) -> None:
    assert read({"granularity": str(granularity)}).granularity is granularity


@pytest.mark.parametrize(
    ("timestamp", "at"),
    [
        (None, None),
        (TEXT, AT),
        ("2026-01-15T22:05:00.123456789Z", AT + timedelta(microseconds=123456)),
        ("2026-01-15T17:05:00-05:00", AT),
        (AT, AT),
    ],
)
def test_the_context_says_when_too(timestamp: object, at: datetime | None) -> None:
    assert read(PLAIN, SimpleNamespace(timestamp=timestamp)).at == at
    assert read(PLAIN, None).at is None


def test_of_several_times_the_oldest_counts() -> None:
    later = SimpleNamespace(timestamp="2026-01-15T23:00:00Z")
    assert read(EVENTBRIDGE, later).at == AT
    assert read(STRUCTURED | {"time": "2026-01-15T21:00:00Z"}, later).at == AT - timedelta(minutes=65)


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (None, "the event is no JSON object but NoneType; send"),
        ([PLAIN], "no JSON object but list"),
        (b"", "the event is no JSON"),
        (b"\xff", "the event is no JSON"),
        ("granularity=H1", "the event is no JSON"),
        ({}, 'names no granularity; send {"granularity": "H1"}'),
        ({"granularity": "M5"}, "granularity: 'M5' is none of H1, H4, D, W"),
        ({"granularity": None}, "granularity: None is none of H1, H4, D, W"),
        ({"granularity": {"H1": 1}}, "is none of H1, H4, D, W"),
        ({"granularity": "x" * 10_000}, "is none of H1, H4, D, W"),
        ({"message": {"data": "%%%", "publishTime": TEXT}}, "the event's data is not base64"),
        ({"message": {"data": packed("H1")}}, "the event is no JSON object but str"),
        ({"message": {"messageId": "1"}}, "names no granularity"),
        (EVENTBRIDGE | {"detail": {}}, "names no granularity"),
        (PLAIN | {"time": "soon"}, "the event's time 'soon' is no time"),
        (PLAIN | {"time": "2026-01-15T22:05:00"}, "has no zone; write it like 2026-01-15T22:05:00Z"),
        ({"data": {"data": {"data": {"data": {"data": {"data": {"data": PLAIN}}}}}}}, "more envelopes than any"),
    ],
)
def test_what_is_none_is_told_in_a_line(event: object, says: str) -> None:
    with pytest.raises(BadEventError) as error:
        read(event)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


def test_how_long_the_platform_waits() -> None:
    assert time_left(None) is None
    assert time_left(SimpleNamespace(timestamp=TEXT)) is None
    assert time_left(SimpleNamespace(get_remaining_time_in_millis=lambda: 12_500)) == timedelta(seconds=12.5)


def test_h1_is_what_the_errors_say_to_send() -> None:
    assert read('{"granularity": "H1"}').granularity is H1
