"""`spike significance`: how often rules hit, for somebody who has to decide whether to believe them."""

import re

from spike_assets_tests.cli.running import HISTORY, ok


def test_a_table_and_a_line() -> None:
    ok("backfill", "H4", *HISTORY)
    lines = ok("significance", "-g", "H4").splitlines()
    assert lines[0].split() == [
        *("instrument", "events"),
        *("number", "chance", "×"),
        *("volume", "chance", "×"),
        *("pattern", "chance", "×"),
    ]
    assert max(map(len, lines[:-1])) <= 80
    rows = [line.split() for line in lines[1:] if re.match(r"[A-Z]{3}_[A-Z]{3} ", line)]
    assert len(rows) == len({row[0] for row in rows}) >= 2
    assert all(len(row) == 11 for row in rows)
    (total,) = [line.split() for line in lines if line.startswith("total")]
    for column in (1, 2, 5, 8):
        assert int(total[column].replace(",", "")) == sum(int(row[column].replace(",", "")) for row in rows)
    assert re.fullmatch(
        r"simultaneous: [\d,]+ groups? at [\d,]+ candle times with an event, [\d.,]+ by chance \(× [\d.–]+\);"
        r" \d+\.\d\d a trading day",
        lines[-1],
    )


def test_nothing_yet() -> None:
    assert ok("significance") == "no H1 events are stored yet; `spike backfill H1` finds some\n"
