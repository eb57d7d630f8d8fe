"""The hub: every page gets every delta once, or is told to begin afresh."""

import asyncio
import json
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from spike_assets.dashboard.feed import Client, Hub

NOW = datetime(2025, 3, 10, 6, tzinfo=UTC)
ALERTS: dict[str, Any] = {"alerts": []}


def hub(**how: Any) -> Hub:
    """Give a hub that has begun at number 101."""
    found = Hub(100, lambda: NOW, **how)
    found.begin({"n": 0}, ALERTS)
    return found


def publish(to: Hub, n: int) -> None:
    to.publish([{"kind": "test", "n": n}], {"n": n}, ALERTS)


def told(client: Client) -> list[Any]:
    """Give all that waits for a page: numbers of deltas, and what else there is by its type."""
    found: list[Any] = []
    pending: Coroutine[Any, Any, str] | None = None
    while client._frames or client._lost:
        pending = client.next()
        with pytest.raises(StopIteration) as done:
            pending.send(None)
        frame = json.loads(done.value.value)
        found.append(
            frame["changes"][0]["n"] if frame["type"] == "delta" else f"{frame['type']} {frame.get('seq', '')}".strip()
        )
    return found


def test_a_page_begins_with_a_snapshot_and_goes_on_with_deltas() -> None:
    it = hub()
    with it.joined(None) as client:
        publish(it, 1)
        publish(it, 2)
        assert told(client) == ["snapshot 101", 1, 2]
        assert it.clients == 1
    assert (it.clients, it.seq, it.deltas) == (0, 103, 2)


def test_a_snapshot_says_what_is_known_by_then_and_what_time_it_is() -> None:
    it = hub()
    publish(it, 7)
    with it.joined(None) as client:
        frame = json.loads(asyncio.run(client.next()))
    assert frame == {
        "type": "snapshot",
        "seq": 102,
        "status": {"n": 7, "now": "2025-03-10T06:00:00Z"},
        "alerts": ALERTS,
    }


@pytest.mark.parametrize(
    ("since", "gets"),
    [
        (104, []),
        (103, [3]),
        (102, [2, 3]),
        (101, ["snapshot 104"]),  # of three deltas two are kept
        (0, ["snapshot 104"]),
        (105, ["snapshot 104"]),  # of another server
        (None, ["snapshot 104"]),
    ],
)
def test_who_comes_back_gets_what_was_missed_once(since: int | None, gets: list[Any]) -> None:
    it = hub(kept=2)
    for n in (1, 2, 3):
        publish(it, n)
    with it.joined(since) as client:
        assert told(client) == gets
        publish(it, 4)
        assert told(client) == [4]


def test_coming_back_after_much_is_not_being_slow() -> None:
    it = hub(queued=2)
    for n in range(10):
        publish(it, n)
    with it.joined(101) as client:
        publish(it, 10)
        assert told(client) == list(range(11))


def test_a_slow_page_begins_afresh_and_the_others_do_not() -> None:
    it = hub(queued=2)
    with it.joined(104) as slow, it.joined(None) as quick:
        assert told(slow) == told(quick) == ["snapshot 101"]
        for n in (1, 2, 3, 4):
            publish(it, n)
            assert told(quick) == [n]
        assert it.resets == 1
        assert told(slow) == ["reset", "snapshot 105"]
        publish(it, 5)
        assert told(slow) == told(quick) == [5]


def test_what_means_nothing_any_more_is_not_continued() -> None:
    it = hub()
    publish(it, 1)
    with it.joined(None) as client:
        it.begin({"n": 9}, ALERTS)
        assert told(client) == ["reset", "snapshot 103"]
    with it.joined(102) as client:
        assert told(client) == ["snapshot 103"]


def test_a_sign_of_life_comes_when_nothing_else_waits() -> None:
    it = hub()
    with it.joined(None) as client:
        it.heartbeat()
        assert told(client) == ["snapshot 101"]
        it.heartbeat()
        it.heartbeat()
        assert told(client) == ["heartbeat 101"]


def test_a_sign_of_life_says_when_the_store_was_looked_at() -> None:
    it, found = hub(), list[str | None]()
    with it.joined(101) as client:
        for at in (None, NOW):
            it.looked_at = at
            it.heartbeat()
            found.append(json.loads(asyncio.run(client.next()))["looked_at"])
    assert found == [None, "2025-03-10T06:00:00Z"]


def test_no_change_is_no_delta_but_snapshots_are_newer() -> None:
    it = hub()
    it.publish([], {"n": 5}, ALERTS)
    with it.joined(101) as client:
        assert told(client) == []
    with it.joined(None) as client:
        assert json.loads(asyncio.run(client.next()))["status"]["n"] == 5


def test_numbers_rise_from_server_to_server() -> None:
    before, after = Hub(1_000, lambda: NOW), Hub(2_000, lambda: NOW)
    for it in (before, after):
        it.begin({}, ALERTS)
        publish(it, 1)
    with after.joined(before.seq) as client:
        assert told(client) == ["snapshot 2002"]


def test_a_page_waits_for_what_comes() -> None:
    async def waited() -> str:
        it = hub()
        with it.joined(101) as client:
            waiting = asyncio.create_task(client.next())
            await asyncio.sleep(0)
            publish(it, 1)
            return await waiting

    assert json.loads(asyncio.run(waited()))["seq"] == 102


def test_nobody_is_told_before_there_is_anything_to_tell() -> None:
    async def order() -> list[str]:
        it, found = Hub(1, lambda: NOW), list[str]()

        async def page() -> None:
            await it.ready()
            found.append("page")

        waiting = asyncio.create_task(page())
        await asyncio.sleep(0)
        found.append("begin")
        it.begin({}, ALERTS)
        await waiting
        return found

    assert asyncio.run(order()) == ["begin", "page"]


def test_a_hub_is_full_at_some_point() -> None:
    it = hub(most_clients=1)
    found = [it.full]
    with it.joined(None):
        found.append(it.full)
    assert [*found, it.full] == [False, True, False]
