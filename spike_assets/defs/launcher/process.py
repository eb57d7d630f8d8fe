"""Processes of this machine, told apart even where a number is used again, and which of them works at a run.

Linux only: what is asked is asked of `/proc`.
"""

import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from dagster import DagsterRun
from dagster._core.storage.tags import HIDDEN_TAG_PREFIX

WORKER_TAG = f"{HIDDEN_TAG_PREFIX}spike_worker"
"""The tag of a run that says who works at it; the UI does not show it."""

LOOK = signal.SIGUSR1
"""Tells a run's process to look whether its run is to end."""

_GONE = "ZX"
"""States of a process that has ended and was not fetched yet."""


@dataclass(frozen=True)
class Process:
    """A process: its number, when it started (clock ticks since the machine did), and where that means anything."""

    machine: str
    pid: int
    started: int

    @classmethod
    def own(cls) -> "Process":
        """Give the process that asks."""
        return cls(machine(), os.getpid(), _started(os.getpid()) or 0)

    @property
    def is_here(self) -> bool:
        """Whether it can be asked after from here: on this machine, since its last start, among the same processes."""
        return self.machine == machine()

    @property
    def lives(self) -> bool:
        """Whether it has not ended; of one that is elsewhere nothing is known, and this is False."""
        return self.is_here and _started(self.pid) == self.started

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to it and to nobody who got its number since; False when it has ended."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.lives:
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True


@dataclass(frozen=True)
class Worker:
    """Who works at a run: a process, and the server that it was forked from, which tells when it dies."""

    run_id: str
    process: Process
    server: Process

    @classmethod
    def of(cls, run: DagsterRun) -> "Worker | None":
        """Give who works at a run, by its tag; None where it says nobody, or is that of the run that this repeats."""
        said = json.loads(run.tags.get(WORKER_TAG, "{}"))
        if said.get("run_id") != run.run_id:
            return None
        return cls(run.run_id, Process(**said["process"]), Process(**said["server"]))

    def look(self) -> bool:
        """Have the process look whether its run is to end; False when it has ended. Elsewhere it looks by itself."""
        return not self.process.is_here or self.process.signal(LOOK)

    @property
    def tags(self) -> dict[str, str]:
        """What the run is tagged with."""
        return {WORKER_TAG: json.dumps(asdict(self))}

    @staticmethod
    def nobody() -> dict[str, str]:
        """Give what a run is tagged with whose process ended before it began."""
        return {WORKER_TAG: "{}"}


def machine() -> str:
    """Give what processes that see one another have in common: the machine since its last start, the container."""
    started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{started}:{Path('/proc/self/ns/pid').stat().st_ino}"


def _started(pid: int) -> int | None:
    """Give when a process started; None when it has ended."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = said.rpartition(")")[2].split()  # its name stands in parentheses, and may hold anything
    return None if fields[0] in _GONE else int(fields[19])
