"""What a forked process does: a run from its begin to its end, or telling of one whose process died."""

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from mmap import mmap
from typing import Never

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.events import EngineEventData
from dagster._grpc.impl import core_execute_run
from dagster._utils.hosted_user_process import recon_job_from_origin
from dagster._utils.interrupts import capture_interrupts

from spike_assets.defs.launcher import books, wire
from spike_assets.defs.launcher.process import LOOK, Process
from spike_assets.defs.launcher.warmth import Warmth
from spike_assets.defs.launcher.wire import BEGUN, GO, GoneError, Message
from spike_assets.store.store import TIDYING

_EVERY_SECONDS = 5.0
"""How often it looks by itself: whoever ended the run may be on another machine."""
_OVER = (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED, DagsterRunStatus.FAILURE)
_TRIES = 30


def leave(work: Callable[[], int]) -> Never:
    """Do the work of a forked process, and end it without what the one it came from had planned for its own end."""
    code = 1
    try:
        code = work()
    except BaseException:  # noqa: BLE001 - told, and then there is nobody to hand it to
        traceback.print_exc()
    finally:
        for thread in threading.enumerate():
            if thread.name == TIDYING:
                thread.join()  # as at any process's end
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(warmth: Warmth, asked: Message, launcher: socket.socket, begun: mmap) -> int:
    """Do a run that the launcher asked for, once it has said that it may begin; give the exit code.

    Parameters
    ----------
    begun
        One byte, which says from then on that the run is this process's business.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {LOOK})
    with capture_interrupts():
        wire.send(launcher, {"process": vars(Process.own())})
        for name, value in asked["environment"].items():
            os.environ.setdefault(name, value)
        instance = warmth.instance
        to_do = instance.get_run_by_id(asked["run_id"])
        if to_do is None or to_do.job_code_origin is None:
            raise ValueError(f"run {asked['run_id']} is not in Dagster's run storage, or does not say what it runs")
        job = recon_job_from_origin(to_do.job_code_origin)
        job.get_definition()
        try:
            if wire.receive(launcher) != GO:
                raise ValueError("the launcher said something else than go")
        except GoneError:
            return 0  # who launches has gone, or launches it in another way
        with launcher, suppress(GoneError):
            wire.send(launcher, BEGUN)
        begun[0] = 1  # killed before this line, it is left to run monitoring; the other order might run it twice
        _watch(instance, to_do.run_id)
        milliseconds = (time.monotonic() - asked["since"]) * 1000
        instance.report_engine_event(
            f"Started process for run (pid: {os.getpid()}), forked off the warm server: {milliseconds:.0f} ms"
            " from launch to here.",
            to_do,
            EngineEventData.in_process(os.getpid()),
        )
        with suppress(BaseException):  # what it raises is in the run's log by then
            for _ in core_execute_run(job, to_do, instance, inject_env_vars=False):
                pass
        return _end(instance, to_do)


def _end(instance: DagsterInstance, done: DagsterRun) -> int:
    instance.report_engine_event(f"Process for run exited (pid: {os.getpid()}).", done)
    ended = instance.get_run_by_id(done.run_id)
    if ended is not None and ended.status == DagsterRunStatus.CANCELING:  # it was to end before it had begun
        instance.report_run_canceled(ended)
    instance.dispose()
    return 0 if ended is None or ended.is_finished or ended.status == DagsterRunStatus.CANCELING else 1


def _watch(instance: DagsterInstance, run_id: str) -> None:
    """Look after the run from a thread: once it is to end, interrupt it; once it has had its time for that, kill it."""

    def over() -> bool:
        try:
            found = instance.get_run_by_id(run_id)
        except Exception:  # noqa: BLE001 - whatever a storage raises that is away: it is asked again
            traceback.print_exc()
            return False
        return found is None or found.status in _OVER

    def watch() -> None:
        signal.sigtimedwait({LOOK}, _EVERY_SECONDS)
        while not over():
            signal.sigtimedwait({LOOK}, _EVERY_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)
        patience = instance.run_monitoring_cancel_timeout_seconds
        if patience:
            time.sleep(patience)
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="run-watch", daemon=True).start()


def tell_of_crash(instance: DagsterInstance, run_id: str, exit_code: int) -> int:
    """Tell Dagster that a run's process has died; its storage may be away for a while."""
    for _ in range(_TRIES):
        try:
            run = instance.get_run_by_id(run_id)
            if run is not None:
                books.tell_of_crash(instance, run, books.explanation(run_id, exit_code))
        except Exception:  # noqa: BLE001 - whatever a storage raises that is away
            traceback.print_exc()
            time.sleep(1)
        else:
            instance.dispose()
            return 0
    return 1
