"""Opening the store: for whom, under which lock, and what comes of errors inside."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spike_assets.deadline import Deadline
from spike_assets.errors import SettingsError, StoreLockedError
from spike_assets.granularity import H1, H4
from spike_assets.store import migrations, open_store
from spike_assets.store.engine import Connection, Engine
from spike_assets.store.ops import Provenance, State
from spike_assets.store.store import Store
from spike_assets_tests.support import FOREVER, MemoryEngine

AT_ONCE = Deadline.after(timedelta(0))
STATE = State(datetime(2025, 3, 10, tzinfo=UTC), None, None, 0, 1)


def test_url_is_the_path(tmp_path: Path) -> None:
    assert open_store(str(tmp_path / "a.duckdb")).url == str(tmp_path / "a.duckdb")


@pytest.mark.parametrize("url", ["mysql://user:secret@host/spike", "md://spike?token=secret"])
def test_other_databases_are_refused_without_their_secrets(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^SPIKE_DATABASE: \w+:// is not supported; give the path of a") as error:
        open_store(url)
    assert "secret" not in str(error.value)


def test_opening_makes_nothing_until_it_is_used(tmp_path: Path) -> None:
    open_store(str(tmp_path / "data" / "a.duckdb"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_read_by_another(tmp_path: Path) -> None:
    path = str(tmp_path / "data" / "a.duckdb")
    with open_store(path).writing(FOREVER, "a test") as session, session.transaction():
        session.ops.write_state(H1, STATE)
    with open_store(path).reading(FOREVER) as session:
        assert session.ops.state(H1) == STATE


def write_and_fail(store: Store) -> None:
    with store.writing(FOREVER, "a test") as session, session.transaction():
        session.ops.write_state(H1, STATE)
        _ = 1 / 0


def test_a_transaction_that_raises_is_undone(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "a.duckdb"))
    with pytest.raises(ZeroDivisionError):
        write_and_fail(store)
    with store.reading(FOREVER) as session:
        assert session.ops.state(H1) is None


def test_readers_share_a_writer_is_alone_and_granularities_are_apart(tmp_path: Path) -> None:
    path = str(tmp_path / "a.duckdb")
    store, other = open_store(path), open_store(path)
    with (
        store.reading(FOREVER, "a status"),
        other.reading(AT_ONCE, "another"),
        pytest.raises(StoreLockedError, match="in use by another"),
        other.writing(AT_ONCE, "a pass"),
    ):
        raise AssertionError
    with store.changing(H1, AT_ONCE, "a pass over H1"), other.changing(H4, AT_ONCE, "a pass over H4"):
        with other.reading(AT_ONCE):
            pass
        with pytest.raises(StoreLockedError, match="a pass over H1"), other.changing(H1, AT_ONCE, "a second one"):
            raise AssertionError


def test_nothing_is_held_behind_a_block(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "a.duckdb"))
    for _ in range(3):
        with store.changing(H1, AT_ONCE, "a pass"), store.writing(AT_ONCE, "a pass"):
            pass
        with store.reading(AT_ONCE):
            pass


def test_migrations_are_looked_at_once_per_store(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    real = migrations.migrate

    def migrate(engine: Engine, connection: Connection) -> None:
        looked.append("migrate")
        real(engine, connection)

    monkeypatch.setattr(migrations, "migrate", migrate)
    store = Store(MemoryEngine())
    for _ in range(3):
        with store.writing(FOREVER, "a test") as session:
            session.ops.write_provenance(Provenance("frame", "mid", 14, 1))
        with store.reading(FOREVER) as session:
            assert session.ops.provenance() is not None
    assert looked == ["migrate"]
