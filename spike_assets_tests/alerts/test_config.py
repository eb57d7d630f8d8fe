"""Which channels there are: by settings, by file, and every way to get it wrong."""

import base64
import os
from datetime import time
from pathlib import Path

import pytest

import spike_assets
from spike_assets.alerts.channels.apprise_url import AppriseChannel
from spike_assets.alerts.channels.base import Channel
from spike_assets.alerts.channels.log import LogChannel
from spike_assets.alerts.channels.webhook import WebhookChannel
from spike_assets.alerts.config import open_channels
from spike_assets.alerts.wants import Wants
from spike_assets.errors import SettingsError
from spike_assets.settings import load_settings

pytestmark = pytest.mark.filterwarnings(
    # Apprise imports it to mend another library of its own, which is not installed here.
    "ignore:'imghdr' is deprecated:DeprecationWarning"
)

TOKEN = "t0kenOfTheService"  # noqa: S105 - opens nothing
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
EXAMPLE = Path(spike_assets.__file__).parent.parent / "docs" / "alerts.yaml"


@pytest.fixture(autouse=True)
def _clean_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("SPIKE_", "OANDA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def opened() -> dict[str, Channel]:
    channels = open_channels(load_settings())
    named = {channel.name: channel for channel in channels}
    assert len(named) == len(channels)
    return named


def refused() -> str:
    with pytest.raises(SettingsError) as error:
        opened()
    said = str(error.value)
    assert "\n" not in said
    assert TOKEN not in said
    assert SECRET.removeprefix("whsec_") not in said
    return said


def declare(text: str) -> None:
    Path("alerts.yaml").write_text(text, encoding="utf-8")


def channel(lines: str) -> None:
    declare("channels:\n  phone:\n" + "".join(f"    {line}\n" for line in lines.splitlines()))


# --- by settings ------------------------------------------------------------------------------------------------------


def test_there_is_always_the_log() -> None:
    (only,) = opened().values()
    assert isinstance(only, LogChannel)
    assert (only.name, only.wants) == ("log", Wants())


def test_urls_are_named_by_their_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_ALERT_URLS", f"ntfy://{TOKEN} json://host/a, ntfy://other ntfys://host/x")
    channels = opened()
    assert list(channels) == ["log", "ntfy", "json", "ntfy-2", "ntfys"]
    assert all(isinstance(one, AppriseChannel) for name, one in channels.items() if name != "log")


def test_a_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_WEBHOOK_URL", f"https://hook.example/{TOKEN}")
    monkeypatch.setenv("SPIKE_WEBHOOK_SECRET", SECRET)
    channels = opened()
    assert list(channels) == ["log", "webhook"]
    assert isinstance(channels["webhook"], WebhookChannel)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"ALERT_URLS": "ntfy"}, "SPIKE_ALERT_URLS: write Apprise URLs"),
        ({"ALERT_URLS": f"slack://{TOKEN}"}, "SPIKE_ALERT_URLS: channel slack: Apprise cannot use this slack:// URL"),
        ({"WEBHOOK_URL": f"https://hook.example/{TOKEN}"}, "SPIKE_WEBHOOK_SECRET: SPIKE_WEBHOOK_URL needs it"),
        ({"WEBHOOK_URL": "https://127.0.0.1/", "WEBHOOK_SECRET": SECRET}, "SPIKE_WEBHOOK_URL, SPIKE_WEBHOOK_SECRET: "),
        ({"WEBHOOK_URL": "https://hook.example/", "WEBHOOK_SECRET": TOKEN}, "begin with whsec_"),
        ({"ALERTS_FILE": "missing.yaml"}, "missing.yaml cannot be read (No such file or directory)"),
        ({"ALERTS_FILE": "."}, ". cannot be read (Is a directory)"),
    ],
)
def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], says: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"SPIKE_{name}", value)
    assert says in refused()


def test_a_private_webhook_is_one_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_WEBHOOK_URL", "http://127.0.0.1:1/")
    monkeypatch.setenv("SPIKE_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("SPIKE_WEBHOOK_ALLOW_PRIVATE", "yes")
    assert "webhook" in opened()


# --- by file ----------------------------------------------------------------------------------------------------------


def test_the_example_of_the_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NTFY_TOPIC": "fx", "DESK_TOKEN": TOKEN, "DESK_SECRET": SECRET}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SPIKE_ALERTS_FILE", str(EXAMPLE))
    channels = opened()
    assert [(name, type(one)) for name, one in channels.items()] == [
        ("log", LogChannel),
        ("phone", AppriseChannel),
        ("desk", WebhookChannel),
    ]
    wants = channels["phone"].wants
    assert wants.rules == {"psychological_level", "simultaneous", "operational"}
    assert (wants.minimum_tier, wants.instruments) == ("major", frozenset({"EUR_USD", "USD_JPY"}))
    assert wants.granularities == frozenset({"H4", "D", "W"})
    assert wants.quiet is not None
    assert (wants.quiet.start, wants.quiet.end, wants.quiet.zone.key) == (time(22), time(7), "Europe/Berlin")


