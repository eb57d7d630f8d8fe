"""What the platform remembers of its own running."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from spike_assets.granularity import H1, H4
from spike_assets.store.ops import Pass, Provenance, Running, State
from spike_assets.store.ops_tables import PASSES
from spike_assets.store.store import Session

NOW = datetime(2025, 3, 10, 5, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def test_state_is_kept_per_granularity(session: Session) -> None:
    assert session.ops.state(H1) is None
    state = State(NOW, NOW, None, 3, 17)
    session.ops.write_state(H1, state)
    assert session.ops.state(H1) == state
    assert session.ops.state(H4) is None
    session.ops.write_state(H1, replace(state, last_success=LATER, consecutive_failures=0))
    assert session.ops.state(H1) == State(NOW, NOW, LATER, 0, 17)


def test_forgetting_is_of_one_granularity(session: Session) -> None:
    for granularity in (H1, H4):
        session.ops.write_state(granularity, State(NOW, NOW, NOW, 0, 1))
        session.ops.write_backfilled(granularity, NOW, "all", LATER)
    session.ops.forget(H1)
    assert session.ops.state(H1) is None
    assert session.ops.backfilled_until(H1, NOW, "all") is None
    assert session.ops.state(H4) == State(NOW, NOW, NOW, 0, 1)
    assert session.ops.backfilled_until(H4, NOW, "all") == LATER


def done(**values: object) -> Pass:
    fine = Pass("H1", "schedule", NOW, LATER, NOW, LATER, "success", 29, 4, 1, {"candles": 12.5})
    return replace(fine, pass_id=Pass("", "", None, None, NOW, NOW, "").pass_id, **values)  # type: ignore[arg-type]


def test_passes_are_recorded(session: Session) -> None:
    session.ops.record(done())
    session.ops.record(done(window_start=None, window_end=None, status="failed", error="the disk is full", stages={}))
    rows = session._connection.frame("SELECT * FROM ops.passes ORDER BY status", PASSES.columns)
    assert rows["status"].tolist() == ["failed", "success"]
    assert rows["error"].tolist() == ["the disk is full", None]
    assert rows["window_start"].isna().tolist() == [True, False]
    assert json.loads(rows["stages"][1]) == {"candles": 12.5}
    assert rows[["candles", "events", "quarantined"]].to_numpy().tolist()[1] == [29, 4, 1]
    assert rows["pass_id"].nunique() == 2


def test_last_error_is_that_of_the_newest_failure(session: Session) -> None:
    assert session.ops.last_error(H1) is None
    session.ops.record(done(status="failed", error="first"))
    session.ops.record(done(status="failed", error="second", ended_at=LATER + timedelta(hours=1)))
    session.ops.record(done(granularity="H4", status="failed", error="other", ended_at=LATER + timedelta(hours=2)))
    session.ops.record(done(ended_at=LATER + timedelta(hours=3)))
    assert session.ops.last_error(H1) == "second"


def test_provenance_is_one_row(session: Session) -> None:
    assert session.ops.provenance() is None
    for period in (14, 7):
        session.ops.write_provenance(Provenance("simulated", "mid", period, 1))
        assert session.ops.provenance() == Provenance("simulated", "mid", period, 1)


def test_unavailable_since_is_kept_while_it_is_asked_again(session: Session) -> None:
    assert session.ops.unavailable(H1).empty
    session.ops.write_unavailable(H1, "USD_RON", "unknown", NOW)
    session.ops.write_unavailable(H1, "USD_PHP", "unknown", NOW)
    session.ops.write_unavailable(H1, "USD_RON", "still unknown", LATER)
    rows = session.ops.unavailable(H1)
    assert rows["instrument"].tolist() == ["USD_PHP", "USD_RON"]
    assert rows["unavailable_since"].tolist() == [NOW, NOW]
    assert rows["asked_at"].tolist() == [NOW, LATER]
    assert rows["reason"].tolist() == ["unknown", "still unknown"]
    session.ops.write_available(H1, "USD_RON")
    assert session.ops.unavailable(H1)["instrument"].tolist() == ["USD_PHP"]
    session.ops.write_unavailable(H1, "USD_RON", "gone again", LATER)
    assert session.ops.unavailable(H1)["unavailable_since"].tolist() == [NOW, LATER]


def test_an_instrument_may_be_unavailable_at_one_granularity_only(session: Session) -> None:
    session.ops.write_unavailable(H1, "EUR_DKK", "no file", NOW)
    session.ops.write_unavailable(H4, "EUR_DKK", "no file", LATER)
    session.ops.write_available(H4, "EUR_DKK")
    assert session.ops.unavailable(H1)["instrument"].tolist() == ["EUR_DKK"]
    assert session.ops.unavailable(H4).empty


def test_backfills_are_kept_by_what_they_are_about(session: Session) -> None:
    session.ops.write_backfilled(H1, NOW, "some", NOW)
    session.ops.write_backfilled(H1, NOW, "some", LATER)
    assert session.ops.backfilled_until(H1, NOW, "some") == LATER
    assert session.ops.backfilled_until(H1, NOW, "others") is None
    assert session.ops.backfilled_until(H1, LATER, "some") is None
    assert session.ops.backfilled_until(H4, NOW, "some") is None
    session.ops.finish_backfill(H1, NOW, "some")
    assert session.ops.backfilled_until(H1, NOW, "some") is None


def test_a_pass_under_way_is_part_of_the_state(session: Session) -> None:
    state = State(NOW, NOW, NOW, 0, 17, Running("schedule", NOW, LATER, "host/42"))
    session.ops.write_state(H1, state)
    assert session.ops.state(H1) == state
    session.ops.write_state(H1, replace(state, running=None))
    assert session.ops.state(H1) == replace(state, running=None)


def test_what_was_recorded_of_a_pass_first_stays(session: Session) -> None:
    once = done()
    session.ops.record(once)
    session.ops.record(replace(once, status="failed", error="too late"))
    rows = session._connection.frame("SELECT * FROM ops.passes", PASSES.columns)
    assert rows["status"].tolist() == ["success"]


def test_pips_are_kept_as_the_broker_says_them_last(session: Session) -> None:
    assert session.ops.pips() == {}
    session.ops.write_pips({"EUR_USD": -4, "USD_JPY": -2})
    session.ops.write_pips({"USD_JPY": -3, "USD_THB": -2})
    assert session.ops.pips() == {"EUR_USD": -4, "USD_JPY": -3, "USD_THB": -2}
