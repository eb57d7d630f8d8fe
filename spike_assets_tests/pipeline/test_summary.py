"""What a stage tells of its work."""

from datetime import UTC, datetime, timedelta

import pandas as pd

from spike_assets.pipeline.summary import Summary
from spike_assets.store.data import Changes

START = datetime(2025, 3, 10, tzinfo=UTC)


def changes(added: int, updated: int, removed: int, *keys: tuple[str, int]) -> Changes:
    times = pd.DatetimeIndex([START + timedelta(hours=n) for _, n in keys], tz="UTC").as_unit("us")
    return Changes(added, updated, removed, pd.DataFrame({"instrument": [name for name, _ in keys], "time": times}))


def test_nothing() -> None:
    summary = Summary("atr")
    summary.take(changes(0, 0, 0))
    assert (summary.rows, summary.changed_range, summary.by_instrument()) == (0, None, {})


def test_writes_add_up() -> None:
    summary = Summary("atr")
    summary.take(changes(1, 1, 0, ("B", 5), ("A", 2)))
    summary.take(changes(0, 0, 0))
    summary.take(changes(0, 0, 1, ("A", 9)))
    assert (summary.added, summary.updated, summary.removed, summary.rows) == (1, 1, 1, 3)
    assert summary.by_instrument() == {"A": 2, "B": 1}
    assert summary.changed_range == (START + timedelta(hours=2), START + timedelta(hours=9))


def test_summaries_do_not_share_their_rows() -> None:
    one, two = Summary("atr"), Summary("events")
    one.take(changes(1, 0, 0, ("A", 1)))
    assert two.rows == 0
    assert two.changed.empty


def test_time_adds_up() -> None:
    summary = Summary("atr")
    with summary.timing():
        first = summary.milliseconds
    with summary.timing():
        pass
    assert first == 0
    assert summary.milliseconds > 0
