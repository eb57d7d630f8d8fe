"""What Dagster is given loads, whole, and says in one line when it cannot."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from spike_assets import definitions
from spike_assets.definitions import build_defs
from spike_assets.settings import load_settings

ROOT = Path(__file__).parents[1]


def test_definitions_are_loadable() -> None:
    dg.Definitions.validate_loadable(definitions.defs)


def test_twenty_assets_in_four_groups() -> None:
    graph = definitions.defs.resolve_asset_graph()
    groups = [graph.get(key).group_name for key in graph.materializable_asset_keys]
    assert {name: groups.count(name) for name in groups} == {"h1": 5, "h4": 5, "d": 5, "w": 5}


def test_each_granularity_has_a_pass_and_a_reconcile_on_schedules() -> None:
    repository = definitions.defs.get_repository_def()
    passes = {f"{name}_schedule": f"{name}_pass" for name in ("h1", "h4", "d", "w")}
    reconciles = {f"{name}_reconcile_schedule": f"{name}_reconcile" for name in ("h1", "h4", "d", "w")}
    assert {s.name: s.job_name for s in repository.schedule_defs} == passes | reconciles
    assert {job.name for job in repository.get_all_jobs()} >= {*passes.values(), *reconciles.values()}
    assert [sensor.name for sensor in repository.sensor_defs] == ["alerts", "failed_passes"]


def test_partitions_begin_where_the_settings_say(tmp_path: Path) -> None:
    defs = build_defs(load_settings(database=str(tmp_path / "x.duckdb"), history_start="2025-06-02T00:00:00Z"))
    partitions = defs.resolve_asset_graph().get(dg.AssetKey(["h1", "candles"])).partitions_def
    assert partitions
    assert partitions.get_first_partition_key() == "2025-06-02T00:00+0000"
    assert not list(tmp_path.iterdir()), "loading definitions opens nothing"


def loaded(**environment: str) -> subprocess.CompletedProcess[str]:
    """Load the definitions as Dagster does: in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", "import spike_assets.definitions"],
        env={"PATH": "", "PYTHONPATH": str(ROOT)} | environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_they_load_in_a_fresh_interpreter_without_a_warning() -> None:
    done = loaded()
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"SPIKE_SOURCE": "oracle"}, "SPIKE_SOURCE: "),
        ({"SPIKE_SOURCE": "files"}, "SPIKE_FILES_DIR: set it to the folder"),
        ({"SPIKE_ATR_PERIOD": "one"}, "SPIKE_ATR_PERIOD: "),
        ({"SPIKE_DATABASE": "mysql://x"}, "SPIKE_DATABASE: mysql:// is not supported"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_bad_setting_is_one_line_that_names_it(environment: dict[str, str], line: str) -> None:
    done = loaded(**environment)
    assert done.returncode == 1
    assert f"SettingsError: {line}" in done.stderr.splitlines()[-1]


def test_the_workspace_is_this_module() -> None:
    assert f"module_name: {definitions.__name__}\n" in (ROOT / "workspace.yaml").read_text()


def test_the_instance_configuration_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "dagster.yaml").read_text()
    assert "/" not in "".join(line.partition("#")[0] for line in text.splitlines()), "no absolute paths"
    (tmp_path / "dagster.yaml").write_text(text)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage).__name__ == "SqliteEventLog"
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_enabled
        assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 2)
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert instance.scheduler
        assert instance.scheduler.max_tick_retries == 3  # type: ignore[attr-defined]
        assert instance.run_coordinator.dequeue_interval_seconds == 1  # type: ignore[attr-defined]
