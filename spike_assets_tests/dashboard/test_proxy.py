"""The example proxy of docs/security.md keeps strangers and other sites out, and lets the feed through."""

import base64
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from spike_assets_tests.alerts.desk import Desk
from spike_assets_tests.cli.test_children import free_port
from spike_assets_tests.dashboard.served import Served

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PASSWORD = base64.b64encode(b"me:secret").decode()
INSECURE = ssl._create_unverified_context()  # noqa: S323 - the certificate is made for the test

pytestmark = pytest.mark.skipif(NGINX is None, reason="there is no nginx here")


class Dagster(BaseHTTPRequestHandler):
    """Answers anybody, as the real one does."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"launched")

    def log_message(self, *_: object) -> None:
        pass


def configuration(folder: Path, port: int, dagster: int, spike: int) -> str:
    """Give the example, with the ports and files of this test."""
    (example,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/dagster", f"{folder}/here"),
        ("/etc/ssl/spike", f"{folder}/here"),
        ("/etc/nginx/dagster.htpasswd", f"{folder}/passwords"),
        ("127.0.0.1:3000", f"127.0.0.1:{dagster}"),
        ("127.0.0.1:8000", f"127.0.0.1:{spike}"),
    ):
        assert old in example
        example = example.replace(old, new)
    places = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    return (
        f"{user} daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {places}\n{example}\n}}\n"
    )


@pytest.fixture
def proxy(desk: Desk, tmp_path: Path) -> Iterator[int]:
    openssl = shutil.which("openssl")
    assert openssl
    made = ["-keyout", str(tmp_path / "here.key"), "-out", str(tmp_path / "here.pem")]
    how = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "2"]
    subprocess.run([openssl, *how, *made], check=True, capture_output=True)
    (tmp_path / "passwords").write_text("me:{PLAIN}secret\n", encoding="utf-8")
    dagster = ThreadingHTTPServer(("127.0.0.1", 0), Dagster)
    threading.Thread(target=dagster.serve_forever, daemon=True).start()
    server = Served.over(desk, tmp_path / "server.log", SPIKE_PUBLIC_URL="https://spike.example.com")
    server.start()
    port = free_port()
    configured = tmp_path / "nginx.conf"
    configured.write_text(configuration(tmp_path, port, dagster.server_address[1], server.port), encoding="utf-8")
    assert NGINX
    with (tmp_path / "error.log").open("wb") as log:
        nginx = subprocess.Popen([NGINX, "-p", str(tmp_path), "-c", str(configured)], stderr=log)
    while True:
        assert nginx.poll() is None, (tmp_path / "error.log").read_text(encoding="utf-8")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            continue
    yield port
    for process in (nginx, server.process):
        assert process
        process.terminate()
        process.wait()
    dagster.shutdown()
    dagster.server_close()


def asked(port: int, method: str, host: str, path: str, **headers: str) -> int:
    connection = HTTPSConnection("127.0.0.1", port, context=INSECURE)
    connection.request(method, path, headers={"Host": host, **{n.replace("_", "-"): v for n, v in headers.items()}})
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_example(proxy: int) -> None:
    dagster, known = "dagster.example.com", f"Basic {PASSWORD}"
    own, foreign = f"https://{dagster}", "https://evil.example"
    assert asked(proxy, "POST", dagster, "/graphql") == 401
    assert asked(proxy, "POST", dagster, "/graphql", Authorization=known) == 200
    assert asked(proxy, "POST", dagster, "/graphql", Authorization=known, Origin=own) == 200
    for origin in (foreign, "null", "http://dagster.example.com", "https://spike.example.com"):
        assert asked(proxy, "POST", dagster, "/graphql", Authorization=known, Origin=origin) == 403
    assert asked(proxy, "POST", dagster, "/graphql", Authorization=known, Sec_Fetch_Site="cross-site") == 403

    spike = "spike.example.com"
    assert asked(proxy, "GET", spike, "/api/status") == 200
    assert asked(proxy, "GET", spike, "/api/status", Origin=foreign) == 403
    ours = {"Origin": f"https://{spike}", "X_Spike": "1"}
    assert asked(proxy, "DELETE", spike, "/api/silences/EUR_USD", **ours) == 204
    assert asked(proxy, "DELETE", spike, "/api/silences/EUR_USD", **ours | {"Origin": foreign}) == 403


def first_frame(port: int, origin: str | None) -> str:
    """Give what kind of frame the feed begins with."""
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        connect(
            "wss://spike.example.com/api/live",
            sock=raw,
            ssl=INSECURE,
            origin=origin,  # type: ignore[arg-type]
            compression=None,
        ) as feed,
    ):
        return str(json.loads(feed.recv())["type"])


def test_the_feed_goes_through(proxy: int) -> None:
    assert first_frame(proxy, None) == first_frame(proxy, "https://spike.example.com") == "snapshot"
    with pytest.raises(InvalidStatus) as refused:
        first_frame(proxy, "https://evil.example")
    assert refused.value.response.status_code == 403
