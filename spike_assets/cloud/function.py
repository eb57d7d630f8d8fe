"""`spike_process`, and how HTTP and CloudEvents come to it.

A call is a pass. Its caller may call twice, late, or at once with another; the store knows what is done, so that the
second finds nothing to do. What may succeed later is raised, because that is what every platform tries again.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Protocol

from spike_assets import market_hours
from spike_assets.cloud.event import Asked, read, time_left
from spike_assets.cloud.warm import is_cold, warm
from spike_assets.deadline import Deadline
from spike_assets.errors import SpikeError, TransientError
from spike_assets.pipeline import PassResult, process
from spike_assets.reporting import Reported

TRIGGER = "function"
"""What the passes of a function are recorded as."""

ANSWERING = timedelta(seconds=1)
"""What is kept of the platform's time for the answer, where it tells how much there is."""

SENT_AT = ("X-CloudScheduler-ScheduleTime", "ce-time")
"""Headers that say when a request was due. Cloud Scheduler's is the same over all of its attempts."""


class HttpRequest(Protocol):
    """What is needed of a Flask request."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, whatever their case."""
        ...

    def get_data(self) -> bytes:
        """Give the body."""
        ...


class CloudEvent(Protocol):
    """What is needed of a CloudEvent."""

    @property
    def data(self) -> object:
        """What is inside."""
        ...

    def get(self, key: str) -> object:
        """Give an attribute, None where it is absent."""
        ...


def spike_process(event: object, context: object = None) -> dict[str, object]:
    """Run the pass that an event asks for: an AWS Lambda handler, and a background function, as it is.

    Parameters
    ----------
    event
        `{"granularity": "H1"}`, in an envelope or without (see `event`).
    context
        The platform's: its `timestamp` and `get_remaining_time_in_millis()` are respected where it has them.

    Returns
    -------
    dict
        `status`: `success`, `no_new_data`, `skipped` (the event is older than a candle) or `failed` (and will fail
        again until somebody changes something); `processed`: `instrument`, `candles_processed` and `events_detected` of
        those with news; `duration_ms`; and, unless it is a success, `reason` or `error`.

    Raises
    ------
    TransientError
        The pass failed, and may succeed when it is tried again.
    """
    call = _Call()
    try:
        asked = read(event, context)
        call.line["granularity"] = asked.granularity.name
        answer = _answer(asked, context, call)
    except TransientError as error:
        call.say("failed", f"{error}; to be tried again", "ERROR")
        raise
    except SpikeError as error:
        call.say("failed", str(error), "ERROR")
        return {"status": "failed", "processed": [], "duration_ms": call.milliseconds(), "error": _one_line(error)}
    except Exception as error:
        call.say("failed", f"a fault in spike, report this: {type(error).__name__}: {error}", "CRITICAL")
        raise
    return answer


def spike_http(request: HttpRequest) -> dict[str, object]:
    """Answer an HTTP request whose body is the event.

    The status is 200 whenever there is an answer, `failed` too: Cloud Scheduler and Pub/Sub's push try again whatever
    is not 2xx, 4xx included, and what is permanent would fail the same way each time. That it failed says the answer,
    the log (an ERROR line) and the store. What may pass is raised, which the framework makes a 500 of.
    """
    sent = next((request.headers[name] for name in SENT_AT if name in request.headers), None)
    return spike_process(request.get_data(), SimpleNamespace(timestamp=sent))


def spike_cloud_event(cloud_event: CloudEvent) -> dict[str, object]:
    """Take a CloudEvent: of Pub/Sub, or with the event as its data. The framework answers its caller OK, no more."""
    return spike_process(cloud_event.data, SimpleNamespace(timestamp=cloud_event.get("time")))


def _answer(asked: Asked, context: object, call: "_Call") -> dict[str, object]:
    here, granularity = warm(), asked.granularity
    now = here.pipeline.clock()
    if asked.at is not None and now - asked.at > granularity.step:
        reason = f"it was asked for at {_minute(asked.at)}, longer ago than a {granularity} candle"
        call.say("skipped", reason, "WARNING")
        return {"status": "skipped", "processed": [], "duration_ms": call.milliseconds(), "reason": reason}
    deadline = _deadline(granularity.timeout, context)
    result = process(here.pipeline, granularity, now=now, trigger=TRIGGER, deadline=deadline)
    told = here.reporter.report(granularity, result.window, TRIGGER, deadline)
    answer = result.as_json() | {"duration_ms": call.milliseconds()}
    reason = ""
    if result.status != "success":
        reason = f"nothing new: {granularity} next closes {_minute(market_hours.next_close(granularity, now))}"
        answer["reason"] = reason
    call.say_done(result, told, reason)
    return answer


def _deadline(timeout: timedelta, context: object) -> Deadline:
    left = time_left(context)
    return Deadline.after(timeout if left is None else min(timeout, left - ANSWERING))


class _Call:
    """One call, and its one line in the log: JSON, as Cloud Logging and CloudWatch read it."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self.line: dict[str, object] = {"granularity": None, "cold": is_cold()}

    def milliseconds(self) -> float:
        """Give how long it has been."""
        return round((time.monotonic() - self._start) * 1000, 1)

    def say(self, status: str, text: str, severity: str = "INFO") -> None:
        """Write the line."""
        said = f"{self.line['granularity'] or 'spike'} {status}: {' '.join(text.split())}"
        line = {"severity": severity, "message": said, "status": status, "duration_ms": self.milliseconds()}
        sys.stdout.write(json.dumps(line | self.line) + "\n")
        sys.stdout.flush()

    def say_done(self, result: PassResult, told: Reported | None, reason: str) -> None:
        """Write the line of a pass that went well."""
        counts = {summary.stage: summary.rows for summary in result.summaries}
        sent = Counter(outcome.status for outcome in result.sent)
        self.line |= {"rows": counts, "behind": result.behind, "messages": dict(sent)}
        if told:
            self.line["dagster"] = str(told)
        amiss = (told and told.why) or any(status != "sent" for status in sent)
        done = f"{counts.get('candles', 0)} candles, {counts.get('events', 0)} events"
        self.say(result.status, reason or done, "WARNING" if amiss else "INFO")


def _minute(time_: datetime) -> str:
    return f"{time_.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _one_line(error: SpikeError) -> str:
    return " ".join(str(error).split())
