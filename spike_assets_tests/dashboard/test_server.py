"""The server does not start where it should not, and says where it is."""

import re
import socket
from pathlib import Path

import pytest

from spike_assets.dashboard.app import create_app
from spike_assets.dashboard.server import address, reached_at, serve
from spike_assets.errors import PermanentError, SettingsError
from spike_assets.pipeline.context import Pipeline
from spike_assets_tests.dashboard.offices import HOME, LIVE, TOKEN, TestClient, settings


def never(text: str) -> None:
    raise AssertionError(text)


def test_it_does_not_open_itself_to_the_network() -> None:
    with pytest.raises(SettingsError, match=r"^SPIKE_DASHBOARD_TOKEN: set it, others can reach 0\.0\.0\.0"):
        serve(settings(dashboard_host="0.0.0.0"), never)  # noqa: S104


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        says = rf"^port {port} of 127\.0\.0\.1 cannot be had \(Address already in use\); set SPIKE_DASHBOARD_PORT"
        with pytest.raises(PermanentError, match=says):
            serve(settings(dashboard_port=port), never)


def test_it_starts_without_the_broker_s_token_as_the_docs_say(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^(SPIKE_SOURCE|OANDA_\w+)=(\S+)$", text, re.MULTILINE))
    given = {"source": said.pop("SPIKE_SOURCE"), **said, "database": str(tmp_path / "spike.duckdb")}
    app = create_app(Pipeline.from_settings(settings(**given)), settings(**given))
    with TestClient(app, base_url=HOME) as client, client.websocket_connect(LIVE) as feed:
        assert feed.receive_json()["status"]["source"] == "oanda"


@pytest.mark.parametrize(
    ("host", "at"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104
        ("::", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
        ("spike.example.com", "http://spike.example.com:8000"),
    ],
)
def test_it_says_where_it_is(host: str, at: str) -> None:
    assert address(settings(dashboard_host=host, dashboard_token=TOKEN)) == at
    assert reached_at("10.0.0.1") == "10.0.0.1"
