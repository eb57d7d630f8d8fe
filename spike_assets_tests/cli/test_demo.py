"""`spike demo` and `spike up` as a newcomer sees them: real processes, a real UI, a small market."""

import json
import os
import re
import signal
import socket
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from spike_assets.cli.demo import open_demo
from spike_assets.errors import PermanentError
from spike_assets_tests.cli.running import PATIENCE, error, finish, start
from spike_assets_tests.cli.test_children import free_port

SMALL = ("--home", "here", "--days", "40", "--partition-days", "8")


def hear(process: Any, text: str) -> list[str]:
    """Read stdout up to a line that holds `text`, and give the lines."""
    seen = []
    for line in process.stdout:
        seen.append(line.rstrip("\n"))
        if text in line:
            return seen
    raise AssertionError(f"{text!r} was never said, but {seen!r}; {process.stderr.read()}")


def query(port: int, graphql: str) -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/graphql", json.dumps({"query": graphql}), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer["data"]


def running_in(folder: Path) -> list[str]:
    """Give the processes whose DAGSTER_HOME lies in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            told = path.read_bytes()
        except OSError:
            continue
        if f"DAGSTER_HOME={folder}".encode() in told:
            found.append(path.parent.name)
    return found


def require_nothing_left(folder: Path) -> None:
    """Wait until no process of a folder is left; a kill takes effect a moment later."""
    end = time.monotonic() + PATIENCE
    while left := running_in(folder):
        assert time.monotonic() < end, left


PARTITIONS = """{ assetNodes { assetKey { path } partitionStats { numMaterialized numPartitions } } }"""
SCHEDULES = """{ schedulesOrError(
  repositorySelector: {repositoryName: "__repository__", repositoryLocationName: "spike"}
) { ... on Schedules { results { name scheduleState { status } } } } }"""


def test_a_demo_from_nothing_to_a_green_ui_and_away_again(tmp_path: Path) -> None:
    port = free_port()
    environment = {"SPIKE_SOURCE": "files", "PYTHONUNBUFFERED": "1"}
    process = start("demo", *SMALL, "--live-hours", "7", "--pace", "0", "--port", str(port), environment=environment)
    lines = hear(process, "is ready")
    text = re.sub(r"\[ *\d+ s\]", "[ s]", "\n".join(lines))
    assert text.startswith(
        "[ s] a simulated market of 2 instruments, kept in here; no price is real\n[ s] loading candles"
    )
    for granularity in ("H1", "H4", "D"):
        assert re.search(rf"\[ s\] {granularity}: (\d+) partitions, \1 of them filled now\n", text)
    assert "\nSystem Health: Healthy\n" in text
    assert "\nThe newest events at H1:\n\nclosed (UTC)" in text
    assert f"http://127.0.0.1:{port} is ready" in lines[-1]
    live = hear(process, "from here on at real time: the next candle of H1 closes at ")
    assert live[0].endswith("the hours up to now pass live, 0 s each: watch them in the dashboard")
    assert not [line for line in live[1:-1] if "[simulated] " not in line]
    hear(process, "the schedules run")

    nodes = query(port, PARTITIONS)["assetNodes"]
    assert len(nodes) == 20
    stats = [node["partitionStats"] for node in nodes]
    # A candle that has closed since is the schedule's. W may have no partition in eight days.
    assert all(stat["numPartitions"] <= stat["numMaterialized"] + 1 for stat in stats)
    assert sum(stat["numPartitions"] > 0 for stat in stats) >= 15
    schedules = query(port, SCHEDULES)["schedulesOrError"]["results"]
    assert [schedule["scheduleState"]["status"] for schedule in schedules] == ["RUNNING"] * 8

    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, [line.split("] ")[1] for line in out.splitlines()]) == (0, ["stopping", "stopped"])
    assert "Traceback" not in err
    require_nothing_left(tmp_path)

    noted = Path("here/demo.json").read_bytes()
    code, out, err = finish(
        start("demo", "--home", "here", environment={"DEMO_ONCE": "1", "SPIKE_INSTRUMENTS": "USD_ZAR"})
    )
    assert (code, err) == (0, "")
    assert "a simulated market of 2 instruments" in out
    assert "its history is loaded already" in out
    assert out.rstrip().count("\n") > 15
    assert Path("here/demo.json").read_bytes() == noted


def test_up_serves_until_its_daemon_dies_and_then_leaves_nothing_behind(tmp_path: Path) -> None:
    port = free_port()
    process = start("up", "--port", str(port))
    assert process.stderr
    for line in process.stderr:
        if line == "the schedules run\n":
            break
    shipped = Path(__file__).parents[2] / "dagster.yaml"
    assert Path(".dagster/dagster.yaml").read_bytes() == shipped.read_bytes()
    (daemon,) = [
        int(pid) for pid in running_in(tmp_path) if b"dagster._daemon\0run" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(daemon, signal.SIGKILL)
    code, out, err = finish(process)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("error: the Dagster daemon ended (killed by signal 9): ")
    require_nothing_left(tmp_path)


@pytest.mark.parametrize("command", [("up",), ("demo",)])
def test_a_port_that_is_taken_is_told_before_anything_is_done(command: tuple[str, ...]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1])
        said = error(*command, "--port", number)
    assert said == f"port {number} of 127.0.0.1 cannot be had (Address already in use); choose another with --port"
    assert not Path(".demo").exists()


def test_a_home_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", "file")
    assert error("up", "--port", str(free_port())).startswith("cannot write to file: ")
    assert "cannot keep a demo in " in error("demo", "--once", "--home", "file/demo")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"loaded_from": "x", "settings": {}}'])
def test_damaged_notes_are_told_and_how_to_start_afresh(text: str) -> None:
    Path(".demo").mkdir()
    Path(".demo/demo.json").write_text(text, encoding="utf-8")
    assert re.fullmatch(r".*demo\.json is damaged; remove .* and start the demo afresh", error("demo", "--once"))


def test_a_demo_keeps_what_its_first_start_fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_SOURCE", "files")
    monkeypatch.setenv("SPIKE_DATABASE", "mine.duckdb")
    monkeypatch.setenv("SPIKE_ATR_PERIOD", "21")
    first = open_demo(tmp_path / "d", 730, 30)
    assert first.settings.source == "simulated"
    assert first.settings.database_url == str(tmp_path / "d" / "spike.duckdb")
    assert first.settings.atr_period == 21
    assert (first.settings.history_start - first.loaded_from).days == 700
    monkeypatch.setenv("SPIKE_ATR_PERIOD", "7")
    monkeypatch.setenv("SPIKE_INSTRUMENTS", "USD_ZAR")
    again = open_demo(tmp_path / "d", 100, 5)
    assert (again.loaded_from, again.settings) == (first.loaded_from, first.settings)
    assert again.environment["SPIKE_INSTRUMENTS"] == "EUR_USD,USD_JPY"
    assert again.environment["SPIKE_ATR_PERIOD"] == "21"
    with pytest.raises(PermanentError, match="cannot keep a demo"):
        open_demo(Path("/proc/nowhere"), 730, 30)