def test_the_example_shows_every_option() -> None:
    from spike_assets.alerts.declared import DeclaredChannel

    text = EXAMPLE.read_text(encoding="utf-8")
    assert [name for name in DeclaredChannel.model_fields if f" {name}: " not in text] == []


def test_a_file_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKE_ALERT_URLS", "ntfy://a")
    channel("kind: log")
    assert list(opened()) == ["phone"]
    declare("channels: {}")
    assert opened() == {}


def test_a_file_of_another_name_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    channel("kind: log")
    Path("other.yaml").write_text("channels: {desk: {kind: log}}", encoding="utf-8")
    monkeypatch.setenv("SPIKE_ALERTS_FILE", "other.yaml")
    assert list(opened()) == ["desk"]


def test_variables_are_of_the_environment_else_of_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    channel(f"kind: webhook\nurl: https://${{HOST}}/${{PATH_OF_IT}}\nsecret: {SECRET}")
    Path(".env").write_text('HOST=dotenv.example\nexport PATH_OF_IT="hook"\n', encoding="utf-8")
    first = opened()["phone"]
    assert isinstance(first, WebhookChannel)
    assert first.url == "https://dotenv.example/hook"
    monkeypatch.setenv("HOST", "environment.example")
    second = opened()["phone"]
    assert isinstance(second, WebhookChannel)
    assert second.url == "https://environment.example/hook"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("kind: pager", "channels.phone.kind: write one of log, apprise, webhook"),
        ("url: ntfy://a", "channels.phone.kind: it is missing"),
        ("kind: apprise", "channels.phone: kind apprise needs url"),
        ("kind: log\nurl: ntfy://a", "channels.phone: kind log has no url; remove it"),
        ("kind: apprise\nurl: ntfy://a\nsecret: x", "channels.phone: kind apprise has no secret; remove it"),
        ("kind: webhook\nurl: https://h.example", "channels.phone: kind webhook needs secret"),
        (f"kind: log\ntoken: {TOKEN}", "channels.phone.token: there is no such setting"),
        ("kind: log\nrule: [operational]", "channels.phone.rule: there is no such setting (did you mean rules?)"),
        ("kind: log\nrules: [volume_spikes]", "'volume_spikes' is not one of psychological_level, volume_spike,"),
        ("kind: log\nrules: [volume_spikes]", "(did you mean volume_spike?)"),
        ("kind: log\nrules: []", "channels.phone.rules: name at least one, or leave it out for all"),
        ("kind: log\nrules: operational", "channels.phone.rules: write a list, like [a, b]"),
        ("kind: log\nminimum_tier: huge", "channels.phone.minimum_tier: 'huge' is not one of minor, major, super"),
        ("kind: log\ninstruments: [EURUSD]", "'EURUSD' is not an instrument; write it like EUR_USD"),
        ("kind: log\ninstruments: [1]", "'1' is not an instrument"),
        ("kind: log\ngranularities: [H2]", "'H2' is not one of H1, H4, D, W"),
        ("kind: log\nallow_private: true", "kind log has no allow_private"),
        (
            'kind: log\nquiet_hours: {from: "22:00", to: "07:00", timezone: Europe/Berln}',
            "alerts.yaml: channels.phone.quiet_hours.timezone: 'Europe/Berln' is no IANA timezone (did you mean Europe",
        ),
        (
            'kind: log\nquiet_hours: {from: "7:00", to: "25:00", timezone: UTC}',
            "'7:00' is no time of day; write it like \"22:00\"; alerts.yaml: channels.phone.quiet_hours.to: '25:00' is",
        ),
        ('kind: log\nquiet_hours: {from: "22:00", to: "22:00", timezone: UTC}', "from and to are the same"),
        ('kind: log\nquiet_hours: {from: "22:00", timezone: UTC}', "quiet_hours.to: it is missing"),
        ('kind: log\nquiet_hours: {till: "22:00"}', "quiet_hours.till: there is no such setting"),
        ("kind: log\nquiet_hours: at night", "channels.phone.quiet_hours: "),
        ("kind: log\nkind: log", "alerts.yaml, line 4: it is no YAML (kind is there twice)"),
        ("kind: apprise\nurl: ntfy://${NOWHERE}", "channels.phone.url: NOWHERE is not set; set it in the environment"),
        ("kind: apprise\nurl: ntfy://${NO WHERE}", "channels.phone.url: write ${NAME}"),
        ("kind: apprise\nurl: ntfy://${NOWHERE", "channels.phone.url: write ${NAME}"),
        (f"kind: apprise\nurl: slack://{TOKEN}", "alerts.yaml: channels.phone: channel phone: Apprise cannot use"),
        (f"kind: apprise\nurl: [{TOKEN}]", "channels.phone.url: "),
        (f"kind: webhook\nurl: https://h.example\nsecret: {TOKEN}", "channels.phone: channel phone: its secret cannot"),
        (f"kind: webhook\nurl: https://10.0.0.1/{TOKEN}\nsecret: {SECRET}", "it is no public address; set allow_priv"),
    ],
)
def test_what_is_wrong_in_a_channel_is_said_with_its_place(lines: str, says: str) -> None:
    channel(lines)
    assert says in refused()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "alerts.yaml: it has to say `channels:`"),
        ("- a", "alerts.yaml: it has to say `channels:`"),
        ("channels: [log]", "alerts.yaml: it has to say `channels:`"),
        ("channels:\n", "alerts.yaml: it has to say `channels:`"),
        ("channels: {}\nchanels: {}", "chanels: the file says `channels:` and nothing else (did you mean channels?)"),
        ("channels: {Phone: {kind: log}}", "channels.Phone: name it with lower-case letters, digits and hyphens"),
        ("channels: {on: {kind: log}}", "in quotation marks: YAML takes this for something else"),
        ("channels: {a_b: {kind: log}}", "channels.a_b: name it"),
        ("channels: {phone: log}", "channels.phone: say at least its `kind:`"),
        ("channels: {phone: }", "channels.phone: say at least its `kind:`"),
        ("channels:\n  a: {kind: log}\n  a: {kind: log}", "alerts.yaml, line 3: it is no YAML (a is there twice)"),
        ("channels:\n  a: {kind: log\n  b: {", "alerts.yaml, line 3: it is no YAML ("),
        ("channels:\n\ta: 1", "alerts.yaml, line 2: it is no YAML ("),
        ("channels: !!python/object:os.system {}", "alerts.yaml, line 1: it is no YAML ("),
        ("channels: {}\n---\nchannels: {}", "it is no YAML ("),
        ("channels: &a [*a]", "it has to say `channels:`"),
        (f"channels: \x01{TOKEN}", "alerts.yaml: it is no YAML ("),
        ("channels: {a: {kind: 2026-13-45}}", "it is no YAML (ValueError)"),
    ],
)
def test_what_is_wrong_in_the_file(text: str, says: str) -> None:
    declare(text)
    assert says in refused()


