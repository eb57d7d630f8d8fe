"""The watcher tells pages what others write, all of it and nothing else."""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spike_assets.alerts.queue import Occasion
from spike_assets.dashboard.feed import Hub
from spike_assets.dashboard.glance import glance
from spike_assets.dashboard.look import Seen, look
from spike_assets.dashboard.watcher import Pace, Watcher
from spike_assets.deadline import Deadline
from spike_assets.errors import StoreLockedError
from spike_assets.granularity import H1
from spike_assets.pipeline.passes import run_stage
from spike_assets.pipeline.stages import STAGES
from spike_assets.store import open_store
from spike_assets.store.pending import Mark
from spike_assets.store.store import Store
from spike_assets.store.tables import CANDLES
from spike_assets_tests.alerts.desk import NAMES, Desk, Inbox
from spike_assets_tests.dashboard import offices
from spike_assets_tests.dashboard.offices import site
from spike_assets_tests.pipeline.markets import hour
from spike_assets_tests.support import FOREVER


def iso(n: float) -> str:
    return hour(n).isoformat().replace("+00:00", "Z")


class Page:
    """What a page would see: looks when the test says so."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.known: Seen | None = None

    def look(self, *, whole: bool = False) -> tuple[dict[str, Any], ...] | None:
        store, now = self.desk.pipeline.store, self.desk.now
        first = glance(site(self.desk), now).ask(store, FOREVER, "a test")
        question = look(site(self.desk), now, self.known, first, whole=whole)
        self.known = question.ask(store, FOREVER, "a test")
        assert self.known is not None
        return self.known.changes

    def changes(self) -> list[dict[str, Any]]:
        """Give what is news of H1; other granularities have no candles."""
        found = self.look()
        assert found is not None
        assert {one.get("granularity", "H1") for one in found} <= {"H1"}
        json.dumps(found, allow_nan=False)
        return list(found)

    def kinds(self) -> dict[str, dict[str, Any]]:
        """Give the news by kind, passes left out."""
        found = [one for one in self.changes() if one["kind"] != "pass"]
        assert len({one["kind"] for one in found}) == len(found)
        return {one["kind"]: one for one in found}


@pytest.fixture
def desk() -> Desk:
    return Desk(peaks=[("EUR_USD", 20)]).begin(60)


@pytest.fixture
def page(desk: Desk) -> Page:
    found = Page(desk)
    assert found.look() is None
    assert found.look() == ()
    return found


def test_a_pass(desk: Desk, page: Page) -> None:
    desk.peak("GBP_USD", 60)
    desk.run(61)
    found = page.kinds()
    assert set(found) == {"candles", "levels", "events", "alerts", "status"}
    assert set(found["candles"]["instruments"]) == set(NAMES)
    ((candle,),) = [found["candles"]["instruments"]["GBP_USD"]]
    assert (candle["time"], candle["high"], candle["volume"], candle["suspect"]) == (iso(60), 1.1, 100, False)
    assert candle["atr"] > 0
    assert candle["relative_volume"] is None  # two candles of that hour
    assert found["levels"]["instruments"] == sorted(NAMES)
    assert [(one["instrument"], one["level"]) for one in found["events"]["events"]] == [("GBP_USD", 1.1)]
    assert (found["events"]["removed"], found["events"]["again"]) == ([], False)
    (alert,) = found["alerts"]["alerts"]
    assert (alert["instrument"], alert["event_id"]) == ("GBP_USD", found["events"]["events"][0]["event_id"])
    assert (found["alerts"]["unread"], found["alerts"]["removed"], found["alerts"]["again"]) == (1, [], False)
    assert found["status"]["status"]["granularities"]["H1"]["last_processed"] == iso(61)
    assert page.look() == ()


def test_a_pass_is_told_when_it_begins_and_when_it_has_ended(desk: Desk, page: Page) -> None:
    heard: list[list[str]] = []
    fetch = desk.source.fetch

    def listening(*args: Any, **how: Any) -> Any:
        heard.append([one["pass"]["status"] for one in page.changes() if one["kind"] == "pass"])
        assert page.known is not None
        assert page.known.status["granularities"]["H1"]["running_since"] == iso(61 + 1 / 12)
        return fetch(*args, **how)

    desk.source.fetch = listening  # type: ignore[method-assign]
    desk.run(61)
    heard.append([one["pass"]["status"] for one in page.changes() if one["kind"] == "pass"])
    assert heard == [["running"], ["success"]]


def test_a_correction_of_a_new_candle(desk: Desk, page: Page) -> None:
    desk.peak("GBP_USD", 59)
    desk.reconcile()
    found = page.kinds()
    assert found["candles"]["instruments"] == dict.fromkeys(NAMES)  # a reconcile looks wherever it likes
    assert found["events"]["again"] is True
    assert [one["time"] for one in found["events"]["events"]] == [iso(59)]


def test_an_event_that_is_taken_back(desk: Desk, page: Page) -> None:
    desk.peak("GBP_USD", 60)
    desk.run(61)
    (event,) = page.kinds()["events"]["events"]
    desk.calm("GBP_USD", 60)
    desk.reconcile()
    found = page.kinds()
    assert (found["events"]["events"], found["events"]["removed"]) == ([], [event["event_id"]])
    assert (len(found["alerts"]["removed"]), found["alerts"]["unread"]) == (1, 0)


def test_a_correction_far_back_has_pages_read_again(desk: Desk, page: Page) -> None:
    desk.peak("EUR_CHF", 12)
    desk.reconcile()
    found = page.kinds()
    assert found["candles"]["instruments"] == dict.fromkeys(NAMES)
    assert found["levels"]["instruments"] == sorted(NAMES)
    assert found["events"]["again"] is True
    assert page.look() == ()


def test_what_is_fetched_again_far_back_is_enough_to_be_told(desk: Desk, page: Page) -> None:
    """Without a pass: Dagster's stages commit one by one, and record the pass behind the last."""
    with desk.pipeline.store.writing(FOREVER, "a test") as session:
        rows = session.data.read(H1, CANDLES)
        row = rows[(rows["instrument"] == "EUR_CHF") & (rows["time"] == hour(5))].assign(volume=7)
        session.data.write_candles(H1, row, desk.now + timedelta(minutes=1))
    found = page.kinds()
    assert found["candles"]["instruments"] == {"EUR_CHF": None}
    assert (found["levels"]["instruments"], found["events"]["again"]) == (["EUR_CHF"], True)
    assert page.look() == ()


