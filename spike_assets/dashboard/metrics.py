"""What monitoring collects, in Prometheus' format: read from the store when it is asked for."""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0
from prometheus_client.registry import Collector

from spike_assets.dashboard.feed import Hub
from spike_assets.dashboard.site import Finish, Question, Site
from spike_assets.dashboard.standing import lag, market_until, statuses
from spike_assets.granularity import GRANULARITIES
from spike_assets.pipeline.status import Status
from spike_assets.store.store import Session
from spike_assets.store.tables import ALERTS, CANDLES, EVENTS

MEDIA = CONTENT_TYPE_PLAIN_1_0_0

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True)
class Facts:
    """What the store says; counts by (granularity, what), deliveries by (channel, status)."""

    now: datetime
    status: Status
    rows: dict[tuple[str, str], int]
    passes: dict[tuple[str, str], int]
    stages: dict[tuple[str, str], list[float]]
    deliveries: dict[tuple[str, str], int]
    items: dict[tuple[str, str], int]
    quarantine: dict[tuple[str, str], int]


def facts(site: Site, now: datetime) -> Question:
    """Ask what monitoring is told: `Facts`."""
    status = statuses(site, now)
    return Question(
        (_rows, _passes, *status.steps),
        lambda found: Facts(now=now, status=status.finish(found[2:]), **found[0], **found[1]),
    )


def _rows(session: Session) -> Finish:
    rows = {
        (name, table.name): session.data.count(granularity, table)
        for name, granularity in GRANULARITIES.items()
        for table in (CANDLES, EVENTS, ALERTS)
    }
    return lambda: {"rows": rows}


def _passes(session: Session) -> Finish:
    passes, stages = session.queries.count_passes(), session.queries.stages()
    deliveries, items = session.queries.count_deliveries(), session.queries.count_items()
    quarantine = {name: session.queries.quarantined(granularity) for name, granularity in GRANULARITIES.items()}

    def finish() -> dict[str, Any]:
        seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        for granularity, text in stages:
            for stage, milliseconds in json.loads(text).items():
                seconds[granularity, stage].append(milliseconds / 1000)
        reasons = {
            (name, str(reason)): int(n)
            for name, frame in quarantine.items()
            for reason, n in zip(frame["reason"], frame["n"], strict=True)
        }
        return {
            "passes": passes,
            "stages": dict(seconds),
            "deliveries": deliveries,
            "items": items,
            "quarantine": reasons,
        }

    return finish


class Metrics:
    """The metrics of a site, in a registry of their own."""

    def __init__(self, hub: Hub, look_seconds: Callable[[], float]) -> None:
        self._one_by_one = Lock()
        self._registry = CollectorRegistry()
        self._store = _StoreCollector()
        self._registry.register(self._store)
        self._registry.register(_FeedCollector(hub, look_seconds))
        ProcessCollector(registry=self._registry)

    def text(self, found: Facts) -> bytes:
        """Give all metrics as text."""
        with self._one_by_one:
            self._store.facts = found
            return generate_latest(self._registry)


class _StoreCollector(Collector):
    facts: Facts | None = None

    def collect(self) -> Iterator[Metric]:
        """Give what the store says."""
        if self.facts is None:
            return
        found = self.facts
        yield from _standing(found)
        # Those under way become fewer, which a counter must not.
        ended = {key: n for key, n in found.passes.items() if key[1] != "running"}
        yield _counts(CounterMetricFamily, "spike_passes", "Passes, by how they ended.", "status", ended)
        yield _histogram(found.stages)
        for table, what in (("candles", "Stored candles."), ("events", "Stored events."), ("alerts", "Stored alerts.")):
            gauge = GaugeMetricFamily(f"spike_{table}", what, labels=["granularity"])
            for (granularity, name), n in found.rows.items():
                if name == table:
                    gauge.add_metric([granularity], n)
            yield gauge
        yield _counts(
            GaugeMetricFamily, "spike_quarantined_candles", "Candles in quarantine.", "reason", found.quarantine
        )
        yield _counts(GaugeMetricFamily, "spike_deliveries", "Messages.", "status", found.deliveries, first="channel")
        yield _counts(
            GaugeMetricFamily,
            "spike_outbox_alerts",
            "What channels are to be told of, or were.",
            "status",
            found.items,
            first="channel",
        )


class _FeedCollector(Collector):
    def __init__(self, hub: Hub, look_seconds: Callable[[], float]) -> None:
        self._hub = hub
        self._look_seconds = look_seconds

    def collect(self) -> Iterator[Metric]:
        """Give how the live feed does."""
        yield GaugeMetricFamily("spike_feed_clients", "Pages that are connected.", value=self._hub.clients)
        yield CounterMetricFamily("spike_feed_deltas", "Deltas that were told.", value=self._hub.deltas)
        yield CounterMetricFamily("spike_feed_resets", "Pages that had to begin afresh.", value=self._hub.resets)
        yield GaugeMetricFamily("spike_feed_look_seconds", "What the last look took.", value=self._look_seconds())


def _standing(found: Facts) -> Iterator[Metric]:
    yield GaugeMetricFamily("spike_healthy", "1 when nothing is wrong.", value=float(found.status.healthy))
    yield GaugeMetricFamily("spike_market_open", "1 while the market is open.", value=_is_open(found.now))
    gauges = {
        name: GaugeMetricFamily(f"spike_{name}", what, labels=["granularity"])
        for name, what in (
            ("lag_seconds", "How long the oldest candle that is not processed has been due."),
            ("unprocessed_candle_times", "Candle times that have closed and are not processed."),
            ("pending_ranges", "Changed ranges that wait for a stage."),
            ("consecutive_failures", "Passes that failed since one went well."),
            ("late_instruments", "Instruments that lack the newest processed candle."),
            ("last_success_timestamp_seconds", "When a pass last went well."),
            ("last_run_timestamp_seconds", "When a pass last ended."),
        )
    }
    for one in found.status.granularities:
        values = {
            "lag_seconds": lag(one, found.now),
            "unprocessed_candle_times": one.behind,
            "pending_ranges": one.pending,
            "consecutive_failures": one.consecutive_failures,
            "late_instruments": len(one.late),
            "last_success_timestamp_seconds": _epoch(one.last_success),
            "last_run_timestamp_seconds": _epoch(one.last_run),
        }
        for name, value in values.items():
            if value is not None:
                gauges[name].add_metric([one.granularity.name], value)
    yield from gauges.values()


def _epoch(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


def _is_open(now: datetime) -> float:
    return float(market_until(now)["open"])


def _counts(
    family: type[CounterMetricFamily | GaugeMetricFamily],
    name: str,
    what: str,
    second: str,
    counts: dict[tuple[str, str], int],
    first: str = "granularity",
) -> Metric:
    found = family(name, what, labels=[first, second])
    for labels, n in counts.items():
        found.add_metric(list(labels), n)
    return found


def _histogram(stages: dict[tuple[str, str], list[float]]) -> Metric:
    found = HistogramMetricFamily("spike_stage_seconds", "How long stages took.", labels=["granularity", "stage"])
    for labels, seconds in stages.items():
        found.add_metric(list(labels), buckets=_cumulative(seconds), sum_value=sum(seconds))
    return found


def _cumulative(seconds: Iterable[float]) -> list[tuple[str, float]]:
    ordered = sorted(seconds)
    counts = [(str(limit), float(bisect_right(ordered, limit))) for limit in _BUCKETS]
    return [*counts, ("+Inf", float(len(ordered)))]
