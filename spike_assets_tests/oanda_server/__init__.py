"""A loopback OANDA v20 REST server: a real one over HTTP, over any source's candles and a clock to be set.

It answers as the captures in `../shared/data/oanda_json` do; what no capture shows is marked so where it is
made. By hand: `python -m spike_assets_tests.oanda_server`.
"""

from spike_assets_tests.oanda_server.faults import (
    Corrected,
    DataFault,
    Doubled,
    Drip,
    Dropped,
    Fault,
    Garbage,
    LateComplete,
    Missing,
    Outage,
    Skew,
    Slow,
    Status,
    TransportFault,
    Truncated,
    Unknown,
    WrongShape,
)
from spike_assets_tests.oanda_server.server import ACCOUNT, TOKEN, Clock, OandaServer, Seen

__all__ = [
    "ACCOUNT",
    "TOKEN",
    "Clock",
    "Corrected",
    "DataFault",
    "Doubled",
    "Drip",
    "Dropped",
    "Fault",
    "Garbage",
    "LateComplete",
    "Missing",
    "OandaServer",
    "Outage",
    "Seen",
    "Skew",
    "Slow",
    "Status",
    "TransportFault",
    "Truncated",
    "Unknown",
    "WrongShape",
]
