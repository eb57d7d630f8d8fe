"""How the platform stands: each field against a store whose history is known."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from spike_assets import market_hours
from spike_assets.errors import SpikeError
from spike_assets.granularity import GRANULARITIES, H1, H4, D, Granularity, W
from spike_assets.market_hours import Window, next_tick
from spike_assets.pipeline import Pipeline, process
from spike_assets.pipeline.backfill import backfill
from spike_assets.pipeline.status import GranularityStatus, opened_since, status
from spike_assets.sources.base import Fetched
from spike_assets.store.pending import Mark
from spike_assets.store.store import Store
from spike_assets.store.tables import EVENTS
from spike_assets_tests.support import FOREVER, FrameSource, MemoryEngine, make_pipeline, simulated

INSTRUMENTS = ("EUR_USD", "GBP_USD", "USD_JPY")
HISTORY = Window(datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC))
TUESDAY = datetime(2026, 3, 10, 12, 7, tzinfo=UTC)  # New York is in summer time already: a day ends at 21:00 UTC


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}+00:00")


@pytest.fixture
def source() -> FrameSource:
    return FrameSource(simulated(H1, INSTRUMENTS, HISTORY))


@pytest.fixture
def pipeline(source: FrameSource) -> Pipeline:
    return make_pipeline(source, Store(MemoryEngine()), INSTRUMENTS, clock=lambda: TUESDAY)


def stand(pipeline: Pipeline, now: datetime = TUESDAY, granularity: Granularity = H1) -> GranularityStatus:
    return next(one for one in status(pipeline, now=now).granularities if one.granularity is granularity)


def loaded(pipeline: Pipeline, until: datetime = TUESDAY) -> Pipeline:
    backfill(replace(pipeline, clock=lambda: until), H1, Window(HISTORY.start, until))
    return pipeline


def reasons(pipeline: Pipeline, now: datetime = TUESDAY) -> list[str]:
    return [reason for reason in status(pipeline, now=now).reasons if "never ran" not in reason]


def test_an_empty_store_has_never_run(pipeline: Pipeline) -> None:
    found = status(pipeline)
    assert [one.granularity for one in found.granularities] == list(GRANULARITIES.values())
    assert {one.outcome for one in found.granularities} == {"never"}
    assert (found.at, found.source, found.simulated, found.database) == (TUESDAY, "frame", False, "memory")
    assert (found.healthy, found.reasons, found.recent_events) == (False, ("nothing has run yet",), 0)
    one = found.granularities[0]
    assert (one.last_run, one.last_success, one.last_processed, one.newest_candle) == (None,) * 4
    assert (one.behind, one.overdue_since, one.late, one.pending, one.quarantined) == (0, None, (), 0, 0)


def test_what_has_just_run_is_well(pipeline: Pipeline) -> None:
    one = stand(loaded(pipeline))
    assert one.outcome == "ok"
    assert (one.last_run, one.last_success) == (TUESDAY, TUESDAY)
    assert (one.last_processed, one.newest_candle) == (at("03-10T12:00"), at("03-10T11:00"))
    assert (one.next_close, one.next_run) == (at("03-10T13:00"), at("03-10T13:05"))
    assert (one.behind, one.overdue_since, one.late, one.reasons()) == (0, None, (), [])
    assert status(pipeline).reasons == ("H4, D, W never ran",)


def test_an_unprocessed_candle_is_overdue_once_its_tick_and_the_timeout_have_passed(pipeline: Pipeline) -> None:
    loaded(pipeline)
    on_time = at("03-10T13:05") + H1.timeout
    one = stand(pipeline, on_time)
    assert (one.behind, one.overdue_since, one.next_run) == (1, None, at("03-10T14:05"))
    late = on_time + timedelta(microseconds=1)
    assert stand(pipeline, late).overdue_since == at("03-10T13:00")
    assert reasons(pipeline, late) == ["H1 is overdue (1 unprocessed, the oldest closed 2026-03-10 13:00 UTC)"]


def test_what_is_overdue_is_caught_up_with_while_passes_go_well(pipeline: Pipeline) -> None:
    loaded(pipeline)
    now = at("03-10T20:30")
    overdue = "H1 is overdue (8 unprocessed, the oldest closed 2026-03-10 13:00 UTC)"
    assert (status(pipeline, now=now).catching_up, reasons(pipeline, now)) == ((), [overdue])
    # Somebody works off what was missed, hour by hour, faster than hours pass.
    replaying = replace(pipeline, clock=lambda: now)
    process(replaying, H1, now=at("03-10T13:06"))
    found = status(pipeline, now=now + timedelta(seconds=59))
    assert found.granularities[0].went_well == now
    assert found.catching_up == ("H1 has 7 candle times to go",)
    assert found.as_json()["catching_up"] == list(found.catching_up)
    assert found.reasons == ("H4, D, W never ran",)
    later = now + timedelta(minutes=1)
    assert (status(pipeline, now=later).catching_up, len(reasons(pipeline, later))) == ((), 1)
    process(replaying, H1, now=now)
    assert (status(pipeline, now=now).catching_up, reasons(pipeline, now)) == ((), [])


def test_a_backfill_is_no_sign_that_live_passes_go_well(pipeline: Pipeline) -> None:
    loaded(pipeline)
    now = at("03-10T20:30")
    backfill(replace(pipeline, clock=lambda: now), H1, Window(HISTORY.start, at("03-10T12:00")))
    assert status(pipeline, now=now).catching_up == ()


def test_between_a_close_and_its_tick_the_next_run_is_that_tick(pipeline: Pipeline) -> None:
    loaded(pipeline)
    assert stand(pipeline, at("03-10T13:01")).next_run == at("03-10T13:05")


def test_nothing_is_overdue_on_a_weekend(pipeline: Pipeline) -> None:
    friday = at("03-13T21:07")
    loaded(pipeline, friday)
    sunday = at("03-15T21:00")
    one = stand(pipeline, sunday)
    assert (one.behind, one.overdue_since, reasons(pipeline, sunday)) == (0, None, [])
    assert (one.next_close, one.next_run) == (at("03-15T22:00"), at("03-15T22:05"))


def test_failures_in_a_row_are_counted_and_the_last_one_told(pipeline: Pipeline) -> None:
    loaded(pipeline)
    broken = replace(pipeline, source=Broken())
    for minute in (5, 6):
        with pytest.raises(SpikeError):
            process(broken, H1, now=at(f"03-10T13:0{minute}"))
    one = stand(pipeline, at("03-10T13:07"))
    assert (one.outcome, one.consecutive_failures, one.last_error) == ("failed", 2, "the broker is away")
    assert (one.last_run, one.last_success) == (at("03-10T13:06"), TUESDAY)
    assert "H1 failed 2 times in a row (the broker is away)" in reasons(pipeline)
    process(pipeline, H1, now=at("03-10T13:08"))
    one = stand(pipeline, at("03-10T13:09"))
    assert (one.outcome, one.consecutive_failures, one.last_error) == ("ok", 0, None)


class Broken:
    name, price = "frame", "mid"

    def fetch(self, *_: object, **__: object) -> Fetched:
        raise SpikeError("the broker is away")


def test_late_are_those_that_lack_the_newest_processed_candle(pipeline: Pipeline, source: FrameSource) -> None:
    newest = (source.candles["instrument"] == "USD_JPY") & (source.candles["time"] == at("03-10T11:00"))
    source.candles = source.candles[~newest]
    assert stand(loaded(pipeline)).late == ("USD_JPY",)
    assert reasons(pipeline) == []  # an hour without a tick is no fault


def test_unavailable_ones_are_told_with_the_sources_words_and_are_not_late(source: FrameSource) -> None:
    watched = (*INSTRUMENTS, "USD_RON")
    pipeline = loaded(make_pipeline(source, Store(MemoryEngine()), watched, clock=lambda: TUESDAY))
    found = status(pipeline)
    assert found.unavailable == found.granularities[0].unavailable == {"USD_RON": "not in the frame"}
    assert found.granularities[0].late == ()
    assert status(replace(pipeline, instruments=INSTRUMENTS)).unavailable == {}


def test_pending_marks_count_once_nothing_waits_to_be_processed(pipeline: Pipeline) -> None:
    loaded(pipeline)
    with pipeline.store.writing(FOREVER, "a test") as session:
        session.pending.mark(H1, ["events"], [Mark("EUR_USD", at("02-01T00:00"), at("02-02T00:00"))])
    assert stand(pipeline).pending == 1
    assert reasons(pipeline) == ["H1 has 1 range pending"]
    assert reasons(pipeline, at("03-10T13:05")) == []  # a pass may be at it


def test_quarantine_is_counted_and_is_no_reason(pipeline: Pipeline, source: FrameSource) -> None:
    source.candles.loc[5, "high"] = 0.0
    assert stand(loaded(pipeline)).quarantined == 1
    assert reasons(pipeline) == []


def test_recent_events_are_those_that_closed_in_the_last_day(pipeline: Pipeline) -> None:
    loaded(pipeline)
    with pipeline.store.reading(FOREVER) as session:
        closed = session.data.read(H1, EVENTS, columns=["closed_at"])["closed_at"]
    for now in (TUESDAY, *(time.to_pydatetime() + timedelta(days=1) for time in closed[-3:])):
        assert stand(pipeline, now).recent_events == int((closed >= now - timedelta(days=1)).sum())
    assert status(pipeline).recent_events == stand(pipeline).recent_events > 0


def test_reading_the_status_changes_nothing(pipeline: Pipeline) -> None:
    loaded(pipeline)
    assert status(pipeline) == status(pipeline)


def test_json_holds_everything(pipeline: Pipeline) -> None:
    loaded(pipeline)
    said = status(pipeline).as_json()
    assert set(said) >= {"at", "healthy", "reasons", "recent_events", "source", "simulated", "unavailable"}
    each = said["granularities"]
    assert isinstance(each, dict)
    assert list(each) == ["H1", "H4", "D", "W"]
    fields = set(GranularityStatus.__dataclass_fields__) - {"granularity"} | {"outcome"}
    assert set(each["H1"]) == fields
    assert each["H1"]["last_processed"] == "2026-03-10T12:00:00Z"
    assert each["W"]["last_processed"] is None


@pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
def test_opened_since_is_the_first_candle_that_closes_then_or_later(granularity: Granularity) -> None:
    opens = market_hours.candle_times(granularity, Window(at("02-20T00:00"), at("03-20T00:00")))
    for open_ in opens[:: max(1, len(opens) // 20)]:
        closed = market_hours.close_of(granularity, open_.to_pydatetime())
        assert opened_since(granularity, closed) == open_
        assert opened_since(granularity, closed + timedelta(microseconds=1)) > open_
        assert opened_since(granularity, closed - timedelta(microseconds=1)) == open_


@pytest.mark.parametrize(
    ("granularity", "now", "tick"),
    [
        (H1, "03-10T12:07", "03-10T13:05"),
        (H1, "03-10T12:05", "03-10T12:05"),
        (H1, "03-10T23:06", "03-11T00:05"),
        (H4, "03-10T12:07", "03-10T13:05"),
        (H4, "03-10T13:06", "03-10T14:05"),
        (H4, "03-10T22:06", "03-11T01:05"),
        (D, "03-10T12:07", "03-10T21:05"),
        (D, "03-10T21:06", "03-10T22:05"),
        (D, "03-10T22:06", "03-11T21:05"),
        (W, "03-10T12:07", "03-15T21:05"),
        (W, "03-15T21:06", "03-22T21:05"),
    ],
)
def test_ticks_come_as_declared(granularity: Granularity, now: str, tick: str) -> None:
    assert next_tick(granularity, at(now)) == at(tick)
