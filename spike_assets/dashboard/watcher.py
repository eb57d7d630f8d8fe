"""Notices what others write into the store, within a second of a pass's end, and hands it to the feed.

It looks at the file's size and time of change five times a second, and opens the database only when these say so, for
some tens of milliseconds: a pass that comes meanwhile waits no longer than that. Of one under way it only takes note.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from spike_assets.dashboard import alerts
from spike_assets.dashboard.feed import Hub
from spike_assets.dashboard.glance import Glance, glance
from spike_assets.dashboard.look import Seen, look
from spike_assets.dashboard.site import Site
from spike_assets.dashboard.standing import unreadable
from spike_assets.deadline import Deadline
from spike_assets.errors import SpikeError
from spike_assets.pipeline.status import Status

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How often is looked, in seconds.

    Attributes
    ----------
    poll
        Between two glances at the file.
    idle
        After so long it is opened though it did not change: what is overdue goes by the time of day.
    blind
        Between two looks where nothing tells whether the database has changed.
    share
        Looks take no more than so small a part of the time, while news are not late by that: in a backfill every
        commit is a change.
    heartbeat
        Between two signs of life to the pages.
    patience
        For so long looks may be in vain before pages are told why; what they show is hardly older.
    spared
        For so long, and no longer, a look is put off while passes are under way: they are over in a moment, and each
        look has them wait.
    """

    poll: float = 0.2
    idle: float = 30.0
    blind: float = 0.5
    share: float = 0.1
    heartbeat: float = 10.0
    patience: float = 5.0
    spared: float = 2.0


_LIMIT = timedelta(seconds=10)
"""A look waits so long for passes that come one upon another; what it has read by then would have to be read again."""
_LONGEST_REST = 0.3
_OLD = 30.0
"""Seconds after which nobody should go by what was seen last."""
_PURPOSE = "the dashboard, looking for news"


class Watcher:
    """Looks into a site's store and tells a hub what has changed.

    Parameters
    ----------
    sleep
        Waits so many seconds; a test may have it wait for something else.
    """

    def __init__(
        self,
        site: Site,
        hub: Hub,
        pace: Pace = Pace(),
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._site = site
        self._hub = hub
        self._pace = pace
        self._sleep = sleep
        self._thread = ThreadPoolExecutor(1, "dashboard-watcher")
        self._known: Seen | None = None
        self._stamp: str | None = None
        self._looked = float("-inf")
        self._fresh = float("-inf")
        self._in_vain_since: float | None = None
        self._told: str | None = None
        self._spared: str | None = None
        self._sparing: float | None = None
        self.seconds = 0.0
        """What the last look took."""

    @property
    def board(self) -> Status | None:
        """How everything stood at the last look; None before the first."""
        return None if self._known is None else self._known.board

    @property
    def trouble(self) -> str | None:
        """Why nobody should go by what was seen last; None while it is what the store holds."""
        if self._told is not None:
            return self._told
        if self._known is None:
            return "the store has not been looked into yet"
        age = time.monotonic() - self._fresh
        return f"the store was last looked into {age:.0f} s ago" if age > _OLD else None

    async def ready(self) -> None:
        """Wait for the first look; where it is in vain, until that is told."""
        await self._hub.ready()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self.glance()
            await self._sleep(self._rest())

    async def beat(self) -> None:
        """Give signs of life until cancelled."""
        while True:
            await self._sleep(self._pace.heartbeat)
            self._hub.heartbeat()

    async def close(self) -> None:
        """Wait for the look that is under way; the last one."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    async def glance(self) -> bool:
        """Look into the store if it has changed, or the last look was long ago; tell whether it was looked into."""
        start, now, loop = time.monotonic(), self._site.now(), asyncio.get_running_loop()
        late = loop.call_later(self._pace.patience, self._waited, start)
        try:
            seen = await loop.run_in_executor(self._thread, self._news)
        except (SpikeError, OSError) as error:
            _log.info("the store could not be looked into, again in a moment: %s", error)
            self._missed(str(error), start)
            return False
        finally:
            late.cancel()
        if self._sparing is None:
            self._fresh, self._hub.looked_at = start, now
        if seen is None:
            return False
        self._looked = time.monotonic()
        self.seconds = self._looked - start
        mended, self._in_vain_since, self._told = self._told is not None, None, None
        self._tell(seen, mended=mended)
        return True

    def despair(self, why: str) -> None:
        """Tell pages, and whoever comes later, why what they show is no longer to be gone by."""
        now, self._told = self._site.now(), why
        status = unreadable(self._site, now, why, None if self._known is None else self._known.status)
        if self._known is None:
            self._hub.begin(status, alerts.NONE)
        else:
            self._hub.publish([{"kind": "status", "status": status}], status, self._known.alerts)

    def _news(self) -> Seen | None:
        """Look, in the thread: even to ask whether anything has changed can take long, of a server that is away."""
        stamp = self._site.pipeline.store.stamp()
        since = time.monotonic() - self._looked
        due = self._in_vain_since is not None or since >= (self._pace.blind if stamp is None else self._pace.idle)
        if stamp == self._stamp and not due:
            return None
        if self._sparing is not None and stamp == self._spared and self._spares():
            return None
        seen = self._look(stamp, due)
        if seen is not None:
            self._stamp, self._spared, self._sparing = stamp, None, None
        return seen

    def _look(self, stamp: str | None, whole: bool) -> Seen | None:
        """Look, unless that is put off."""
        store, deadline, now = self._site.pipeline.store, Deadline.after(_LIMIT), self._site.now()
        first: Glance = glance(self._site, now).ask(store, deadline, _PURPOSE)
        if first.is_under_way() and self._known is not None and not whole and self._spares():
            self._spared, self._sparing = stamp, self._sparing or time.monotonic()
            return None
        seen: Seen = look(self._site, now, self._known, first, whole=whole).ask(store, deadline, _PURPOSE)
        return seen

    def _spares(self) -> bool:
        """Tell whether a look may be put off, or be put off for longer."""
        now = time.monotonic()
        return now - (self._sparing or now) < self._pace.spared

    def _waited(self, start: float) -> None:
        """Tell of a look that is under way for long, unless something better is told."""
        if self._told is None:
            self._missed("the store does not answer, or somebody holds it", start)

    def _missed(self, why: str, start: float) -> None:
        """Remember a look in vain, and tell of it when there were none but such for a while."""
        self._in_vain_since = start if self._in_vain_since is None else self._in_vain_since
        if time.monotonic() - self._in_vain_since >= self._pace.patience and why != self._told:
            self.despair(why)

    def _tell(self, seen: Seen, *, mended: bool) -> None:
        self._known = seen
        if seen.changes is None:
            self._hub.begin(seen.status, seen.alerts)
            return
        changes = list(seen.changes)
        if mended and all(one["kind"] != "status" for one in changes):
            changes.append({"kind": "status", "status": seen.status})
        self._hub.publish(changes, seen.status, seen.alerts)

    def _rest(self) -> float:
        """Give the seconds to the next glance: longer behind a long look, but never so long that news come late."""
        return max(self._pace.poll, min(self.seconds * (1 / self._pace.share - 1), _LONGEST_REST))
