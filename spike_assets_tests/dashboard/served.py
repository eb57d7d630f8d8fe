"""The dashboard as a process of its own, which a test may kill and start again."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from websockets.sync.client import ClientConnection, connect

from spike_assets_tests.alerts.desk import NAMES, Desk
from spike_assets_tests.cli.running import PATIENCE
from spike_assets_tests.cli.test_children import free_port


class Served:
    """`python -m spike_assets.dashboard` over a store.

    Parameters
    ----------
    log
        Where its output goes.
    environment
        Settings besides the store and the instruments.
    """

    def __init__(self, database: str, names: Sequence[str], log: Path, **environment: str) -> None:
        self.port = free_port()
        self.log = log
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SPIKE_")},
            "SPIKE_DATABASE": database,
            "SPIKE_INSTRUMENTS": ",".join(names),
            "SPIKE_DASHBOARD_PORT": str(self.port),
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def over(cls, desk: Desk, log: Path, **environment: str) -> "Served":
        """Give the dashboard of a desk's platform."""
        return cls(desk.pipeline.store.url, NAMES, log, SPIKE_ATR_PERIOD="2", **environment)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it; it is there when this returns."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "spike_assets.dashboard"],
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        while True:
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                continue
            return

    def end(self, number: signal.Signals) -> int:
        """Send it a signal, and give what it ends with."""
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process and self.process.poll() is None:
            self.end(signal.SIGKILL)

    @contextmanager
    def page(self, known: int | None = None) -> Iterator[ClientConnection]:
        """Give a connection to the feed."""
        url = f"ws://127.0.0.1:{self.port}/api/live" + ("" if known is None else f"?since={known}")
        with connect(url, open_timeout=PATIENCE, compression=None, max_size=None) as connection:
            yield connection

    def memory(self) -> float:
        """Give the megabytes of memory that are its own."""
        assert self.process
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1024
