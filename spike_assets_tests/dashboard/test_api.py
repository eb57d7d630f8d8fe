"""Every endpoint says what the store holds, in the words of the contract."""

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from spike_assets.core.features import against_slot
from spike_assets.dashboard import events
from spike_assets.dashboard.security import NOT_KEPT
from spike_assets.granularity import H1
from spike_assets.store.tables import FEATURES
from spike_assets_tests.alerts.desk import NAMES, Desk
from spike_assets_tests.dashboard.conftest import Visits
from spike_assets_tests.dashboard.offices import HOME, OWN, TestClient, visitor
from spike_assets_tests.pipeline.markets import hour
from spike_assets_tests.support import FOREVER, plain, stored_candles, tables


@pytest.fixture
def client(visits: Visits) -> TestClient:
    """Give a client for tests that change nothing; what `desk` holds is the same."""
    return visits()


@pytest.fixture
def own(desk: Desk) -> Iterator[TestClient]:
    """Give a client over `desk` itself."""
    with visitor(desk) as found:
        yield found


def get(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def iso(n: float) -> str:
    return hour(n).isoformat().replace("+00:00", "Z")


# --- status -----------------------------------------------------------------------------------------------------------


def test_status(client: TestClient) -> None:
    told = get(client, "/api/status")
    assert (told["source"], told["simulated"], told["may_write"], told["now"]) == (
        "frame",
        False,
        True,
        iso(30 + 1 / 12),
    )
    assert told["market"] == {"open": True, "until": "2025-03-14T21:00:00Z"}
    assert told["instruments"] == [{"name": name, "decimals": 5} for name in NAMES]
    assert told["outbox"] == {"waiting": 0, "dead": 0}
    assert (told["public_url"], told["dagster_url"], told["silences"]) == (None, None, [])
    one = told["granularities"]["H1"]
    assert (one["last_processed"], one["newest_candle"], one["last_candle_closed_at"]) == (iso(30), iso(29), iso(30))
    assert (one["lag_seconds"], told["granularities"]["D"]["lag_seconds"], told["feed_lag_seconds"]) == (0, None, 0)


def test_lag_is_how_long_the_oldest_candle_has_been_due(desk: Desk) -> None:
    desk.at(32)
    with visitor(desk, dagster_url="http://127.0.0.1:3000") as client:
        told = get(client, "/api/status")
    # The candle of hour 30 closed at 31:00, and its tick came at 31:05.
    assert (told["granularities"]["H1"]["lag_seconds"], told["feed_lag_seconds"]) == (3600, 3600)
    assert told["granularities"]["H1"]["due_since"] == iso(31 + 1 / 12)
    assert told["dagster_url"] == "http://127.0.0.1:3000"


def test_a_closed_market_has_no_lag(desk: Desk) -> None:
    desk.at(24 * 5)  # Saturday
    with visitor(desk) as client:
        told = get(client, "/api/status")
    assert told["market"] == {"open": False, "until": "2025-03-16T21:00:00Z"}
    assert told["feed_lag_seconds"] is None


# --- charts -----------------------------------------------------------------------------------------------------------


def test_candles(client: TestClient, desk: Desk) -> None:
    told = get(client, "/api/candles", instrument="EUR_USD", limit=10)
    stored = stored_candles(desk.pipeline, H1)
    mine = stored[stored["instrument"] == "EUR_USD"].tail(10)
    assert [one["time"] for one in told["candles"]] == [iso(n) for n in range(20, 30)]
    for name in ("open", "high", "low", "close", "volume"):
        assert [one[name] for one in told["candles"]] == mine[name].tolist()
    ranges = tables(desk.pipeline, H1)["atr"]
    assert [one["atr"] for one in told["candles"]] == ranges[ranges["instrument"] == "EUR_USD"]["atr"].tail(10).tolist()
    assert {one["suspect"] for one in told["candles"]} == {False}
    assert (told["instrument"], told["granularity"], told["decimals"], told["more"]) == ("EUR_USD", "H1", 5, True)


def test_candles_before_a_time_and_the_first_ones(client: TestClient) -> None:
    told = get(client, "/api/candles", instrument="EUR_USD", before=iso(5), granularity="h1")
    assert [one["time"] for one in told["candles"]] == [iso(n) for n in range(5)]
    assert (told["more"], told["candles"][0]["atr"]) == (False, None)
    assert get(client, "/api/candles", instrument="EUR_USD", limit=30)["more"] is False
    assert get(client, "/api/candles", instrument="EUR_USD", limit=29)["more"] is True


@pytest.mark.parametrize(("instrument", "granularity"), [("EUR_USD", "W"), ("USD_JPY", "H1")])
def test_no_candles(client: TestClient, instrument: str, granularity: str) -> None:
    told = get(client, "/api/candles", instrument=instrument, granularity=granularity)
    assert (told["candles"], told["more"]) == ([], False)
    assert get(client, "/api/levels", instrument=instrument, granularity=granularity, **{"from": iso(0)}) == {
        "levels": []
    }


def test_relative_volume_of_candles_is_that_of_features(desk: Desk) -> None:
    stored = stored_candles(desk.pipeline, H1)
    assert against_slot(stored, stored, H1)[0].shape == (len(stored),)


def test_levels(client: TestClient, desk: Desk) -> None:
    told = get(client, "/api/levels", instrument="EUR_USD", **{"from": iso(21), "to": iso(28)})["levels"]
    # The one of hour 20 is older than the chart, and no candle has closed above it.
    assert [(one["time"], one["broken_at"], one["level"]) for one in told] == [
        (iso(20), None, 1.1),
        (iso(23), None, 1.1),
    ]
    stored = [one for one in plain(tables(desk.pipeline, H1)["events"]) if one["instrument"] == "EUR_USD"]
    assert [one["event_id"] for one in told] == [one["event_id"] for one in stored[:2]]
    assert [one["pattern"] for one in told] == [None, "LH"]
    assert {one["suspect"] for one in told} == {False}


def test_a_level_is_broken_by_the_first_later_close_above_it(desk: Desk) -> None:
    desk.peak("EUR_USD", 31, level=1.1030)  # it closes at 1.1017
    desk.run(32)
    with visitor(desk) as client:
        told = get(client, "/api/levels", instrument="EUR_USD", **{"from": iso(21)})["levels"]
        assert [(one["time"], one["broken_at"]) for one in told] == [
            (iso(23), iso(31)),
            (iso(28), iso(31)),
            (iso(31), None),
        ]
        event_id = told[0]["event_id"]
        assert get(client, f"/api/events/{event_id}")["broken_at"] == iso(31)


# --- events -----------------------------------------------------------------------------------------------------------


def test_events(client: TestClient, desk: Desk) -> None:
    told = get(client, "/api/events")
    assert (told["total"], told["page"], told["pages"]) == (5, 1, 1)
    order = [(one["time"], one["instrument"]) for one in told["events"]]
    assert order == [
        (iso(28), "EUR_GBP"), (iso(28), "EUR_USD"), (iso(28), "GBP_USD"), (iso(23), "EUR_USD"), (iso(20), "EUR_USD"),
    ]  # fmt: skip
    stored = tables(desk.pipeline, H1)
    rows = {
        row["event_id"]: row for row in plain(stored["events"].merge(stored["features"], on=["instrument", "time"]))
    }
    rules = {row["event_id"]: row["rules"].split(",") for row in plain(stored["alerts"]) if row["event_id"]}
    for one in told["events"]:
        row = rows[one["event_id"]]
        for name in ("level", "atr", "rebound_atr", "volume", "relative_volume", "volume_z", "pattern", "pattern_run"):
            assert one[name] == row[name]
        assert (one["distance_atr"], one["suspect"]) == (row["distance_atr"], row["suspect"])
        assert (one["rules"], one["decimals"], one["granularity"]) == (rules[one["event_id"]], 5, "H1")


@pytest.mark.parametrize(
    ("query", "hours"),
    [
        ({"instrument": "EUR_USD"}, [28, 23, 20]),
        ({"instrument": ["EUR_GBP", "GBP_USD"]}, [28, 28]),
        ({"pattern": "LH"}, [28, 23]),
        ({"pattern": "HH"}, []),
        ({"rule": "psychological_level"}, [28, 28, 28, 23, 20]),
        ({"rule": "volume_spike"}, []),
        ({"since": iso(29)}, [28, 28, 28]),
        ({"since": iso(29.001)}, []),
        ({"since": "7h"}, [28, 28, 28, 23]),
        ({"since": "6h"}, [28, 28, 28]),
        ({"suspect": "false", "instrument": "EUR_USD", "pattern": "LH", "rule": "psychological_level"}, [28, 23]),
        ({"suspect": "true"}, []),
        ({"granularity": "D"}, []),
        ({"page": 2}, []),
        ({"sort": "closed_at"}, [20, 23, 28, 28, 28]),
        ({"sort": "-pattern_run"}, [28, 23, 28, 28, 20]),
        ({"sort": "pattern_run", "rule": ""}, [23, 28, 28, 28, 20]),
    ],
)
def test_events_are_filtered_and_sorted(client: TestClient, query: dict[str, Any], hours: list[int]) -> None:
    told = get(client, "/api/events", **query)
    assert [one["time"] for one in told["events"]] == [iso(n) for n in hours]
    assert told["total"] == (5 if query == {"page": 2} else len(hours))
    features = get(client, "/api/features", **query)
    assert [one["time"] for one in features["features"]] == [iso(n) for n in hours]
    assert features["total"] == told["total"]


def test_every_sort_sorts(client: TestClient) -> None:
    for name in ("instrument", "level", "atr", "volume", "rebound_atr", "distance_atr", "relative_volume", "volume_z"):
        for sign, backwards in (("", False), ("-", True)):
            found = [one[name] for one in get(client, "/api/events", sort=sign + name)["events"]]
            there = [value for value in found if value is not None]
            assert there == sorted(there, reverse=backwards)
            assert found == there + [None] * (len(found) - len(there))


def test_events_come_in_pages(own: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = get(own, "/api/events", granularity="H1")["events"]
    monkeypatch.setattr(events, "PAGE", 2)
    pages = [get(own, "/api/events", page=n, suspect="false") for n in (1, 2, 3)]
    assert [len(page["events"]) for page in pages] == [2, 2, 1]
    assert [one for page in pages for one in page["events"]] == whole
    assert {(page["total"], page["pages"]) for page in pages} == {(5, 3)}
    larger = [get(own, "/api/events", page=n, limit=4) for n in (1, 2)]
    assert [one for page in larger for one in page["events"]] == whole
    assert [len(page["events"]) for page in larger] == [4, 1]


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 6])
def test_csv_has_all_of_a_filter(client: TestClient, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(events, "PIECE", piece)
    answer = client.get("/api/events.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="spike-H1-events.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    whole = {one["event_id"]: one for one in get(client, "/api/events")["events"]}
    assert [row["time"] for row in rows] == [iso(n) for n in (20, 23, 28, 28, 28)]
    for row in rows:
        one = whole[row["event_id"]]
        assert float(row["level"]) == one["level"]
        assert row["rules"].split(",") == one["rules"]
        assert row["relative_volume"] == ""
        assert row["suspect"] == "false"


def test_csv_of_a_filter(client: TestClient) -> None:
    answer = client.get("/api/events.csv", params={"instrument": "EUR_USD", "since": iso(24)})
    assert [row["time"] for row in csv.DictReader(io.StringIO(answer.text))] == [iso(23), iso(28)]


def test_one_event_with_everything(client: TestClient, desk: Desk) -> None:
    (first,) = get(client, "/api/events", instrument="EUR_GBP")["events"]
    told = get(client, f"/api/events/{first['event_id'].upper()}")
    assert {name: told[name] for name in first} == first
    (row,) = [row for row in plain(tables(desk.pipeline, H1)["features"]) if row["instrument"] == "EUR_GBP"]
    assert told["features"] == {name: value for name, value in row.items() if name not in FEATURES.key}
    assert told["alert"]["event_id"] == first["event_id"]
    assert told["alert"]["members"] == ["EUR_USD", "GBP_USD"]


def test_an_event_that_is_none(client: TestClient) -> None:
    answer = client.get("/api/events/0c5e0c7e-6f0b-5d0e-8a55-3d5b1b0f4c11")
    assert answer.status_code == 404
    assert answer.json()["error"].startswith("there is no event 0c5e0c7e-")
    answer = client.get("/api/events/x")
    assert (answer.status_code, answer.json()["error"]) == (400, "event_id: 'x' is no id; write it as it is in a list")


# --- alerts -----------------------------------------------------------------------------------------------------------


def test_alerts(client: TestClient, desk: Desk) -> None:
    told = get(client, "/api/alerts")
    assert (told["total"], told["page"], told["pages"], told["unread"]) == (6, 1, 1, 6)
    assert [(one["time"], one["instrument"]) for one in told["alerts"]] == [
        (iso(28), "*"), (iso(28), "EUR_GBP"), (iso(28), "EUR_USD"), (iso(28), "GBP_USD"), (iso(23), "EUR_USD"),
        (iso(20), "EUR_USD"),
    ]  # fmt: skip
    group, single = told["alerts"][:2]
    assert group["text"] == "resistance at once: 3 of 4 instruments, EUR as base"
    assert (group["level"], group["decimals"], group["event_id"]) == (None, None, None)
    assert (group["rules"], group["members"]) == (["simultaneous"], ["EUR_GBP", "EUR_USD", "GBP_USD"])
    assert group["reasons"]["simultaneous"]["of"] == 4
    assert single["text"] == "EUR_GBP 1.10000: stalled right at 1.1000 (super round number)"
    assert (single["level"], single["decimals"]) == (1.1, 5)
    (delivery,) = single["deliveries"]
    assert (delivery["channel"], delivery["status"], delivery["delivery_status"]) == ("desk", "told", "sent")
    assert delivery["sent_at"]
    assert told["alerts"][-1]["deliveries"] == []  # history
    stored = {row["alert_id"] for row in plain(tables(desk.pipeline, H1)["alerts"])}
    assert {one["alert_id"] for one in told["alerts"]} == stored


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"instrument": "GBP_USD"}, ["*", "GBP_USD"]),
        ({"instrument": "EUR_CHF"}, []),
        ({"rule": "simultaneous"}, ["*"]),
        ({"rule": "psychological_level", "since": "2h"}, ["EUR_GBP", "EUR_USD", "GBP_USD"]),
        ({"granularity": "D"}, []),
        ({"state": "acknowledged"}, []),
        ({"state": "unread", "instrument": "GBP_USD"}, ["*", "GBP_USD"]),
        ({"state": "unread", "since": iso(23.5)}, ["*", "EUR_GBP", "EUR_USD", "GBP_USD", "EUR_USD"]),
        ({"granularity": "H1", "since": iso(23.5)}, ["*", "EUR_GBP", "EUR_USD", "GBP_USD", "EUR_USD"]),
        ({"page": 2}, []),
    ],
)
def test_alerts_are_filtered(client: TestClient, query: dict[str, Any], names: list[str]) -> None:
    told = get(client, "/api/alerts", **query)
    assert [one["instrument"] for one in told["alerts"]] == names
    assert told["unread"] == 6


