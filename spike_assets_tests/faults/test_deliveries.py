"""Receivers that fail, senders that are killed: every digest arrives, in order, and no more often than it has to."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from spike_assets_tests.engines import DUCKDB, POSTGRES, SOAKED
from spike_assets_tests.faults.senders import (
    AFTER_CLOSE,
    FAULTS,
    ILL,
    WELL,
    Dying,
    Impatient,
    Platform,
    Stillborn,
    Worker,
    id_of,
    kill_again_and_again,
    platform,
)
from spike_assets_tests.receiver import Reset

END = datetime(2025, 3, 14, 12, tzinfo=UTC)
TICKS = 6


@contextmanager
def backlog(database: str, *away: str) -> Iterator[Platform]:
    """Give a platform that has something to send: for six hours nobody could be reached over these channels."""
    with platform(database, END, TICKS) as (running, closes):
        for account in running.accounts:
            account.receiver.outage = Reset() if account.channel in away else None
        for close in closes:
            running.now = close + AFTER_CLOSE
            running.work("pass")
        running.check(None)
        assert running.waiting is not None
        for account in running.accounts:
            account.receiver.outage = None
            assert bool(account.receiver.received) != (account.channel in away)
        running.now = max(running.now, running.waiting) + AFTER_CLOSE
        yield running


@pytest.mark.parametrize(("engine", "kills"), [(DUCKDB, 10), (POSTGRES, 4)])
def test_killed_at_random_moments(database: str, kills: int) -> None:
    """Senders, and some passes; one of two receivers fails in every way, and is away for six hours of eight."""
    ran = kill_again_and_again(1, database, END, kills)
    assert ran.killed["send"] == kills
    assert ran.apart > 0
    assert ran.accounts[1].failed > 0


@pytest.mark.parametrize("engine", SOAKED)
def test_every_fault_is_survived_and_nobody_who_asks_to_be_left_alone_is_asked_sooner(database: str) -> None:
    with backlog(database, ILL) as running:
        for fault in FAULTS:
            running.ill.faults = [fault]
            assert running.run("send")
            assert not running.ill.faults
            assert running.waiting is not None
            assert running.waiting > running.now
            running.now = running.waiting
        assert len({id_of(one) for one in running.ill.received}) == 1  # those behind it wait for their turn
        running.settle()
        ill = running.accounts[1]
        assert ill.failed == len(FAULTS) - 1  # of a connection that is reset at once nothing was read
        assert ill.repeated == ill.excused


@pytest.mark.parametrize("engine", SOAKED)
def test_a_kill_costs_a_repetition_between_the_answer_and_its_mark_and_nothing_before(database: str) -> None:
    with backlog(database, ILL) as running:
        for _ in range(2):
            assert not running.run("send", lambda worker: worker.process.join(), Stillborn)
        assert not running.ill.received
        for _ in range(3):
            assert not running.run("send", lambda worker: worker.process.join(), Dying)
        (first,) = {id_of(one) for one in running.ill.received}
        running.settle()
        well, ill = running.accounts
        assert Counter(id_of(one) for one in running.ill.received)[first] == 4
        assert (well.repeated, ill.repeated) == (0, 3)
        assert len(running.well.received) == len(running.ill.received) - 3 >= 3


def test_two_senders_and_a_pass_at_once_send_nothing_twice(database: str) -> None:
    with backlog(database, WELL, ILL) as running:
        workers = [Worker(what, running.place, running.now, Impatient) for what in ("send", "send", "pass")]
        for worker in workers:
            worker.go()
        told = [worker.ended() for worker in workers]
        assert None not in told
        outcomes = [outcome for one in told if one is not None for outcome in one]
        assert {outcome.status for outcome in outcomes} == {"sent"}
        running.check(outcomes)
        assert running.waiting is None
        for account in running.accounts:
            ids = [id_of(one) for one in account.receiver.received]
            assert len(ids) == len(set(ids)) >= 3
            assert sorted(ids) == sorted(one.delivery_id for one in outcomes if one.channel == account.channel)
        running.settle()
