"""The warm process: loads once, then forks off a process for each run. `python -m spike_assets.defs.launcher.server N`.

It has one thread and nothing open that a child could share, but the socket `N` to its launcher; when that is closed,
the launcher has ended, and it ends behind its last child. Children are not ended by its end: a run goes on.
"""

import mmap
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NoReturn

from dagster._utils.error import serializable_error_info_from_exc_info

from spike_assets.defs.launcher import child, wire
from spike_assets.defs.launcher.process import Process
from spike_assets.defs.launcher.warmth import Warmth
from spike_assets.defs.launcher.wire import GoneError, Message

_MOST_SAID = 20_000
"""Characters of an error: a packet holds no more than some."""


class Server:
    """Forks on request, and has Dagster told of children that die."""

    def __init__(self, launcher: socket.socket, warmth: Warmth) -> None:
        self._launcher = launcher
        self._warmth = warmth
        self._selector = selectors.DefaultSelector()
        self._handles: set[int] = set()
        """What says that a child has ended, for each."""
        self._listening = True

    def serve(self) -> None:
        """Serve until the launcher has ended and so has the last child."""
        self._selector.register(self._launcher, selectors.EVENT_READ, self._asked)
        while self._listening or self._handles:
            for key, _ in self._selector.select():
                key.data()

    def _asked(self) -> None:
        """Answer a request, on the socket that it carries."""
        try:
            asked, run_launcher = wire.receive_carried(self._launcher)
        except GoneError:
            self._listening = False
            self._selector.unregister(self._launcher)
            return
        assert run_launcher, "a launcher carries one with each request"  # noqa: S101
        with run_launcher:
            refusal = self._refusal()
            if refusal is not None:
                with suppress(GoneError):  # it has waited for too long
                    wire.send(run_launcher, refusal)
                return
            begun = mmap.mmap(-1, 1)  # shared with the child, which says there that the run is its business
            self._fork(
                partial(child.run, self._warmth, asked, run_launcher, begun),
                partial(self._run_ended, asked["run_id"], begun),
            )

    def _refusal(self) -> Message | None:
        """Say why nothing is forked now: what was loaded is not what there is now, or forking is not safe."""
        changed = self._warmth.sources.changed()
        if changed:
            return {"stale": changed}
        unfit = self._warmth.unfit()
        return {"unfit": unfit} if unfit else None

    def _fork(self, work: Callable[[], int], ended: Callable[[int], None]) -> None:
        """Do something in a forked process, and look after it until it has ended with an exit code."""
        pid = os.fork()
        if pid == 0:
            child.leave(partial(self._work, work))
        handle = os.pidfd_open(pid)
        self._handles.add(handle)
        self._selector.register(handle, selectors.EVENT_READ, partial(self._fetch, pid, handle, ended))

    def _work(self, work: Callable[[], int]) -> int:
        """Close what is the server's own, listen to signals again, and work."""
        self._launcher.close()
        self._selector.close()
        for handle in self._handles:
            os.close(handle)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return work()

    def _fetch(self, pid: int, handle: int, ended: Callable[[int], None]) -> None:
        self._selector.unregister(handle)
        self._handles.remove(handle)
        os.close(handle)
        ended(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def _run_ended(self, run_id: str, begun: mmap.mmap, code: int) -> None:
        died = code != 0 and begun[0]
        begun.close()
        if died:
            self._fork(partial(child.tell_of_crash, self._warmth.instance, run_id, code), _told)


def _told(code: int) -> None:
    if code != 0:
        sys.exit("a run's crash could not be told; who looks after runs tells of it once this server has ended")


def main(number: int) -> NoReturn:
    """Load what the launcher says, tell it so or why not, and serve it."""
    # Ctrl-C and whoever stops a group of processes mean the runs; this ends behind them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    launcher = socket.socket(fileno=number)
    try:
        told = wire.receive(launcher)
        try:
            warmth = Warmth.load(told)
        except Exception:  # noqa: BLE001 - whatever definitions raise: the launcher tells it
            error = serializable_error_info_from_exc_info(sys.exc_info())
            wire.send(launcher, {"failed": error.to_string()[:_MOST_SAID]})
            sys.exit(1)
        wire.send(launcher, {"ready": vars(Process.own())})
    except GoneError:
        sys.exit(0)
    Server(launcher, warmth).serve()
    sys.exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
