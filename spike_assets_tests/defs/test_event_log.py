"""The event log on open connections: what Dagster's own class stores and reads, in one file that either can have."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage

from spike_assets.defs.event_log import SqliteEventLog
from spike_assets_tests.defs.running import KEYS, memory_pipeline, persistent, run

CANDLES = dg.AssetKey(["h1", "candles"])


@pytest.mark.parametrize("batch", ["0", "1000"])
def test_dagsters_own_class_reads_what_was_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: str) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", batch)
    with persistent(tmp_path) as instance:
        result = run(memory_pipeline(), KEYS[:5], instance)
        ours = [(record.storage_id, record.event_type) for record in records(instance.event_log_storage, result.run_id)]
        assert instance.get_materialized_partitions(CANDLES) == set(KEYS[:5])
    theirs = ConsolidatedSqliteEventLogStorage(str(tmp_path))
    assert [(record.storage_id, record.event_type) for record in records(theirs, result.run_id)] == ours
    assert theirs.get_materialized_partitions(CANDLES) == set(KEYS[:5])
    assert [kind for _, kind in ours].count(dg.DagsterEventType.ASSET_MATERIALIZATION) == 5 * 5


def test_a_batch_is_stored_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with persistent(tmp_path) as instance:
        result = run(memory_pipeline(), KEYS[:1], instance)
        storage = instance.event_log_storage
        assert isinstance(storage, SqliteEventLog)
        before = len(storage.get_logs_for_run(result.run_id))
        wanted = {dg.DagsterEventType.STEP_START, dg.DagsterEventType.ASSET_MATERIALIZATION}
        again = list(storage.get_logs_for_run(result.run_id, of_type=wanted))
        stored: list[int] = []
        store_event = type(storage).store_event

        def full(self: SqliteEventLog, event: dg.EventLogEntry) -> None:
            stored.append(1)
            if len(stored) == 5:
                raise OSError("disk full")
            store_event(self, event)

        monkeypatch.setattr(SqliteEventLog, "store_event", full)
        with pytest.raises(OSError, match="disk full"):
            storage.store_event_batch(again)
        monkeypatch.undo()
        assert len(storage.get_logs_for_run(result.run_id)) == before
        storage.store_event_batch(again)
        assert len(storage.get_logs_for_run(result.run_id)) == before + len(again)


def records(storage: object, run_id: str) -> list[dg.EventLogRecord]:
    return list(storage.get_records_for_run(run_id).records)  # type: ignore[attr-defined]