def test_what_is_acknowledged_is_remembered_and_no_longer_unread(desk: Desk) -> None:
    with visitor(desk) as client:
        first = get(client, "/api/alerts")["alerts"][0]["alert_id"]
        assert client.post(f"/api/alerts/{first}/acknowledge", headers=OWN).status_code == 204
        desk.later(minutes=1)
        assert client.post(f"/api/alerts/{first}/acknowledge", headers=OWN).status_code == 204
    with visitor(desk) as client:
        told = get(client, "/api/alerts")
        assert (told["alerts"][0]["acknowledged_at"], told["unread"]) == (iso(30 + 1 / 12), 5)
        assert [one["acknowledged_at"] for one in told["alerts"][1:]] == [None] * 5
        assert get(client, "/api/alerts", state="acknowledged")["alerts"] == told["alerts"][:1]
        assert get(client, "/api/alerts", state="unread")["alerts"] == told["alerts"][1:]
        unread = [one["alert_id"] for one in told["alerts"][1:]]
        body = {"alert_ids": [unread[0], unread[2].upper(), first, "0c5e0c7e-6f0b-5d0e-8a55-3d5b1b0f4c11"]}
        assert client.post("/api/alerts/acknowledge", headers=OWN, json=body).status_code == 204
        left = get(client, "/api/alerts", state="unread")["alerts"]
        assert [one["alert_id"] for one in left] == [unread[1], *unread[3:]]


