"""Real processes for tests, started in milliseconds: forked from a server that has imported spike and nothing more.

What a process runs is a function of a module, so that it can be named to the process.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["spike_assets.pipeline", "spike_assets.sources.simulated", "spike_assets_tests.support"]
)

PATIENCE = 120.0
"""Seconds after which a process that should have ended is a failure; nothing waits for it to pass."""

NOBODY = 65534


def start(target: Callable[..., None], *args: Any) -> ForkServerProcess:
    """Start a function of a module in a process of its own."""
    process = CONTEXT.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def finished(process: ForkServerProcess) -> int:
    """Wait for a process and give its exit code; minus the signal that killed it."""
    process.join(PATIENCE)
    code = process.exitcode
    if code is None:
        process.kill()
        raise AssertionError("a process did not end")
    return code


def run(target: Callable[..., None], *args: Any) -> int:
    """Run a function of a module in a process of its own, to its end."""
    return finished(start(target, *args))


def told(target: Callable[..., None], *args: Any) -> list[Any]:
    """Run a function whose first argument is `tell`, and give what it told."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = start(target, sender, *args)
    sender.close()
    heard = []
    while receiver.poll(PATIENCE):
        try:
            heard.append(receiver.recv())
        except EOFError:
            break
    assert finished(process) == 0, heard
    return heard


def die() -> None:
    """Leave without a word, as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def become_nobody() -> None:
    """Give up root, to whom every file is open."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
