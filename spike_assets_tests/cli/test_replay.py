"""The demo's replay: the hours that closed last pass live, and end as if they had been loaded."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spike_assets.alerts.channels.log import LogChannel
from spike_assets.alerts.policy import Policy
from spike_assets.alerts.wants import Wants
from spike_assets.cli.replay import begins, due, replay
from spike_assets.deadline import Deadline
from spike_assets.errors import TransientError
from spike_assets.granularity import GRANULARITIES, H1, Granularity
from spike_assets.market_hours import Window, last_closed
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.backfill import backfill
from spike_assets.reporting import Reported, Reporter
from spike_assets.sources.base import Fetched
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store.ops import State
from spike_assets.store.store import Store
from spike_assets_tests.support import FOREVER, MemoryEngine, hashes, make_pipeline

HOURS = 24
NOW = datetime(2026, 6, 10, 14, 30, tzinfo=UTC)
"""A Wednesday."""
BEGIN = NOW - timedelta(days=12)
NAMES = ("EUR_USD", "GBP_USD", "USD_MXN")


@dataclass(frozen=True)
class Notes(Reporter):
    """A reporter that is heard by nobody."""

    url: str | None = None
    since: datetime = BEGIN
    told: list[tuple[Granularity, Window]] = field(default_factory=list)

    def report(
        self,
        granularity: Granularity,
        window: Window,
        trigger: str,
        deadline: Deadline,  # noqa: ARG002
    ) -> Reported | None:
        assert trigger == "replay"
        self.told.append((granularity, window))
        return Reported(1, 1, "nobody listens") if len(self.told) == 1 else Reported(1)


def empty() -> Pipeline:
    phone = LogChannel("phone", Wants())
    return make_pipeline(
        SimulatedSource(),
        Store(MemoryEngine()),
        NAMES,
        history_start=BEGIN,
        clock=lambda: NOW,
        policy=Policy(channels=(phone,)),
    )


def loaded(until: datetime) -> Pipeline:
    pipeline = empty()
    for granularity in GRANULARITIES.values():
        backfill(replace(pipeline, clock=lambda: until), granularity, Window(BEGIN, until))
    return pipeline


def processed(until: datetime) -> Pipeline:
    """Give a pipeline whose passes have come so far, and found nothing."""
    pipeline = empty()
    with pipeline.store.writing(FOREVER, "a test") as session, session.transaction():
        for granularity in GRANULARITIES.values():
            session.ops.write_state(granularity, State(last_closed(granularity, until).end))
    return pipeline


def on(seconds: float) -> bool:
    assert seconds == 0.0
    return False


def test_it_ends_as_if_everything_had_been_loaded_and_rings_no_phone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline, notes, said = loaded(begins(NOW, HOURS)), Notes(), list[str]()
    ticks = due(pipeline)
    assert [at for at, granularity in ticks if granularity is H1] == [
        begins(NOW, HOURS) + timedelta(hours=n, minutes=5) for n in range(1, HOURS + 1)
    ]
    assert ticks == sorted(ticks, key=lambda tick: (tick[0], list(GRANULARITIES.values()).index(tick[1])))
    replay(pipeline, ticks, notes, said.append, on, 0)

    clean = loaded(NOW)
    for granularity in GRANULARITIES.values():
        assert hashes(pipeline, granularity) == hashes(clean, granularity)
    assert due(pipeline) == []
    assert [granularity for granularity, _ in notes.told] == [granularity for _, granularity in ticks]
    assert notes.told[0] == (H1, Window(begins(NOW, HOURS), begins(NOW, HOURS) + timedelta(hours=1)))
    assert "H1: told Dagster of 1 partition of 5 assets, not of 1: nobody listens" in said
    assert sum(line.startswith("[simulated] H1 closed ") for line in said) > 1
    assert not caplog.records
    with pipeline.store.reading(FOREVER) as session:
        assert session.outbox.untold("phone") == []
        assert session.outbox.untold("log") == []


def test_what_is_stopped_goes_on_where_it_was() -> None:
    pipeline = processed(begins(NOW, HOURS))
    ticks = due(pipeline)
    replay(pipeline, ticks, Notes(), lambda _: None, lambda _: True, 0)
    assert due(pipeline) == ticks[1:]


def test_a_weekend_is_passed_over() -> None:
    monday = datetime(2026, 6, 8, 3, 30, tzinfo=UTC)
    pipeline = replace(processed(begins(monday, HOURS)), clock=lambda: monday)
    hours = [at for at, granularity in due(pipeline) if granularity is H1]
    assert len(hours) == HOURS
    assert hours[-1] == last_closed(H1, monday).end + timedelta(minutes=5)
    assert datetime(2026, 6, 5, 21, 5, tzinfo=UTC) in hours
    assert datetime(2026, 6, 7, 22, 5, tzinfo=UTC) in hours
    assert not [at for at in hours if datetime(2026, 6, 5, 22, tzinfo=UTC) < at < datetime(2026, 6, 7, 22, tzinfo=UTC)]


class Away(SimulatedSource):
    """A source that is away at first."""

    def __init__(self, times: int) -> None:
        self.left = times

    def fetch(self, *arguments: Any, **options: Any) -> Fetched:
        self.left -= 1
        if self.left >= 0:
            raise TransientError("nobody answers")
        return super().fetch(*arguments, **options)


def test_a_pass_that_may_succeed_later_does_not_end_it() -> None:
    pipeline, said = processed(begins(NOW, 5)), list[str]()
    ticks = due(pipeline)
    replay(replace(pipeline, source=Away(2)), ticks, Notes(), said.append, on, 0)
    assert said[:2] == ["H1: nobody answers"] * 2
    assert due(pipeline) == []