def test_what_was_marked_is_told_once_more_when_it_is_worked_off(desk: Desk, page: Page) -> None:
    with desk.pipeline.store.writing(FOREVER, "a test") as session, session.transaction():
        session.pending.mark(H1, [stage.name for stage in STAGES], [Mark("EUR_CHF", hour(5), hour(5))])
    assert set(page.kinds()) <= {"status"}
    with desk.pipeline.store.writing(FOREVER, "a test") as session:
        for stage in STAGES:
            run_stage(desk.pipeline, session, H1, stage, FOREVER, Occasion(desk.now, live=False))
    assert page.kinds()["candles"]["instruments"] == {"EUR_CHF": None}


def test_much_at_once_is_read_again(desk: Desk, page: Page) -> None:
    desk.run(66)
    assert page.kinds()["candles"]["instruments"] == dict.fromkeys(NAMES)  # six candles each
    desk.run(71)
    assert {len(told) for told in page.kinds()["candles"]["instruments"].values()} == {5}


def test_more_than_the_tail_is_read_again() -> None:
    desk = Desk(hours=90, peaks=[("EUR_USD", 30)]).begin(20)
    page = Page(desk)
    page.look()
    desk.run(85)
    found = page.kinds()
    assert found["candles"]["instruments"] == dict.fromkeys(NAMES)
    assert found["events"]["again"] is True
    assert [one["time"] for one in found["alerts"]["alerts"]] == [iso(30)]