@pytest.mark.parametrize(
    "body",
    ["", "{}", '{"alert_ids": []}', '{"alert_ids": "x"}', '{"alert_ids": ["x"]}', '{"alert_ids": [1], "all": true}'],
)
def test_what_nobody_has_named_is_not_acknowledged(client: TestClient, body: str) -> None:
    answer = client.post("/api/alerts/acknowledge", headers=OWN, content=body)
    assert (answer.status_code, get(client, "/api/alerts")["unread"]) == (400, 6)


def test_how_many_are_acknowledged_at_once(client: TestClient) -> None:
    ids = [str(UUID(int=n)) for n in range(501)]
    for n, status in ((500, 204), (501, 400)):
        assert client.post("/api/alerts/acknowledge", headers=OWN, json={"alert_ids": ids[:n]}).status_code == status


def test_what_is_old_is_not_unread(desk: Desk) -> None:
    with visitor(desk) as client:
        desk.later(hours=17)
        told = get(client, "/api/alerts", state="unread")
        assert (told["total"], told["unread"], told["unread_hours"]) == (5, 5, 24)
        desk.later(hours=48)
        assert get(client, "/api/alerts")["unread"] == 0


def test_an_alert_that_is_none_cannot_be_acknowledged(client: TestClient) -> None:
    answer = client.post("/api/alerts/0c5e0c7e-6f0b-5d0e-8a55-3d5b1b0f4c11/acknowledge", headers=OWN)
    assert (answer.status_code, answer.json()["error"][:16]) == (404, "there is no aler")


