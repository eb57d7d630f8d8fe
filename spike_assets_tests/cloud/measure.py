"""Measure the function behind functions-framework: `python -m spike_assets_tests.cloud.measure [database] [calls]`.

A call is one new H1 candle of each of 29 instruments, by HTTP, over a loopback broker that answers after 50 ms.
"""

import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles

from spike_assets.granularity import H1
from spike_assets.instruments import INSTRUMENTS
from spike_assets.market_hours import Window
from spike_assets_tests.cloud.platform import serving, world
from spike_assets_tests.faults.brokers import AFTER_CLOSE, Market

END = datetime(2025, 6, 6, 12, tzinfo=UTC)
HISTORY = timedelta(days=60)
LATENCY = timedelta(milliseconds=50)


def main() -> None:
    calls = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    with tempfile.TemporaryDirectory() as folder:
        database = sys.argv[1] if len(sys.argv) > 1 else str(Path(folder) / "spike.duckdb")
        market = Market(H1, Window(END - HISTORY, END), INSTRUMENTS)
        with world(Path(folder), database, INSTRUMENTS, END - HISTORY, latency=LATENCY) as here:
            here.load(market, market.opens[-calls - 1])
            start = time.perf_counter()
            with serving(here, "spike_http", "http") as function:
                ready = time.perf_counter() - start
                took, said = [], []
                for close in market.closes[-calls - 1 :]:
                    here.at(close + AFTER_CLOSE)
                    began = time.perf_counter()
                    answer = function.post({"granularity": "H1"})
                    took.append((time.perf_counter() - began) * 1000)
                    assert answer.json["status"] == "success", answer
                    assert len(answer.json["processed"]) == len(INSTRUMENTS)
                    said.append(answer.json["duration_ms"])
        first, *warm = took
        sys.stdout.write(
            f"cold: listening after {ready:.2f} s, first answer after {ready + first / 1000:.2f} s ({first:.0f} ms)\n"
            f"warm, {len(warm)} calls: p50 {median(warm):.0f} ms, p95 {quantiles(warm, n=20)[-1]:.0f} ms"
            f" (by its own clock p50 {median(said[1:]):.0f} ms)\n"
        )


if __name__ == "__main__":
    main()