def test_a_store_that_was_empty() -> None:
    desk = Desk()
    page = Page(desk)
    assert page.look() is None
    assert page.look() == ()
    desk.begin(30)
    assert page.look() is None  # by now it is known what its numbers mean
    assert page.look() == ()
    assert page.known is not None
    assert page.known.parts["H1"].counts == (30 * 4, 0)


def test_a_candle_that_comes_late(desk: Desk, page: Page) -> None:
    desk.omit("EUR_GBP", 60)
    desk.run(61)
    assert "EUR_GBP" not in page.kinds()["candles"]["instruments"]
    desk.world["EUR_GBP", 60] = desk.world["EUR_GBP", 59]._replace(time=hour(60))
    desk._show()
    desk.run(62)
    told = page.kinds()["candles"]["instruments"]
    assert [one["time"] for one in told["EUR_GBP"]] == [iso(60), iso(61)]


def test_numbers_that_mean_something_else_begin_afresh(desk: Desk, page: Page) -> None:
    with desk.pipeline.store.writing(FOREVER, "a test") as session:
        session.ops.write_provenance(replace(desk.pipeline.provenance, atr_period=99))
    assert page.look() is None
    assert page.look() == ()


def test_an_acknowledgement_and_a_silence_reach_other_pages(desk: Desk, page: Page) -> None:
    desk.peak("GBP_USD", 60)
    desk.run(61)
    (alert,) = page.kinds()["alerts"]["alerts"]
    with desk.pipeline.store.writing(FOREVER, "a test") as session:
        session.queries.acknowledge([alert["alert_id"]], desk.now)
    found = page.kinds()
    assert set(found) == {"alerts"}
    assert found["alerts"]["alerts"] == [alert | {"acknowledged_at": iso(61 + 1 / 12)}]
    assert found["alerts"]["unread"] == 0
    desk.silence("EUR_USD", 1)
    assert page.kinds()["status"]["status"]["silences"] == [{"instrument": "EUR_USD", "until": iso(62 + 1 / 12)}]


def test_what_is_sent_is_told() -> None:
    page = Page(Desk(Inbox()).begin(60))
    page.look()
    page.desk.peak("GBP_USD", 60)
    page.desk.run(61)
    (alert,) = page.kinds()["alerts"]["alerts"]
    assert [one["delivery_status"] for one in alert["deliveries"]] == ["sent"]


def test_time_alone_makes_a_status_stale(desk: Desk, page: Page) -> None:
    desk.later(minutes=2)
    assert page.look(whole=True) == ()
    desk.later(hours=2)
    (change,) = page.look() or ()
    assert change["status"]["granularities"]["H1"]["due_since"] == iso(61 + 1 / 12)
    (change,) = page.look(whole=True) or ()
    assert change["status"]["granularities"]["H1"]["behind"] == 2


def test_since_when_a_candle_has_been_due_is_told(desk: Desk, page: Page) -> None:
    found = []
    for minutes in (57, 4):  # its tick comes five minutes behind its close
        desk.later(minutes=minutes)
        (change,) = page.look(whole=True) or ()
        found.append(change["status"]["granularities"]["H1"]["due_since"])
    assert found == [None, iso(61 + 1 / 12)]
    desk.run(61.2)
    assert page.kinds()["status"]["status"]["granularities"]["H1"]["due_since"] is None


# --- the loop ---------------------------------------------------------------------------------------------------------


class Glances:
    """A watcher whose sleep a test waits for, and what its hub tells."""

    def __init__(self, desk: Desk, pace: Pace) -> None:
        self.hub = Hub(0, lambda: desk.now)
        self.rests: list[float] = []
        self.watcher = Watcher(site(desk), self.hub, pace, sleep=self._sleep)
        self.then: list[Callable[[], object]] = []

    async def _sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        if not self.then:
            raise asyncio.CancelledError
        self.then.pop(0)()

    def run(self) -> None:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(self.watcher.run())


