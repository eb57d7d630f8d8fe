"""Processes are told apart, even where a number is used again."""

import signal

from spike_assets.defs.launcher.process import Process


def test_a_number_that_somebody_else_has_by_now_is_nobody() -> None:
    own = Process.own()
    assert own.lives
    assert own.signal(signal.SIGCONT)
    other = Process(own.machine, own.pid, own.started - 1)
    assert not other.lives
    assert not other.signal(signal.SIGKILL)
    assert not Process(own.machine, 2**22 + 1, 1).signal(signal.SIGKILL)
