"""Notices what others write into the store, within a second of their commit, and hands it to the feed.

It looks at the file's size and time of change five times a second, and opens the database only when these say so, for
some tens of milliseconds: a pass that comes meanwhile waits no longer than that. Whoever writes now goes first.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from spike_assets.dashboard.feed import Hub
from spike_assets.dashboard.glance import glance
from spike_assets.dashboard.look import Seen, look
from spike_assets.dashboard.site import Site
from spike_assets.deadline import Deadline
from spike_assets.errors import SpikeError

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
    """

    poll: float = 0.2
    idle: float = 30.0
    blind: float = 0.5
    share: float = 0.1
    heartbeat: float = 10.0


_LIMIT = timedelta(seconds=10)
"""A look waits so long for passes that come one upon another; what it has read by then would have to be read again."""
_LONGEST_REST = 0.3
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
        self.seconds = 0.0
        """What the last look took."""

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
        stamp = self._site.pipeline.store.stamp()
        since = time.monotonic() - self._looked
        due = since >= (self._pace.blind if stamp is None else self._pace.idle)
        if stamp == self._stamp and not due:
            return False
        start = time.monotonic()
        try:
            seen = await asyncio.get_running_loop().run_in_executor(self._thread, self._look, due)
        except SpikeError as error:
            _log.info("the store could not be looked into, again in a moment: %s", error)
            return False
        self._stamp, self._looked = stamp, time.monotonic()
        self.seconds = self._looked - start
        self._tell(seen)
        return True

    def _look(self, whole: bool) -> Seen:
        store, deadline, now = self._site.pipeline.store, Deadline.after(_LIMIT), self._site.now()
        first = glance(self._site, now).ask(store, deadline, _PURPOSE)
        seen: Seen = look(self._site, now, self._known, first, whole=whole).ask(store, deadline, _PURPOSE)
        return seen

    def _tell(self, seen: Seen) -> None:
        self._known = seen
        if seen.changes is None:
            self._hub.begin(seen.status, seen.alerts)
        else:
            self._hub.publish(list(seen.changes), seen.status, seen.alerts)

    def _rest(self) -> float:
        """Give the seconds to the next glance: longer behind a long look, but never so long that news come late."""
        return max(self._pace.poll, min(self.seconds * (1 / self._pace.share - 1), _LONGEST_REST))
