"""A copy is of everything, into nothing; and what did not arrive is not kept."""

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from spike_assets.errors import StoreError
from spike_assets.store import open_store
from spike_assets.store import whole as whole_module
from spike_assets.store.copy import copy
from spike_assets.store.store import Store
from spike_assets.store.tables import CANDLES
from spike_assets.store.whole import PLACES, Whole
from spike_assets_tests.store.filled import everything, filled
from spike_assets_tests.store.later import bring_up_to_date
from spike_assets_tests.support import FOREVER, MemoryEngine


@pytest.fixture(scope="module")
def full() -> Store:
    return filled()


@pytest.fixture
def duckdb(tmp_path: Path) -> str:
    return str(tmp_path / "new.duckdb")


@pytest.fixture(params=["duckdb", "postgres"])
def new(request: pytest.FixtureRequest) -> Store:
    return open_store(request.getfixturevalue(request.param))


def test_everything_arrives_bit_for_bit(full: Store, new: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_module, "_CHUNK_STEPS", 300)
    told: list[tuple[str, int, int]] = []
    copied = copy(full, new, FOREVER, lambda *step: told.append(step))
    before, after = everything(full), everything(new)
    filled = {name for name, rows in before.items() if len(rows)}
    assert {name for name in before if name.startswith(("ops.", "h1."))} - filled == {"ops.grids"}
    for name, rows in before.items():
        pd.testing.assert_frame_equal(after[name], rows, check_exact=True)
    assert {one.name: one.rows for one in copied} == {name: len(rows) for name, rows in before.items()}
    total = sum(one.rows for one in copied)
    assert (told[0], told[-1]) == (("h1.candles", 0, total), ("all", total, total))
    assert len({one.sha256 for one in copied if one.rows}) == len(filled)


def test_what_is_not_empty_is_refused_and_left_alone(full: Store, new: Store) -> None:
    with new.writing(FOREVER, "a test") as session:
        session.ops.write_pips({"EUR_USD": -4})
    with pytest.raises(StoreError, match=r"is not empty: ops\.pips has 1 rows; nothing was changed"):
        copy(full, new, FOREVER)
    assert [name for name, rows in everything(new).items() if len(rows)] == ["ops.pips"]


def test_what_did_not_arrive_is_not_kept(full: Store, new: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(self: Whole, place: whole_module.Place, rows: pd.DataFrame) -> None:
        real(self, place, rows.assign(close=rows["close"] + 1) if place.table is CANDLES and len(rows) else rows)

    real = Whole.add
    monkeypatch.setattr(Whole, "add", careless)
    with pytest.raises(StoreError, match=r"^h1\.candles did not arrive as it was; nothing was written, report this$"):
        copy(full, new, FOREVER)
    monkeypatch.undo()
    assert not any(len(rows) for rows in everything(new).values())
    assert copy(full, new, FOREVER)


@pytest.mark.parametrize("newer", ["here", "there"])
def test_what_a_newer_release_added_is_not_lost(full: Store, new: Store, newer: str) -> None:
    here = bring_up_to_date(Store(MemoryEngine()))
    with here.writing(FOREVER, "a test") as session:
        session.ops.write_pips({"EUR_USD": -4})
    pair = (here, new) if newer == "here" else (full, bring_up_to_date(new))
    with pytest.raises(StoreError, match=f"^{re.escape(pair[newer == 'there'].url)} was brought up to date by a newer"):
        copy(*pair, FOREVER)
    assert not any(len(rows) for rows in everything(new).values())


def test_there_has_to_be_something_to_copy(full: Store, new: Store, tmp_path: Path) -> None:
    for source in (full, new, open_store(str(tmp_path / "nowhere.duckdb"))):
        target = source if source is full else full
        with pytest.raises(StoreError, match="nothing to copy"):
            copy(source, target, FOREVER)
    assert not (tmp_path / "nowhere.duckdb").exists()
    assert replace(PLACES[0], schema="x").name == "x.candles"