# --- silences ---------------------------------------------------------------------------------------------------------


def test_silences(own: TestClient, desk: Desk) -> None:
    assert own.post("/api/silences", json={"instrument": "eur_usd", "for": "2h"}, headers=OWN).status_code == 204
    assert own.post("/api/silences", json={"instrument": "*", "for": "30m"}, headers=OWN).status_code == 204
    told = get(own, "/api/silences")["silences"]
    assert told == [
        {"instrument": "*", "until": iso(30.5 + 1 / 12)},
        {"instrument": "EUR_USD", "until": iso(32 + 1 / 12)},
    ]
    with desk.pipeline.store.reading(FOREVER) as session:
        assert set(session.outbox.silences(desk.now)) == {"*", "EUR_USD"}
    assert own.delete("/api/silences/*", headers=OWN).status_code == 204
    assert [one["instrument"] for one in get(own, "/api/status")["silences"]] == ["EUR_USD"]
    assert own.delete("/api/silences/EUR_USD", headers=OWN).status_code == 204
    assert get(own, "/api/silences") == {"silences": []}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "send a JSON object"),
        ("[]", "send a JSON object"),
        ("{", "send a JSON object"),
        ("{}", 'send {"instrument": "EUR_USD", "for": "2h"}, with * for everything'),
        ('{"instrument": "EURUSD", "for": "2h"}', "'EURUSD' is not an instrument; write it like EUR_USD"),
        ('{"instrument": "*", "for": "long"}', "'long' is no length of time; write one like 30m"),
        ('{"instrument": "*", "for": "0h"}', "'0h' is no length of time"),
        ('{"instrument": "*", "for": "366d"}', "'366d' is no length of time"),
    ],
)
def test_a_silence_that_makes_no_sense(client: TestClient, body: str, says: str) -> None:
    answer = client.post("/api/silences", content=body, headers=OWN)
    assert (answer.status_code, answer.json()["error"][: len(says)]) == (400, says)


