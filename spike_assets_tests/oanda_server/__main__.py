"""Serve the simulated market, or a folder of candle files, as OANDA would, on the real clock."""

import argparse
import signal
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spike_assets.sources.base import CandleSource
from spike_assets.sources.files import FilesSource
from spike_assets.sources.simulated import SimulatedSource
from spike_assets_tests.oanda_server.faults import (
    Doubled,
    Drip,
    Dropped,
    Fault,
    Garbage,
    LateComplete,
    Outage,
    Skew,
    Slow,
    Status,
    Truncated,
    WrongShape,
)
from spike_assets_tests.oanda_server.server import ACCOUNT, DROPPED, TOKEN, OandaServer, Seen

FAULTS: dict[str, Fault] = {
    "late": LateComplete(),
    "doubled": Doubled(),
    "429": Status(429, "1"),
    "500": Status(500),
    "502": Status(502),
    "503": Status(503),
    "504": Status(504),
    "slow": Slow(5),
    "drip": Drip(5),
    "truncated": Truncated(),
    "dropped": Dropped(),
    "garbage": Garbage(),
    "wrong-shape": WrongShape(),
    "skew": Skew(timedelta(seconds=-30)),
    "outage": Outage(),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m spike_assets_tests.oanda_server", description=__doc__)
    parser.add_argument("--port", type=int, default=8765, help="0 takes any free one")
    parser.add_argument("--files", type=Path, metavar="DIR", help="serve this folder instead of the simulated market")
    parser.add_argument("--fault", action="append", choices=FAULTS, default=[], help="may be given more than once")
    options = parser.parse_args(arguments)
    source: CandleSource = FilesSource(options.files) if options.files else SimulatedSource()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with OandaServer(source, lambda: datetime.now(UTC), port=options.port, log=_log) as server:
        server.faults += [FAULTS[name] for name in options.fault]
        print(
            f"SPIKE_SOURCE=oanda OANDA_URL={server.url} OANDA_API_TOKEN={TOKEN} OANDA_ACCOUNT_ID={ACCOUNT}",
            flush=True,
        )
        stopped.wait()
    return 0


def _log(seen: Seen) -> None:
    query = "&".join(f"{name}={value}" for name, value in seen.query.items())
    status = "dropped" if seen.status == DROPPED else seen.status
    print(f"{datetime.now(UTC):%H:%M:%S} #{seen.connection} {status} {seen.path}?{query}".rstrip("?"), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
