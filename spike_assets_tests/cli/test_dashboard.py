"""`spike dashboard` and `spike status --watch` as real processes."""

import os
import signal
from http.client import HTTPConnection
from pathlib import Path

import pytest

from spike_assets_tests.cli.running import HISTORY, error, finish, ok, run, start, wait_for


def test_the_dashboard_serves_until_ctrl_c() -> None:
    port = int(os.environ["SPIKE_DASHBOARD_PORT"])
    process = start("dashboard")
    assert wait_for(process, "the dashboard is at") == f"the dashboard is at http://127.0.0.1:{port}; Ctrl-C stops\n"
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/readyz")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (503, b'{"ok":false,"reasons":["nothing has run yet"]}')
    connection.close()
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out) == (0, "")
    assert "Traceback" not in err


def test_the_dashboard_is_not_opened_to_the_network_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_DASHBOARD_HOST", "0.0.0.0")  # noqa: S104
    says = "SPIKE_DASHBOARD_TOKEN: set it, others can reach 0.0.0.0; or leave SPIKE_DASHBOARD_HOST at 127.0.0.1"
    assert error("dashboard") == says
    assert error("up") == says
    assert error("demo") == says
    assert not Path(".demo").exists()


def test_the_board_is_drawn_again_and_again() -> None:
    ok("backfill", "D", *HISTORY)
    process = start("status", "--watch")
    assert process.stdout
    seen = 0
    for line in process.stdout:
        seen += "Spike Processing Status" in line
        if seen == 2:
            break
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert (code, err) == (130, "")


def test_watching_is_not_for_a_program() -> None:
    assert run("status", "--watch", "--json").exit_code == 2