def test_a_body_that_is_too_long_is_not_read(client: TestClient) -> None:
    answer = client.post("/api/silences", content=b" " * 5000, headers=OWN)
    assert (answer.status_code, answer.json()) == (413, {"error": "send 4096 bytes at most"})


# --- operations -------------------------------------------------------------------------------------------------------


def test_passes(client: TestClient) -> None:
    told = get(client, "/api/passes")["passes"]
    assert [(one["trigger"], one["window_end"]) for one in told[:4]] == [("cli", iso(n)) for n in (30, 29, 28, 27)]
    assert {(one["trigger"], one["window_end"]) for one in told[4:]} == {("cli", iso(26)), ("backfill", iso(26))}
    newest = told[1]
    assert (newest["granularity"], newest["status"], newest["candles"], newest["events"]) == ("H1", "success", 4, 3)
    assert set(newest["stages"]) == {"candles", "atr", "events", "features", "alerts"}
    assert (newest["error"], newest["quarantined"]) == (None, 0)
    assert get(client, "/api/passes", limit=2)["passes"] == told[:2]
    assert get(client, "/api/passes", limit=2, page=2)["passes"] == told[2:4]
    assert get(client, "/api/passes", granularity="D")["passes"] == []


def test_a_pass_that_dagster_launched_leads_to_its_run(desk: Desk) -> None:
    desk.run(31, trigger="schedule")
    desk.run(32)
    with visitor(desk, dagster_url="http://127.0.0.1:3000") as client:
        by_hand, scheduled, *_ = get(client, "/api/passes")["passes"]
        assert by_hand["run_url"] is None
        assert scheduled["run_url"] == f"http://127.0.0.1:3000/runs/{scheduled['pass_id']}"


