"""Whatever goes wrong with a Postgres in the midst of a pass may be tried again, and the next pass makes it good."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import psycopg
import pytest

from spike_assets.deadline import Deadline
from spike_assets.errors import StoreLockedError, StoreUnavailableError
from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.pipeline import process
from spike_assets.store import open_store
from spike_assets.store.ops import State
from spike_assets.store.postgres_engine import PostgresEngine
from spike_assets_tests.alerts.desk import Desk, Inbox
from spike_assets_tests.faults.troubles import TROUBLES, Plan, troubled
from spike_assets_tests.invariants.runs import AFTER_CLOSE, Market, simulated_market
from spike_assets_tests.postgres import Server, fragile_server
from spike_assets_tests.support import FOREVER

__all__ = ["fragile_server"]

START = datetime(2025, 3, 3, tzinfo=UTC)
QUICK = timedelta(seconds=1)


def market_of(hours: int) -> Market:
    return simulated_market(H1, ("EUR_USD", "USD_JPY", "USD_TRY"), Window(START, START + timedelta(hours=hours)))


@pytest.fixture
def fragile(fragile_server: Server) -> Iterator[str]:
    """Give a database of a server that a test may stop."""
    with fragile_server.database() as url:
        yield url


@pytest.mark.parametrize("trouble", [name for name in TROUBLES if name != "restarted"])
def test_trouble_at_a_statement_or_a_commit(trouble: str, postgres: str, server: Server) -> None:
    """Each of them at other steps of a pass."""
    moments = range(3 * list(TROUBLES).index(trouble), 60, 30)
    plan = Plan(server, TROUBLES[trouble])
    failed, passes = troubled(market_of(12), PostgresEngine(postgres), plan, moments)
    assert failed == passes == len(moments)


@pytest.mark.soak
@pytest.mark.parametrize("trouble", ["killed", "disk full", "timed out"])
def test_trouble_at_every_statement_and_commit(trouble: str, postgres: str, server: Server) -> None:
    """Until a pass has no more of them."""
    plan = Plan(server, TROUBLES[trouble])
    failed, passes = troubled(market_of(110), PostgresEngine(postgres), plan, count())
    assert passes > 60
    assert failed >= passes - 1  # behind its last commit a pass may lose the connection unharmed


@pytest.mark.parametrize("stride", [13, pytest.param(1, marks=pytest.mark.soak)])
def test_the_server_breaks_off_in_the_midst_of_a_pass(stride: int, fragile: str, fragile_server: Server) -> None:
    plan = Plan(fragile_server, TROUBLES["restarted"])
    failed, passes = troubled(market_of(110), PostgresEngine(fragile), plan, range(3, 60, stride))
    assert failed == passes >= 57 // stride


def test_the_server_is_away_for_hours(fragile: str, fragile_server: Server) -> None:
    """Each pass fails at once, none is lost: the first one behind it takes all that was missed."""
    market = market_of(8)
    pipeline = market.pipeline(open_store(fragile))
    process(pipeline, H1, now=market.closes[0] + AFTER_CLOSE)
    fragile_server.stop()
    try:
        for close in market.closes[1:4]:
            with pytest.raises(StoreUnavailableError, match="is away"):
                process(pipeline, H1, now=close + AFTER_CLOSE)
    finally:
        fragile_server.start()
    result = process(pipeline, H1, now=market.closes[-1] + AFTER_CLOSE)
    assert result.summaries[0].rows == 3 * (len(market.closes) - 1)
    assert market.ends_in(pipeline) == market.expected
    with pipeline.store.reading(FOREVER) as session:
        state = session.ops.state(H1) or State()
    assert (state.last_processed, state.consecutive_failures) == (market.closes[-1], 0)


def test_a_table_that_somebody_else_holds(postgres: str) -> None:
    """The pass ends with its time, and says why; nobody waits for a lock for ever."""
    market = market_of(4)
    pipeline = market.pipeline(open_store(postgres))
    process(pipeline, H1, now=market.closes[0] + AFTER_CLOSE)
    with psycopg.connect(postgres) as other:
        other.execute("LOCK TABLE h1.events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreLockedError, match="is in use by others"):
            process(pipeline, H1, now=market.closes[1] + AFTER_CLOSE, deadline=Deadline.after(QUICK))
    process(pipeline, H1, now=market.closes[-1] + AFTER_CLOSE)
    assert market.ends_in(pipeline) == market.expected


def test_a_server_that_breaks_off_between_a_message_and_its_mark(fragile: str, fragile_server: Server) -> None:
    """It comes once more, with the same id, and then no more."""

    def break_off(_: object) -> None:
        inbox.meanwhile = lambda _: None
        fragile_server.stop()
        fragile_server.start()

    inbox = Inbox(meanwhile=break_off)
    desk = Desk(inbox, peaks=[("EUR_USD", 12), ("EUR_USD", 14)], store=open_store(fragile))
    desk.begin()
    (sent,) = desk.run(13).sent
    assert sent.status == "unmarked"
    assert [one.status for one in desk.later(minutes=1).deliver()] == ["sent"]
    first, again = inbox.received
    assert first == again
    assert desk.later(minutes=1).deliver() == []
    assert [one.status for one in desk.run(15).sent] == ["sent"]
    assert len(inbox.received) == 3