NEVER = Pace(poll=0.2, idle=1e9, blind=1e9)


def test_a_file_that_has_not_changed_is_not_opened(begun: Path, tmp_path: Path) -> None:
    desk = offices.copy(begun, tmp_path)
    glances = Glances(desk, NEVER)
    looks: list[bool] = []

    async def three() -> None:
        looks.append(await glances.watcher.glance())
        looks.append(await glances.watcher.glance())
        desk.peak("GBP_USD", 30)
        await asyncio.to_thread(desk.run, 31)
        looks.append(await glances.watcher.glance())
        looks.append(await glances.watcher.glance())

    asyncio.run(three())
    assert looks == [True, False, True, False]
    assert (glances.hub.seq, glances.hub.deltas) == (2, 1)


@pytest.mark.parametrize(("spared", "looks"), [(1e9, [True, False, True]), (0.0, [True, True, True])])
def test_a_pass_that_has_just_begun_is_left_alone(
    spared: float, looks: list[bool], begun: Path, tmp_path: Path
) -> None:
    desk = offices.copy(begun, tmp_path)
    glances = Glances(desk, replace(NEVER, spared=spared))
    fetch = desk.source.fetch
    found: list[bool] = []

    async def a_pass() -> None:
        loop = asyncio.get_running_loop()

        def listening(*args: Any, **how: Any) -> Any:
            found.append(asyncio.run_coroutine_threadsafe(glances.watcher.glance(), loop).result())
            return fetch(*args, **how)

        desk.source.fetch = listening  # type: ignore[method-assign]
        found.append(await glances.watcher.glance())
        await asyncio.to_thread(desk.run, 31)
        found.append(await glances.watcher.glance())

    asyncio.run(a_pass())
    assert found == looks


def test_where_nothing_tells_of_changes_it_looks_now_and_then() -> None:
    desk = Desk().begin(20)
    glances = Glances(desk, Pace(blind=0.0))
    glances.then = [lambda: desk.run(21), lambda: desk.run(22)]
    glances.run()
    assert glances.hub.deltas == 2
    assert len(glances.rests) == 3
    assert all(0.2 <= rest <= 0.6 for rest in glances.rests)


def test_a_locked_store_is_looked_into_later(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk().begin(20)
    glances = Glances(desk, Pace(blind=0.0))
    real = Store.reading
    locked = [True]

    def reading(self: Store, deadline: Deadline, purpose: str = "") -> Any:
        if locked and locked.pop():
            raise StoreLockedError("somebody has it")
        return real(self, deadline, purpose)

    monkeypatch.setattr(Store, "reading", reading)
    glances.then = [lambda: None]
    glances.run()
    assert glances.hub.seq == 1


def test_a_folder_that_is_away_is_looked_at_again(tmp_path: Path) -> None:
    (tmp_path / "away").write_text("no folder", encoding="utf-8")
    desk = Desk(store=open_store(str(tmp_path / "away" / "spike.duckdb")))
    glances = Glances(desk, replace(NEVER, patience=0.0))
    glances.then = [lambda: None]
    glances.run()
    assert len(glances.rests) == 2
    assert glances.hub.looked_at is None
    assert "cannot be looked at" in (glances.watcher.trouble or "")


def test_nobody_waits_while_the_store_is_asked_whether_it_has_changed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, threads = Store.stamp, list[str]()

    def stamp(self: Store) -> str | None:
        threads.append(threading.current_thread().name)
        return real(self)

    monkeypatch.setattr(Store, "stamp", stamp)
    with offices.visitor(desk) as client:
        assert client.get("/api/passes").status_code == 200
    assert set(threads) == {"dashboard-watcher_0", "dashboard-stamp_0"}


def test_a_fault_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    glances = Glances(Desk(), Pace(blind=0.0))

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("spike_assets.dashboard.watcher.look", broken)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(glances.watcher.run())