def test_operations(desk: Desk) -> None:
    desk.omit("EUR_CHF", 30)
    desk.run(31)
    with visitor(desk) as client:
        told = get(client, "/api/operations")
    rows = {(one["granularity"], one["table"]): one["rows"] for one in told["tables"]}
    assert rows["H1", "candles"] == 31 * 4 - 1
    assert (rows["H1", "events"], rows["H1", "alerts"], rows["W", "candles"]) == (5, 6, 0)
    assert told["late"] == [{"granularity": "H1", "instrument": "EUR_CHF"}]
    assert (told["quarantine"], told["unavailable"], told["incidents"]) == ([], [], [])
    assert (told["outbox"]["waiting"], told["outbox"]["dead"]) == (0, 0)
    (channel,) = told["outbox"]["by_channel"]
    assert (channel["channel"], channel["waiting"], channel["dead"]) == ("desk", 0, 0)
    assert channel["last_sent_at"]
    assert told["database"]["path"] == desk.pipeline.store.url
    assert told["database"]["megabytes"] > 0


# --- what makes no sense ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/api/status?x=1", "there is no parameter 'x'; there is none"),
        ("/api/events?instruments=EUR_USD", "there is no parameter 'instruments'; there is granularity, instrument,"),
        ("/api/events?granularity=H2", "granularity: 'H2' is none of H1, H4, D, W"),
        ("/api/events?granularity=H1&granularity=D", "granularity is given 2 times; give it once"),
        ("/api/events?instrument=EURUSD", "instrument: 'EURUSD' is not an instrument; write it like EUR_USD"),
        ("/api/events?pattern=hh", "pattern: 'hh' is none of HH, LH"),
        ("/api/events?rule=simultaneous", "rule: 'simultaneous' is none of psychological_level, volume_spike,"),
        ("/api/events?since=soon", "since: 'soon' is no time; write a date or an ISO time, like 2025-03-10T05:00Z"),
        ("/api/events?since=1900-01-01", "since: '1900-01-01' lies outside 1971 to 2200"),
        ("/api/events?since=9999d", "since: '9999d' is no length of time"),
        ("/api/events?suspect=yes", "suspect: 'yes' is none of true, false"),
        ("/api/events?sort=price", "sort: 'price' is none of -closed_at, closed_at"),
        ("/api/events?limit=1001", "limit: '1001' is no whole number from 1 to 1000"),
        ("/api/events?page=0", "page: '0' is no whole number from 1 to 1000000"),
        ("/api/events?page=1e3", "page: '1e3' is no whole number"),
        ("/api/events?page=%C2%B2", "page: '²' is no whole number"),
        ("/api/events.csv?page=2", "there is no parameter 'page'"),
        ("/api/candles", "instrument is missing: an instrument, like EUR_USD"),
        ("/api/candles?instrument=EUR_USD&limit=2001", "limit: '2001' is no whole number from 1 to 2000"),
        ("/api/candles?instrument=EUR_USD&instrument=USD_JPY", "instrument is given 2 times; give it once"),
        ("/api/candles?instrument=EUR_USD&before=2025-13-01", "before: '2025-13-01' is no time"),
        ("/api/levels?instrument=EUR_USD", "from is missing: events whose candle opens at or after this time"),
        ("/api/alerts?state=read", "state: 'read' is none of unread, acknowledged"),
        ("/api/alerts?rule=x", "rule: 'x' is none of psychological_level, volume_spike, pattern_completion, simultane"),
        ("/api/passes?limit=x", "limit: 'x' is no whole number from 1 to 1000"),
    ],
)
def test_what_is_asked_wrongly_is_told_how_to_ask(client: TestClient, path: str, says: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error"][: len(says)]) == (400, says)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/api/x", 404)])
def test_what_is_not_there(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    said = "there is nothing here; /api/docs says what there is"
    assert (answer.status_code, answer.json()) == (status, {"error": said})


def test_what_cannot_be_done(client: TestClient) -> None:
    answer = client.post("/api/events", headers=OWN)
    assert (answer.status_code, answer.json()) == (405, {"error": "this cannot be done here"})


def test_what_goes_by_the_time_of_day_pushes_nothing_out(own: TestClient, desk: Desk) -> None:
    reader = own.app.state.reader  # type: ignore[attr-defined]
    reader._most_bytes = len(own.get("/api/events").content) + 100
    for path in ("/api/status", "/api/silences"):
        desk.later(minutes=1)
        get(own, path)
    reads = reader.reads
    get(own, "/api/events")
    assert reader.reads == reads


def test_a_fault_is_answered_like_all_else(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("spike_assets.dashboard.operations.operations", broken)
    answer = TestClient(client.app, base_url=HOME, raise_server_exceptions=False).get("/api/operations")
    assert (answer.status_code, list(answer.json())) == (500, ["error"])
    assert {name: answer.headers[name] for name in NOT_KEPT} == dict(NOT_KEPT)


def test_times_may_have_offsets(client: TestClient) -> None:
    later = (hour(24) - timedelta(hours=4)).strftime("%Y-%m-%dT%H:%M-04:00")
    for since in (iso(24), later, later.replace("-04", "−04").replace("−04", "-04")):
        assert get(client, "/api/events", instrument="EUR_USD", since=since)["total"] == 2
    plus = (hour(24) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M+01:00")
    assert client.get(f"/api/events?instrument=EUR_USD&since={plus}").json()["total"] == 2
