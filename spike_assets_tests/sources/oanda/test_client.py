"""How OANDA is asked over HTTP: again where it helps, in plain words where it does not, and the token nowhere."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from spike_assets.deadline import Deadline
from spike_assets.errors import DeadlineError, SourceError, SpikeError, TransientError
from spike_assets.sources.oanda.client import Answer, Client, RefusedError, SenselessError
from spike_assets.sources.simulated import SimulatedSource
from spike_assets_tests.oanda_server import (
    ACCOUNT,
    TOKEN,
    Clock,
    Drip,
    Dropped,
    Fault,
    Garbage,
    OandaServer,
    Outage,
    Skew,
    Slow,
    Status,
    Truncated,
)
from spike_assets_tests.sources.oanda.asking import client_of, within

NOW = datetime(2025, 3, 12, 14, 30, tzinfo=UTC)
PATH = f"/v3/accounts/{ACCOUNT}/summary"

AskFor = Callable[..., Answer]


@pytest.fixture
def server() -> Iterator[OandaServer]:
    with OandaServer(SimulatedSource(), Clock(NOW)) as running:
        yield running


@pytest.fixture
def client(server: OandaServer, tmp_path: Path) -> Iterator[Client]:
    made = client_of(server.url, tmp_path, silence=0.5)
    yield made
    made.close()


def ask(client: Client, path: str = PATH, deadline: Deadline | None = None) -> Answer:
    return client.get(path, {}, lambda answer: answer, deadline or within())


def test_an_answer_has_the_brokers_clock_and_what_to_quote(server: OandaServer, client: Client) -> None:
    answer = ask(client)
    assert answer.sent_at == NOW
    assert answer.request_id.isdigit()
    assert "account" in answer.body
    server.faults.append(Skew(timedelta(minutes=-3)))
    assert ask(client).sent_at == NOW - timedelta(minutes=3)


def test_one_connection_serves_many_questions(server: OandaServer, client: Client) -> None:
    for _ in range(20):
        ask(client)
    assert len(server.requests) == 20
    assert len(server.connections) == 1


# --- what is asked again ----------------------------------------------------------------------------------------------

PASSING: list[Fault] = [
    *[Status(code, times=2) for code in (429, 500, 502, 503, 504)],
    Status(429, retry_after="0", times=2),
    Status(429, retry_after=format_datetime(NOW + timedelta(seconds=0), usegmt=True), times=1),
    Status(429, retry_after="soon", times=1),
    Dropped(times=2),
    Truncated(times=2),
    Garbage(times=2),
    Outage(times=4),
    Drip(0.05, times=1),
    Slow(0.7, times=1),
]


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_what_may_pass_is_asked_again(server: OandaServer, client: Client, fault: Fault) -> None:
    server.faults.append(fault)
    assert "account" in ask(client).body


def test_what_does_not_pass_ends_at_the_deadline(server: OandaServer, tmp_path: Path) -> None:
    client = client_of(server.url, tmp_path, first_wait=0.05)
    server.faults.append(Status(503))
    with pytest.raises(TransientError, match=r"answered 503 \(.*\) to GET /v3/.*no time left to ask again"):
        ask(client, deadline=within(0.4))
    assert 2 <= len(server.requests) <= 9
    client.close()


def test_nobody_is_asked_sooner_than_they_said(server: OandaServer, client: Client) -> None:
    server.faults.append(Status(429, retry_after="7"))
    with pytest.raises(TransientError, match=r"answered 429 \(Too Many Requests\)"):
        ask(client, deadline=within(5))
    assert len(server.requests) == 1
    until = format_datetime(NOW + timedelta(seconds=20), usegmt=True)  # by the broker's clock
    server.faults[:] = [Status(503, retry_after=until)]
    with pytest.raises(TransientError, match="answered 503"):
        ask(client, deadline=within(15))
    assert len(server.requests) == 2


@pytest.mark.parametrize("last", [False, True], ids=["kept", "closed behind it"])
def test_an_answer_that_drips_for_ever_ends_at_the_deadline(server: OandaServer, tmp_path: Path, last: bool) -> None:
    """Each piece comes long before the socket would give up; left alone, the whole answer would come, and no error."""
    client = client_of(server.url, tmp_path, silence=60)
    server.faults.append(Drip(100, last))
    with pytest.raises(TransientError, match=r"it answers too slowly, RequestID \d+"):
        ask(client, f"/v3/accounts/{ACCOUNT}/instruments", within(1))
    client.close()


def test_nobody_asks_while_the_broker_wants_to_be_left_alone(server: OandaServer, client: Client) -> None:
    """Whoever was told so, in whatever thread."""
    server.faults.append(Status(429, retry_after="40", times=1))
    with pytest.raises(TransientError) as told:
        ask(client, deadline=within(5))
    assert told.value.retry_after == 40
    with pytest.raises(TransientError, match="asked not to be asked for") as later:
        ask(client, deadline=within(5))
    assert 30 < later.value.retry_after <= 40
    assert len(server.requests) == 1


def test_an_answer_that_makes_no_sense_is_asked_for_again(server: OandaServer, client: Client) -> None:
    read: list[Answer] = []

    def twice(answer: Answer) -> str:
        read.append(answer)
        if len(read) < 2:
            raise SenselessError("it has no candles")
        return "sense"

    assert client.get(PATH, {}, twice, within()) == "sense"
    assert len(server.requests) == 2
    read.clear()

    def never(_: Answer) -> str:
        raise SenselessError("it has no candles")

    with pytest.raises(TransientError, match=r"makes no sense: it has no candles \(RequestID \d+\)"):
        client.get(PATH, {}, never, within(0.1))


def test_nothing_is_asked_when_the_time_is_up(server: OandaServer, client: Client) -> None:
    with pytest.raises(DeadlineError):
        ask(client, deadline=within(0))
    assert server.requests == []


# --- what is not ------------------------------------------------------------------------------------------------------

REFUSED = [
    (Status(400), 400, "report this"),
    (Status(401), 401, "set OANDA_API_TOKEN"),
    (Status(403), 403, "set OANDA_ACCOUNT_ID"),
    (Status(404), 404, "set OANDA_ACCOUNT_ID"),
    (Status(301), 301, "set OANDA_URL to the host itself"),
]


@pytest.mark.parametrize(("fault", "code", "advice"), REFUSED, ids=[str(code) for _, code, _ in REFUSED])
def test_a_refusal_is_asked_once_and_says_what_to_do(
    server: OandaServer, client: Client, fault: Fault, code: int, advice: str
) -> None:
    server.faults.append(fault)
    with pytest.raises(RefusedError, match=rf"OANDA answered {code} \(.*\) to GET {PATH} \(RequestID \d+\); {advice}"):
        ask(client)
    assert len(server.requests) == 1


def test_a_wrong_token_is_told_and_not_shown(
    server: OandaServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = "5ecret" * 5
    client = client_of(server.url, tmp_path, token=wrong)
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(SourceError, match=r"Insufficient authorization.*OANDA_API_TOKEN") as error,
    ):
        ask(client)
    client.close()
    assert wrong not in str(error.value) + repr(error.value.__cause__) + caplog.text + repr(client)


@pytest.mark.parametrize("fault", [*PASSING, *(fault for fault, _, _ in REFUSED)], ids=str)
def test_the_token_is_in_no_error_and_no_log(
    server: OandaServer, client: Client, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults.append(type(fault)(**{**vars(fault), "times": None}))
    with caplog.at_level(logging.DEBUG):
        try:
            ask(client, deadline=within(0.2))
        except SpikeError as error:
            caplog.handler.stream.write(f"{error} {error.__cause__!r}")
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("account", "says"),
    [("nonsense", "Invalid value specified for 'accountID'"), ("101-001-7654321-001", "forbidden")],
)
def test_a_wrong_account_is_told(client: Client, account: str, says: str) -> None:
    with pytest.raises(RefusedError, match=rf"{says}.*set OANDA_ACCOUNT_ID to an account that the token may see"):
        ask(client, f"/v3/accounts/{account}/summary")


def test_nobody_there(tmp_path: Path) -> None:
    with OandaServer(SimulatedSource(), Clock(NOW)) as gone:
        url = gone.url
    with pytest.raises(TransientError, match=r"nobody listens there; OANDA_URL and OANDA_ENVIRONMENT say who is asked"):
        ask(client_of(url, tmp_path), deadline=within(0.3))


def test_an_unknown_host(tmp_path: Path) -> None:
    client = client_of("https://no-such-host.invalid", tmp_path)
    with pytest.raises(TransientError, match=r"there is no such host, or no network; OANDA_URL and OANDA_ENVIRONMENT"):
        ask(client, deadline=within(0.3))


def test_a_netrc_does_not_take_the_tokens_place(
    server: OandaServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(file))
    ask(client)
    assert [seen.status for seen in server.requests] == [200]


# --- limits -----------------------------------------------------------------------------------------------------------


def test_the_server_never_sees_too_many_connections(server: OandaServer, tmp_path: Path) -> None:
    """Each answer breaks off its connection, so that each question needs a new one."""
    client = client_of(server.url, tmp_path, limited=True)
    server.faults.append(Dropped())
    with pytest.raises(TransientError):
        ask(client, deadline=within(3))
    assert 4 <= len(server.connections) <= 8
    assert server.most_connections_in_a_second() <= 2


def test_the_server_never_sees_too_many_requests(server: OandaServer, tmp_path: Path) -> None:
    client = client_of(server.url, tmp_path, limited=True)
    for _ in range(300):
        ask(client)
    client.close()
    assert server.most_requests_in_a_second() <= 120


def test_connections_through_a_proxy_count_too(
    server: OandaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", "")
    client = client_of("http://broker.invalid", tmp_path, limited=True)
    assert "account" in ask(client).body  # the server stands for the proxy and the broker behind it
    client.close()
    assert len(server.connections) == 1
    assert (tmp_path / "connections.limit").stat().st_size > 0
