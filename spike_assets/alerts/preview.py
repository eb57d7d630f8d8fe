"""What would have been sent: the digests of alerts that are stored, per channel, without sending or noting anything."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from spike_assets import market_hours
from spike_assets.alerts.channels.base import Channel
from spike_assets.alerts.claim import About, content, described
from spike_assets.alerts.digest import Digest
from spike_assets.alerts.queue import wanted
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.store.store import Session
from spike_assets.store.tables import ALERTS


def preview(
    session: Session, granularity: Granularity, window: Window, channels: Sequence[Channel], about: About
) -> Iterator[tuple[Channel, Digest, datetime]]:
    """Give every digest that the alerts of a window's candles make, as of their ticks, oldest first.

    Returns
    -------
    Iterator
        The channel, the digest, and when it would have been sent: at the tick, or behind the channel's quiet hours.
    """
    rows = described(session, granularity, session.data.read(granularity, ALERTS, window))
    by_time: dict[datetime, list[dict[str, Any]]] = {}
    for row in rows:
        by_time.setdefault(row["time"].to_pydatetime(), []).append(row)
    for time in sorted(by_time):
        closed_at = market_hours.close_of(granularity, time)
        tick = market_hours.next_tick(granularity, closed_at)
        for channel in channels:
            chosen = [row for row in by_time[time] if wanted(channel, granularity, row)]
            if not chosen:
                continue
            digest = about.digest(
                "digest",
                tick,
                granularity=granularity.name,
                time=time,
                closed_at=closed_at,
                **content(granularity, chosen, about.public_url, {row["alert_id"]: "new" for row in chosen}),
            )
            quiet = channel.wants.quiet
            yield channel, digest, (quiet and quiet.until(tick)) or tick
