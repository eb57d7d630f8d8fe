"""OANDA's limits are held on our side, by everybody on the machine together."""

import threading
from pathlib import Path

import pytest

from spike_assets.deadline import Deadline
from spike_assets.errors import DeadlineError, SourceError
from spike_assets.sources.oanda import limits
from spike_assets.sources.oanda.limits import RateLimit
from spike_assets_tests.processes import finished, start
from spike_assets_tests.sources.oanda.asking import within


class Time:
    """A clock that stands but for those who sleep."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(limits, "time", clock)
    return clock


def never(time: Time) -> Deadline:
    return Deadline(time.now + 1e6, time.monotonic)


def most_in_a_second(times: list[float]) -> int:
    return max(sum(start <= at < start + 1 for at in times) for start in times)


@pytest.mark.parametrize("most", [1, 2, 120])
def test_no_second_sees_more(time: Time, tmp_path: Path, most: int) -> None:
    limit = RateLimit(tmp_path / "limit", most)
    taken = []
    for n in range(5 * most):
        limit.take(never(time))
        taken.append(time.now)
        time.now += 0.004 if n % 7 else 0.05
    assert most_in_a_second(taken) <= most
    assert taken[-1] - taken[0] < 5 * 1.5  # and no turn is wasted


def test_whoever_cannot_wait_is_told_so_and_takes_nothing(time: Time, tmp_path: Path) -> None:
    limit = RateLimit(tmp_path / "limit", 1)
    limit.take(never(time))
    with pytest.raises(DeadlineError, match="OANDA allows 1 requests a second"):
        limit.take(Deadline(time.now + 0.5, time.monotonic))
    assert time.slept == []
    limit.take(never(time))
    assert len(time.slept) == 1


def test_a_file_of_before_the_machine_started_anew_does_not_count(time: Time, tmp_path: Path) -> None:
    limit = RateLimit(tmp_path / "limit", 1)
    limit.take(never(time))
    time.now = 3.0
    limit.take(never(time))
    assert time.slept == []


def test_half_an_entry_is_none(time: Time, tmp_path: Path) -> None:
    file = tmp_path / "limit"
    limit = RateLimit(file, 1)
    limit.take(never(time))
    file.write_bytes(file.read_bytes()[:5])
    limit.take(never(time))
    assert time.slept == []


def test_the_file_does_not_grow(time: Time, tmp_path: Path) -> None:
    limit = RateLimit(tmp_path / "limit", 10)
    for _ in range(200):
        limit.take(never(time))
    assert (tmp_path / "limit").stat().st_size <= 10 * 8


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="set TMPDIR to a folder of yours"):
        RateLimit(tmp_path / "nowhere" / "limit", 1).take(within())


def test_a_link_that_somebody_laid_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "limit").symlink_to(tmp_path / "theirs")
    with pytest.raises(SourceError, match="cannot open"):
        RateLimit(tmp_path / "limit", 1).take(within())


def test_everybody_on_this_machine_shares_it() -> None:
    one, two = RateLimit.shared("a-test", 3), RateLimit.shared("a-test", 3)
    assert one.file == two.file != RateLimit.shared("another", 3).file


def take_all(file: Path, log: Path) -> None:
    import time

    limit = RateLimit(file, 3)
    for _ in range(4):
        limit.take(within())
        with log.open("a") as lines:
            lines.write(f"{time.monotonic()}\n")


def test_processes_and_threads_share_a_file(tmp_path: Path) -> None:
    file, log = tmp_path / "limit", tmp_path / "log"
    threads = [threading.Thread(target=take_all, args=(file, log))]
    processes = [start(take_all, file, log)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [finished(process) for process in processes] == [0]
    times = sorted(float(line) for line in log.read_text().splitlines())
    assert len(times) == 8
    # Whoever is slow to write down its turn may seem late, never early.
    assert all(later - earlier > 0.9 for earlier, later in zip(times, times[3:], strict=False))
