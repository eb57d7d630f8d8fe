"""The live feed: numbered changes to every page, kept for those that come back, and never more than a page can take.

One event loop drives all of it. What has changed is found out by `watcher`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice

from spike_assets.dashboard.views import Record, encoded, iso

KEPT = 1000
"""Deltas that are kept for pages that come back."""
QUEUED = 64
"""Frames that wait for one page; one that is slower takes a new snapshot."""
MOST_CLIENTS = 500

RESET = encoded({"type": "reset"})


class Client:
    """One page: the frames that it is still to be sent."""

    def __init__(self, snapshot: Callable[[], str], first: list[str], queued: int) -> None:
        self._snapshot = snapshot
        self._queued = queued + len(first)  # what was missed is no sign of slowness
        self._frames = deque(first)
        self._lost = False
        self._something = asyncio.Event()

    def offer(self, frame: str) -> bool:
        """Put a frame into the queue; False where the page has now lost its place: it was too slow."""
        if self._lost:
            return True
        if len(self._frames) >= self._queued:
            self.lose()
            return False
        self._frames.append(frame)
        self._something.set()
        return True

    def nudge(self, frame: str) -> None:
        """Put a frame into an empty queue: whoever has something to read needs no sign of life."""
        if not self._lost and not self._frames:
            self._frames.append(frame)
            self._something.set()

    def lose(self) -> None:
        """Forget what was queued: the page is told to begin afresh."""
        self._frames.clear()
        self._lost = True
        self._something.set()

    async def next(self) -> str:
        """Wait for the next frame."""
        while True:
            if self._lost:
                self._lost = False
                self._frames.append(self._snapshot())
                return RESET
            if self._frames:
                return self._frames.popleft()
            self._something.clear()
            await self._something.wait()


class Hub:
    """Where changes come in and go out to all pages.

    Parameters
    ----------
    first
        Number of the state before the first delta. It has to be greater than any number that a server before this one
        gave, or a page of that one would be continued where it is not: the time of day in milliseconds is.
    now
        Gives the time of day, UTC.
    """

    def __init__(
        self,
        first: int,
        now: Callable[[], datetime],
        *,
        kept: int = KEPT,
        queued: int = QUEUED,
        most_clients: int = MOST_CLIENTS,
    ) -> None:
        self.seq = first
        self._now = now
        self.deltas = 0
        self.resets = 0
        self.looked_at: datetime | None = None
        """When the store was last looked at with success: what pages show is from then."""
        self._deltas: deque[str] = deque(maxlen=kept)
        self._queued = queued
        self._most_clients = most_clients
        self._clients: set[Client] = set()
        self._state: dict[str, Record] = {}
        self._ready = asyncio.Event()

    @property
    def clients(self) -> int:
        """How many pages are connected."""
        return len(self._clients)

    @property
    def full(self) -> bool:
        """Whether no more pages can be served."""
        return len(self._clients) >= self._most_clients

    async def ready(self) -> None:
        """Wait until there is something to tell."""
        await self._ready.wait()

    def begin(self, status: Record, alerts: Record) -> None:
        """Set what a snapshot says; pages that know something else begin afresh."""
        self._state = {"status": status, "alerts": alerts}
        self._deltas.clear()
        self.seq += 1
        for client in self._clients:
            self.resets += 1
            client.lose()
        self._ready.set()

    def publish(self, changes: list[Record], status: Record, alerts: Record) -> None:
        """Send a delta to every page, encoded once; where nothing has changed, only snapshots are newer."""
        self._state = {"status": status, "alerts": alerts}
        if not changes:
            return
        self.seq += 1
        frame = encoded({"type": "delta", "seq": self.seq, "changes": changes})
        self.deltas += 1
        self._deltas.append(frame)
        for client in self._clients:
            self.resets += not client.offer(frame)

    def heartbeat(self) -> None:
        """Give every page a sign of life."""
        frame = encoded(
            {"type": "heartbeat", "seq": self.seq, "now": iso(self._now()), "looked_at": iso(self.looked_at)}
        )
        for client in self._clients:
            client.nudge(frame)

    @contextmanager
    def joined(self, since: int | None) -> Iterator[Client]:
        """Let a page take part inside the block.

        Parameters
        ----------
        since
            The last number that it knows; it gets every delta behind that, or a snapshot where these are not kept.
        """
        client = Client(self._snapshot, self._behind(since), self._queued)
        self._clients.add(client)
        try:
            yield client
        finally:
            self._clients.discard(client)

    def _behind(self, since: int | None) -> list[str]:
        missed = None if since is None else self.seq - since
        if missed is None or not 0 <= missed <= len(self._deltas):
            return [self._snapshot()]
        return list(islice(self._deltas, len(self._deltas) - missed, None))

    def _snapshot(self) -> str:
        # A page sets its clock by it.
        status = {**self._state["status"], "now": iso(self._now())}
        return encoded({"type": "snapshot", "seq": self.seq, "status": status, "alerts": self._state["alerts"]})
