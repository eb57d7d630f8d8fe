"""Reading for visitors: briefly, in threads, and not twice what has not changed since."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

from spike_assets.dashboard.site import Question
from spike_assets.dashboard.views import encoded
from spike_assets.deadline import Deadline
from spike_assets.store.store import Session, Store

_LIMIT = timedelta(seconds=5)
_THREADS = 4
_MOST_BYTES = 32_000_000


class Reader:
    """Reads a store. Of equal questions at the same time one is asked, and answers are kept while nothing changes."""

    def __init__(self, store: Store, *, most_bytes: int = _MOST_BYTES) -> None:
        self._store = store
        # Not the event loop's own threads: those are killed when the process ends, in the middle of a query.
        self._threads = ThreadPoolExecutor(_THREADS, "dashboard-reader")
        # A server that is away is asked in vain for seconds; what is kept does not wait behind those who read, either.
        self._glances = ThreadPoolExecutor(1, "dashboard-stamp")
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0
        self._asked: dict[Hashable, asyncio.Task[bytes]] = {}
        self.reads = 0

    async def answer(self, key: Hashable, purpose: str, question: Question) -> bytes:
        """Give the JSON of a question's answer.

        Parameters
        ----------
        key
            What was asked: whoever asks the same of the same stored rows may be given the same answer.
        """
        stamp = await asyncio.get_running_loop().run_in_executor(self._glances, self._store.stamp)
        if stamp is None:  # nothing tells when it changes
            return await self.fresh(purpose, question)
        full = (stamp, key)
        kept = self._kept.get(full)
        if kept is not None:
            self._kept.move_to_end(full)
            return kept
        task = self._asked.get(full)
        if task is None:
            task = self._asked[full] = asyncio.create_task(self._answer(full, purpose, question))
            task.add_done_callback(partial(self._answered, full))
        return await asyncio.shield(task)

    async def ask(self, purpose: str, question: Question) -> Any:
        """Give a question's answer as it is."""
        self.reads += 1
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, purpose, question)

    async def change(self, purpose: str, change: Callable[[Session], Any]) -> Any:
        """Change a row or two, in one transaction."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._write, purpose, change)

    async def close(self) -> None:
        """Wait for what is under way, and begin nothing more."""
        for threads in (self._glances, self._threads):
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)

    def _answered(self, key: Hashable, task: asyncio.Task[bytes]) -> None:
        del self._asked[key]
        if not task.cancelled():
            task.exception()  # whoever asked may have gone; those who have not are told

    async def _answer(self, key: Hashable, purpose: str, question: Question) -> bytes:
        found = await self.fresh(purpose, question)
        self._kept[key] = found
        self._bytes += len(found)
        while self._bytes > self._most_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= len(dropped)
        return found

    async def fresh(self, purpose: str, question: Question) -> bytes:
        """Give the JSON of an answer that is another one every time; it is not kept."""
        # Encoded in the thread, too: other pages are served meanwhile.
        as_bytes = Question(question.steps, lambda found: encoded(question.finish(found)).encode())
        return bytes(await self.ask(purpose, as_bytes))

    def _read(self, purpose: str, question: Question) -> Any:
        return question.ask(self._store, Deadline.after(_LIMIT), purpose)

    def _write(self, purpose: str, change: Callable[[Session], Any]) -> Any:
        with (
            self._store.writing(Deadline.after(_LIMIT), purpose) as session,
            session.transaction(),
        ):
            return change(session)