def test_a_file_that_is_no_text() -> None:
    Path("alerts.yaml").write_bytes(b"channels: \xff\xfe")
    assert refused() == "alerts.yaml cannot be read (it is not UTF-8 text); save it as such"


def test_all_that_is_wrong_is_said_at_once() -> None:
    declare("channels:\n  a: {kind: pager}\n  b: {kind: log, rules: []}\n")
    said = refused()
    assert "alerts.yaml: channels.a.kind: " in said
    assert "; alerts.yaml: channels.b.rules: " in said


def test_hours_need_no_quotation_marks() -> None:
    # To YAML 1.1, 22:00 is 1320 and 07:00 a string.
    channel("kind: log\nquiet_hours: {from: 22:00, to: 07:00, timezone: UTC}")
    quiet = opened()["phone"].wants.quiet
    assert quiet is not None
    assert (quiet.start, quiet.end) == (time(22), time(7))


def test_a_part_can_be_written_once_and_used_twice() -> None:
    declare(
        "channels:\n"
        "  one: &one {kind: log, rules: [operational], minimum_tier: major}\n"
        "  two: {<<: *one, minimum_tier: super}\n"
    )
    channels = opened()
    assert (channels["one"].wants.minimum_tier, channels["two"].wants.minimum_tier) == ("major", "super")
    assert channels["two"].wants.rules == {"operational"}
