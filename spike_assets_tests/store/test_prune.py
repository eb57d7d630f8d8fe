"""What is old and done with goes, behind an archive of it; nothing is told twice, and no row of any table changes."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from spike_assets.alerts.channels.base import UndeliverableError
from spike_assets.errors import StoreError
from spike_assets.granularity import GRANULARITIES, H1
from spike_assets.pipeline.verify import verify
from spike_assets.store import open_store
from spike_assets.store.folder import Folder
from spike_assets.store.prune import prunable, prune
from spike_assets.store.store import Store
from spike_assets.store.whole import Place
from spike_assets_tests.alerts.desk import Desk, Fault
from spike_assets_tests.pipeline.markets import hour
from spike_assets_tests.store.filled import everything
from spike_assets_tests.store.later import bring_up_to_date
from spike_assets_tests.support import FOREVER, MemoryEngine, hashes

EUR, GBP, CHF = "EUR_USD", "GBP_USD", "EUR_CHF"
ALL = list(GRANULARITIES.values())
AFTER = timedelta(days=31)


@pytest.fixture(params=["duckdb", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    path = str(tmp_path / "spike.duckdb")
    return open_store(path if request.param == "duckdb" else request.getfixturevalue("postgres"))


def rows(store: Store) -> dict[str, int]:
    return {name: len(found) for name, found in everything(store).items()}


def played(store: Store) -> Desk:
    """Give a desk with four messages, of which the third was refused, and two bad candles, one of them later."""
    desk = Desk(peaks=[(EUR, 12), (GBP, 13), (CHF, 14), (EUR, 16), (GBP, 18)], store=store).begin()
    desk.run(13)
    desk.run(14)
    desk.inbox.script = [Fault(UndeliverableError("no such thing"))]
    desk.run(15)
    desk.run(17)
    with store.writing(FOREVER, "a test") as session:
        bad = desk.source.candles.iloc[:1].assign(reason="negative_volume", volume=-1.0)
        session.data.write_quarantine(H1, bad, desk.now)
        bad = desk.source.candles.iloc[1:2].assign(reason="negative_volume", volume=-1.0)
        session.data.write_quarantine(H1, bad, desk.now + timedelta(days=1))
    return desk


def test_what_is_old_and_done_with_goes(store: Store, tmp_path: Path) -> None:
    desk = played(store)
    before, tables = rows(store), hashes(desk.pipeline, H1)
    assert (before["ops.deliveries"], before["ops.outbox"]) == (4, 4)
    cut, now = desk.now + timedelta(hours=1), desk.now + AFTER
    found = {one.name: (one.going, one.staying) for one in prunable(store, cut, ALL) if one.going}
    assert found == {
        "h1.quarantine": (1, 1),
        "ops.passes": (before["ops.passes"] - 3, 3),  # of each trigger and outcome the newest
        "ops.outbox": (2, 2),  # of what was given up, and of the newest message, all is kept
        "ops.deliveries": (2, 2),
    }
    assert rows(store) == before
    done = prune(store, cut, ALL, tmp_path / "old", now)
    assert {one.name: (one.going, one.staying) for one in done if one.going} == found
    assert rows(store) == before | {name: staying for name, (_, staying) in found.items()}
    assert hashes(desk.pipeline, H1) == tables
    assert verify(desk.pipeline, H1).difference is None
    archived = json.loads((tmp_path / "old" / "manifest.json").read_text(encoding="utf-8"))["manifest"]
    assert {t["name"]: t["rows"] for t in archived["tables"] if t["rows"]} == {n: g for n, (g, _) in found.items()}
    with pytest.raises(StoreError, match="has nothing older to prune; nothing was changed"):
        prune(store, cut, ALL, tmp_path / "more", now)
    told = list(desk.inbox.received)
    desk.run(18)
    desk.reconcile()
    desk.pipeline.sender.deliver(FOREVER)
    assert desk.inbox.received == told, "nothing is told again"
    desk.run(19)
    assert [one.kind for one in desk.inbox.received[len(told) :]] == ["digest"]
    numbers = [one.number for one in desk.deliveries()]
    assert numbers == sorted(set(numbers))
    assert max(numbers) == 5


def test_what_may_be_queued_anew_stays() -> None:
    desk = Desk(peaks=[(EUR, 12), (GBP, 13)]).begin()
    desk.run(13)
    desk.run(14)
    store, cut = desk.pipeline.store, desk.now + timedelta(hours=1)
    with store.writing(FOREVER, "a test") as session:
        state = session.ops.state(H1)
        assert state is not None
        # As if live passes had been away since: what a backfill told of beside is not processed.
        session.ops.write_state(H1, replace(state, last_processed=hour(12)))
    found = {one.name: one.going for one in prunable(store, cut, ALL)}
    assert (found["ops.outbox"], found["ops.deliveries"]) == (0, 0)


def test_only_what_was_asked_for(tmp_path: Path) -> None:
    desk = played(Store(MemoryEngine()))
    store, cut = desk.pipeline.store, desk.now + timedelta(days=2)
    names = [one.name for one in prunable(store, cut, [GRANULARITIES["D"]])]
    assert names == ["d.quarantine", "ops.passes", "ops.outbox", "ops.deliveries"]
    assert sum(one.going for one in prunable(store, cut, [GRANULARITIES["D"]])) == 0
    with pytest.raises(StoreError, match="what is younger than 30 days is not pruned; nothing was removed"):
        prune(store, cut, ALL, tmp_path / "old", cut + timedelta(days=29))


def test_what_did_not_arrive_in_the_archive_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = played(Store(MemoryEngine()))
    store, cut = desk.pipeline.store, desk.now + timedelta(hours=1)
    before = rows(store)
    real = Folder.add

    def careless(self: Folder, place: Place, found: pd.DataFrame) -> None:
        real(self, place, found.iloc[1:] if place.name == "ops.passes" else found)

    monkeypatch.setattr(Folder, "add", careless)
    with pytest.raises(StoreError, match=r"ops\.passes did not arrive as it was"):
        prune(store, cut, ALL, tmp_path / "old", desk.now + AFTER)
    assert rows(store) == before
    assert not list(tmp_path.iterdir())


def test_what_a_newer_release_added_is_not_left_out_of_the_archive(tmp_path: Path) -> None:
    desk = played(Store(MemoryEngine()))
    store, cut = bring_up_to_date(desk.pipeline.store), desk.now + timedelta(hours=1)
    before = rows(store)
    with pytest.raises(StoreError, match="whose additions this one would lose; nothing was changed"):
        prune(store, cut, ALL, tmp_path / "old", desk.now + AFTER)
    assert rows(store) == before
