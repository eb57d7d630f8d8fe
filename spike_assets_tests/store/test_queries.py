"""Queries give what a look at every row gives: filters, sorts, pages and pieces, against plain Python."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from spike_assets.granularity import H1
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.backfill import backfill
from spike_assets.sources.simulated import SimulatedSource
from spike_assets.store import open_store
from spike_assets.store.queries import EVENT_SORTS, AlertFilter, EventFilter, Key
from spike_assets.store.store import Session
from spike_assets_tests.pipeline.markets import memory
from spike_assets_tests.support import FOREVER, make_pipeline, plain, tables

NAMES = ("EUR_USD", "GBP_USD", "USD_JPY", "USD_ZAR")
START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)
MIDDLE = datetime(2025, 2, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def stored(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "duckdb":
        yield loaded(memory(SimulatedSource(), NAMES, clock=lambda: END))
        return
    with request.getfixturevalue("server").database() as url:
        yield loaded(make_pipeline(SimulatedSource(), open_store(url), NAMES, clock=lambda: END))


def loaded(pipeline: Pipeline) -> Any:
    backfill(pipeline, H1, Window(START, END))
    rows = tables(pipeline, H1)
    alerts = {(one["instrument"], one["time"]): one["rules"] for one in plain(rows["alerts"])}
    events = plain(rows["events"].merge(rows["features"], on=["instrument", "time"]))
    for one in events:
        one["rules"] = alerts.get((one["instrument"], one["time"]))
    found = plain(rows["alerts"])
    with pipeline.store.writing(FOREVER, "a test") as session:
        session.queries.acknowledge([one["alert_id"] for one in found[::3]], MIDDLE)
    return pipeline, events, found


@pytest.fixture
def session(stored: Any) -> Any:
    with stored[0].store.reading(FOREVER) as found:
        yield found


def fits(asked: EventFilter) -> Callable[[dict[str, Any]], bool]:
    return lambda one: (
        (not asked.instruments or one["instrument"] in asked.instruments)
        and asked.pattern in (None, one["pattern"])
        and (asked.rule is None or asked.rule in (one["rules"] or "").split(","))
        and (asked.opened_since is None or one["time"] >= asked.opened_since)
        and asked.suspect in (None, one["suspect"])
    )


FILTERS = [
    EventFilter(H1, names, pattern, rule, since, suspect)
    for names, pattern, rule, since, suspect in product(
        ((), ("GBP_USD", "USD_ZAR")),
        (None, "LH"),
        (None, "volume_spike", "pattern_completion"),
        (None, MIDDLE),
        (None, False),
    )
]


def test_there_is_something_to_look_at(stored: Any) -> None:
    _, events, alerts = stored
    assert len(events) > 500
    assert {rule for one in alerts for rule in one["rules"].split(",")} >= {"volume_spike", "pattern_completion"}


@pytest.mark.parametrize("asked", FILTERS, ids=str)
def test_filters(session: Session, stored: Any, asked: EventFilter) -> None:
    wanted = sorted(filter(fits(asked), stored[1]), key=lambda one: (one["time"], one["instrument"]))
    assert session.queries.count_events(asked) == len(wanted)
    keys: list[Key] = []
    while piece := session.queries.event_keys_behind(asked, keys[-1] if keys else None, 97):
        keys += piece
    assert keys == [(one["instrument"], one["time"]) for one in wanted]
    rows = plain(session.queries.events(H1, keys[:200]))
    assert rows == [{name: one[name] for name in rows[0]} for one in wanted[:200]]


@pytest.mark.parametrize("name", EVENT_SORTS)
@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("asked", [FILTERS[0], FILTERS[-1]], ids=["all", "some"])
def test_sorts(session: Session, stored: Any, name: str, sign: str, asked: EventFilter) -> None:
    column = "time" if name == "closed_at" else name
    wanted = sorted(filter(fits(asked), stored[1]), key=lambda one: one["instrument"])
    wanted.sort(key=lambda one: one["time"], reverse=True)
    there = [one for one in wanted if one[column] is not None]
    there.sort(key=lambda one: one[column], reverse=bool(sign))
    ordered = there + [one for one in wanted if one[column] is None]
    pages = [session.queries.event_keys(asked, sign + name, 50, 50 * n) for n in range(3)]
    assert [key for page in pages for key in page] == [(one["instrument"], one["time"]) for one in ordered[:150]]


def test_an_event_is_found_by_its_id(session: Session, stored: Any) -> None:
    for one in stored[1][::100]:
        assert session.queries.event(one["event_id"]) == (H1, (one["instrument"], one["time"]))
    assert session.queries.event("0c5e0c7e-6f0b-5d0e-8a55-3d5b1b0f4c11") is None


def test_alerts_are_filtered_and_paged(session: Session, stored: Any) -> None:
    seen = {one["alert_id"] for one in stored[2][::3]}
    for names, rule, since, known in product(
        ((), ("USD_ZAR",)), (None, "simultaneous", "volume_spike"), (None, MIDDLE), (None, True, False)
    ):
        asked = AlertFilter((), names, rule, since, known)
        wanted = [
            one
            for one in stored[2]
            if (not names or {one["instrument"], *(one["members"] or "").split(",")} & set(names))
            and (not names or one["instrument"] in (*names, "*"))
            and (rule is None or rule in one["rules"].split(","))
            and (since is None or one["closed_at"] >= since)
            and known in (None, one["alert_id"] in seen)
        ]
        wanted.sort(key=lambda one: one["instrument"])
        wanted.sort(key=lambda one: one["time"], reverse=True)
        assert session.queries.count_alerts(asked) == len(wanted)
        places = session.queries.alert_places(asked, 30, 10)
        assert [key for _, key in places] == [(one["instrument"], one["time"]) for one in wanted[10:40]]
        assert plain(session.queries.alerts(H1, [key for _, key in places])) == wanted[10:40]
        assert sorted(session.queries.alert_ids(asked)) == sorted(one["alert_id"] for one in wanted)


def test_nothing_is_asked_for(session: Session) -> None:
    assert session.queries.events(H1, []).empty
    assert session.queries.features(H1, []).empty
    assert session.queries.alerts(H1, []).empty
    assert session.queries.told([]).empty
    assert session.queries.acknowledged([]) == {}
