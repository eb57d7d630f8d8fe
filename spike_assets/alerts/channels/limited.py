"""Doing what cannot be interrupted, for no longer than there is time."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from spike_assets.deadline import Deadline

T = TypeVar("T")


def within(deadline: Deadline, work: Callable[[], T]) -> T:
    """Give what `work` gives, or raise what it raises; `TimeoutError` when the time is up.

    The work goes on behind our back then: a thread cannot be stopped. It does not keep the process from ending.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done.result(deadline.remaining())
