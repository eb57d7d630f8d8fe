"""`spike prune`, as a person types it."""

import json
from pathlib import Path

import duckdb

from spike_assets_tests.cli.running import error, ok, run


def test_it_says_what_would_go_and_does_it_when_told() -> None:
    for _ in range(3):
        ok("run", "D")
    with duckdb.connect("data/simulated.duckdb") as connection:
        connection.execute("UPDATE ops.passes SET ended_at = ended_at - INTERVAL 90 DAY")
    before = ok("verify", "D")
    lines = ok("prune", "--older-than", "60d").splitlines()
    assert lines[0].split() == ["table", "would", "go", "stay"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:-1]}
    assert list(rows) == [f"{g}.quarantine" for g in ("h1", "h4", "d", "w")] + [
        f"ops.{name}" for name in ("passes", "outbox", "deliveries")
    ]
    assert rows["ops.passes"] == ["1", "2"]
    assert lines[-1] == "nothing was changed; --archive FOLDER --yes does it"
    done = ok("prune", "--older-than", "60d", "-g", "d", "--archive", "old", "--yes").splitlines()
    assert done[0].split() == ["table", "went", "stay"]
    assert done[-1] == "1 row moved to old"
    manifest = json.loads(Path("old/manifest.json").read_text(encoding="utf-8"))["manifest"]
    assert (manifest["kind"], [table["name"] for table in manifest["tables"]]) == (
        "archive",
        ["d.quarantine", "ops.passes", "ops.outbox", "ops.deliveries"],
    )
    assert error("restore", "old").endswith("is an archive, not a backup")
    assert ok("verify", "D") == before
    assert json.loads(ok("run", "D"))["status"] == "no_new_data"


def test_what_is_wrong_is_told() -> None:
    assert "what is younger than 30 days is not pruned" in error("prune", "--older-than", "29d", code=2)
    assert "say with --archive where it goes" in error("prune", "--older-than", "30d", "--yes", code=2)
    ok("run", "D")
    assert error("prune", "--older-than", "30d", "--archive", "old", "--yes").endswith(
        "has nothing older to prune; nothing was changed"
    )
    assert not Path("old").exists()
    assert run("prune").exit_code == 2
