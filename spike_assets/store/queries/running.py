"""How the platform runs, counted: passes, messages, quarantine."""

from collections.abc import Collection
from datetime import datetime

import pandas as pd

from spike_assets.granularity import Granularity
from spike_assets.store.engine import Connection
from spike_assets.store.ops_tables import DELIVERIES, PASSES
from spike_assets.store.queries.parts import GRANULARITY, NEWEST, N, marks, moment, of, selected
from spike_assets.store.tables import QUARANTINE, Column


class RunningQueries:
    """Reads of how the platform runs, through one open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def passes(self, granularity: Granularity | None, limit: int, *, skip: int = 0) -> pd.DataFrame:
        """Give passes, those that began last first, `skip` of them left out."""
        where, parameters = ("", []) if granularity is None else (" WHERE p.granularity = ?", [granularity.name])
        names = ", ".join(selected(column, "p") for column in PASSES.columns)
        return self._connection.frame(
            f"SELECT {names} FROM ops.passes AS p{where}"  # noqa: S608
            f" ORDER BY p.started_at DESC, p.ended_at DESC, pass_id LIMIT {int(limit)} OFFSET {int(skip)}",
            PASSES.columns,
            parameters,
        )

    def went_well(self, granularity: Granularity, beside: Collection[str]) -> datetime | None:
        """Give when a pass ended well last, but for those of some triggers; None before the first."""
        found = self._connection.frame(
            "SELECT MAX(ended_at) AS newest FROM ops.passes WHERE granularity = ?"  # noqa: S608
            f" AND status IN ('success', 'no_new_data') AND trigger NOT IN ({marks(list(beside))})",
            [NEWEST],
            [granularity.name, *sorted(beside)],
        )
        return moment(found["newest"].iloc[0])

    def count_passes(self) -> dict[tuple[str, str], int]:
        """Give how many passes there were, by granularity and status."""
        return self._counts("ops.passes", "granularity", "status")

    def stages(self) -> list[tuple[str, str]]:
        """Give of every pass that took time: its granularity, and the milliseconds of its stages as JSON."""
        found = self._connection.frame(
            "SELECT granularity, stages FROM ops.passes WHERE stages <> '{}'", of(PASSES, "granularity", "stages")
        )
        return [(str(granularity), str(stages)) for granularity, stages in found.itertuples(index=False)]

    def count_deliveries(self) -> dict[tuple[str, str], int]:
        """Give how many messages there are, by channel and status."""
        return self._counts("ops.deliveries", "channel", "status")

    def count_items(self) -> dict[tuple[str, str], int]:
        """Give how many alerts each channel is to be told of, or was, by channel and status."""
        return self._counts("ops.outbox", "channel", "status")

    def _counts(self, table: str, first: str, second: str) -> dict[tuple[str, str], int]:
        found = self._connection.frame(
            f"SELECT {first}, {second}, COUNT(*) AS n FROM {table} GROUP BY {first}, {second} ORDER BY 1, 2",  # noqa: S608
            (Column(first, "text", "…"), Column(second, "text", "…"), N),
        )
        return {(str(a), str(b)): int(n) for a, b, n in found.itertuples(index=False)}

    def last_sent(self) -> dict[str, datetime]:
        """Give when each channel took a message last."""
        found = self._connection.frame(
            "SELECT channel, MAX(sent_at) AS newest FROM ops.deliveries WHERE sent_at IS NOT NULL GROUP BY channel",
            (*of(DELIVERIES, "channel"), NEWEST),
        )
        return {str(channel): at.to_pydatetime() for channel, at in found.itertuples(index=False)}

    def quarantined(self, granularity: Granularity) -> pd.DataFrame:
        """Give of each reason: how many candles are in quarantine, and the open of the newest."""
        return self._connection.frame(
            f"SELECT reason, COUNT(*) AS n, MAX(time) AS newest FROM {granularity.schema}.quarantine"  # noqa: S608
            " GROUP BY reason ORDER BY reason",
            (*of(QUARANTINE, "reason"), N, NEWEST),
        )

    def sizes(self, granularity: Granularity) -> tuple[int, int, int, datetime | None]:
        """Give how many candles, events and alerts there are, and when a candle was fetched last."""
        tables = ("candles", "events", "alerts")
        counts = ", ".join(f"(SELECT COUNT(*) FROM {granularity.schema}.{name}) AS {name}" for name in tables)  # noqa: S608
        found = self._connection.frame(
            f"SELECT {counts}, (SELECT MAX(fetched_at) FROM {granularity.schema}.candles) AS newest",  # noqa: S608
            (*(Column(name, "int", "how many") for name in tables), NEWEST),
        ).iloc[0]
        return int(found["candles"]), int(found["events"]), int(found["alerts"]), moment(found["newest"])

    def waiting(self) -> dict[str, tuple[int, int, datetime, datetime]]:
        """Give, of granularities with something that waits for a stage: marks, stages, from and to."""
        found = self._connection.frame(
            "SELECT granularity, COUNT(*) AS n, COUNT(DISTINCT stage) AS stages, MIN(from_time) AS oldest,"
            " MAX(to_time) AS newest FROM ops.pending GROUP BY granularity",
            (GRANULARITY, N, Column("stages", "int", "how many"), Column("oldest", "time", "from"), NEWEST),
        )
        return {
            str(name): (int(n), int(stages), oldest.to_pydatetime(), newest.to_pydatetime())
            for name, n, stages, oldest, newest in found.itertuples(index=False)
        }

    def count_acknowledged(self) -> int:
        """Give how many alerts were acknowledged."""
        return int(self._connection.frame("SELECT COUNT(*) AS n FROM ops.acknowledged", [N])["n"].iloc[0])
