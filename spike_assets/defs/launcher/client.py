"""The launcher's side of the warm server: it runs, is asked, and is replaced when it died or its sources changed."""

import logging
import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar, Self
from weakref import WeakKeyDictionary

from dagster import DagsterInstance
from dagster._core.code_pointer import CodePointer
from dagster._core.instance.ref import InstanceRef
from dagster._core.origin import RepositoryPythonOrigin
from dagster._serdes import serialize_value

from spike_assets.defs.launcher import sources, wire
from spike_assets.defs.launcher.process import Process, Worker
from spike_assets.defs.launcher.wire import BEGUN, GO, GoneError, Message

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""Has libraries start no threads when they are imported; runs do not get to see it."""
_ANSWER_SECONDS = 30.0
"""How long a server that runs may take to fork."""
_END_SECONDS = 2.0
"""How long one that has no runs may take to end."""

LOG = logging.getLogger("dagster.launcher")
"""One of Dagster's: the daemon and the webserver show what it is told."""


class NotWarmError(Exception):
    """A run was not launched warm; the text says why. It was not begun."""


class _StaleError(Exception):
    """The server cannot be used any more, another one can."""


class WarmServer:
    """A server process, its definitions loaded."""

    def __init__(
        self, instance: InstanceRef, location: str, repository: RepositoryPythonOrigin, patience: float
    ) -> None:
        self.repository = repository
        began = sources.now()
        added = {name: value for name, value in ONE_THREAD.items() if name not in os.environ}
        self._socket, other = wire.pair()
        with other:
            try:
                self._process = subprocess.Popen(
                    [repository.executable_path, "-m", "spike_assets.defs.launcher.server", str(other.fileno())],
                    env=os.environ | added,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[other.fileno()],
                )
            except OSError as error:
                self.close()
                raise NotWarmError(f"{repository.executable_path} cannot be run: {error.strerror}") from None
        told = {"began": began, "added": [*added], "instance": serialize_value(instance), "location": location}
        try:
            wire.send(self._socket, told | {"repository": serialize_value(repository)})
            self._socket.settimeout(patience)
            answer = wire.receive(self._socket)
        except GoneError:
            self._abandon()
            raise NotWarmError(
                "the warm server ended while it loaded the definitions; the log has its last words"
            ) from None
        except TimeoutError:
            self._abandon()
            raise NotWarmError(f"the warm server did not load the definitions within {patience:.0f} s") from None
        if "failed" in answer:
            self._abandon()
            raise NotWarmError(f"the warm server could not load the definitions: {answer['failed']}")
        self.process = Process(**answer["ready"])

    def launch(self, request: Message, write: Callable[[Worker | None], None]) -> None:
        """Have a run begun in a forked process, once `write` has noted down who works at it.

        Raises
        ------
        NotWarmError
            The run was not begun, and another server would not begin it either.
        _StaleError
            It was not begun; another server may.
        """
        ours, theirs = wire.pair()
        with ours:
            ours.settimeout(_ANSWER_SECONDS)
            try:
                with theirs:
                    wire.send(self._socket, request, theirs)
                answer = wire.receive(ours)
            except GoneError:
                raise _StaleError("the warm server had ended") from None
            except TimeoutError:
                raise NotWarmError(f"the warm server forked nothing within {_ANSWER_SECONDS:.0f} s") from None
            if "stale" in answer:
                raise _StaleError(f"{answer['stale']} has changed")
            if "unfit" in answer:
                raise NotWarmError(f"the warm server may not fork: {answer['unfit']}")
            write(Worker(request["run_id"], Process(**answer["process"]), self.process))
            try:
                wire.send(ours, GO)
                ours.settimeout(None)  # from here on it begins, or ends
                if wire.receive(ours) != BEGUN:
                    raise ValueError("a run's process said something else than that it has begun")
            except GoneError:
                write(None)
                raise NotWarmError("the run's process ended before it began; its log has why") from None

    def close(self) -> None:
        """Let it end, behind the runs that it has forked."""
        self._socket.close()

    def _abandon(self) -> None:
        """End it, which has not forked anything yet."""
        self.close()
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Let it end, and wait for that, though not for its runs."""
        self.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)

    def has_ended(self) -> bool:
        """Tell whether its process has ended; has to be asked once it has, lest something of it stay."""
        return self._process.poll() is not None


class WarmServers:
    """The server of one Dagster instance in this process: started when it is first needed."""

    _all: ClassVar[WeakKeyDictionary[DagsterInstance, Self]] = WeakKeyDictionary()
    _all_lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def of(cls, instance: DagsterInstance) -> Self:
        """Give those of an instance: the same to all its launchers; threads that launch at once make several."""
        with cls._all_lock:
            return cls._all.setdefault(instance, cls())

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: WarmServer | None = None
        self._closed: list[WarmServer] = []

    def launch(
        self,
        start: Callable[[], WarmServer],
        repository: RepositoryPythonOrigin,
        request: Message,
        write: Callable[[Worker | None], None],
    ) -> None:
        """Launch a run; raises `NotWarmError` where it was not begun."""
        server = self._of(repository, start)
        try:
            server.launch(request, write)
        except _StaleError as why:
            self._drop(server)
            LOG.info("%s; another warm server is started", why)
            again = self._of(repository, start)
            try:
                again.launch(request, write)
            except _StaleError as error:
                self._drop(again)
                raise NotWarmError(f"twice in a row {error}") from None

    def close(self) -> None:
        """Let the server end."""
        with self._lock:
            for server in [*self._closed, *filter(None, [self._server])]:
                server.end()
            self._server, self._closed = None, []

    def _of(self, repository: RepositoryPythonOrigin, start: Callable[[], WarmServer]) -> WarmServer:
        with self._lock:
            if self._server and self._server.has_ended():
                LOG.warning("the warm server had ended; another one is started")
                self._retire(self._server)
            elif self._server and _loaded(self._server.repository) != _loaded(repository):
                LOG.info("a run is of other definitions than the warm server has loaded; another one is started")
                self._retire(self._server)
            self._closed = [each for each in self._closed if not each.has_ended()]
            if self._server is None:
                self._server = start()
            return self._server

    def _drop(self, server: WarmServer) -> None:
        with self._lock:
            if self._server is server:
                self._retire(server)

    def _retire(self, server: WarmServer) -> None:
        self._server = None
        server.close()
        self._closed.append(server)


def _loaded(repository: RepositoryPythonOrigin) -> tuple[str, CodePointer]:
    """Give what a server loads of a repository; what a container would be told differs by who asks for a run."""
    return repository.executable_path, repository.code_pointer
