"""Messages read well, fit where they must, and come back from JSON as they were."""

import re
from datetime import datetime, timedelta

import pytest
from apprise import NotifyFormat
from apprise.conversion import markdown_to_html
from apprise.plugins.slack import NotifySlack
from apprise.plugins.telegram import NotifyTelegram
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pydantic import ValidationError

from spike_assets.alerts.digest import Digest, Entry, PsychologicalLevel, Reasons
from spike_assets.alerts.render import as_json, from_json, markdown, text, title
from spike_assets_tests.alerts.drawn import digests
from spike_assets_tests.alerts.examples import (
    CHF_JPY,
    CLOSED,
    CORRECTION,
    EUR_USD,
    GBP_USD,
    GOLDEN,
    GROUP,
    OPERATIONAL,
    PLAIN,
    RECOVERY,
    SIMULATED,
    SUMMARY,
    SUPPLEMENT,
    TEST,
)
from spike_assets_tests.alerts.make_golden import FOLDER, files
from spike_assets_tests.strategies import examples

LIMITS = st.integers(160, 600) | st.integers(160, 5000)


@pytest.mark.parametrize("name", GOLDEN)
def test_messages_are_as_they_were_when_a_person_read_them(name: str) -> None:
    for path, content in files(name, *GOLDEN[name]).items():
        assert content.decode() == path.read_text(encoding="utf-8"), path.name


def test_no_golden_file_is_without_its_example() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(GOLDEN)


@pytest.mark.parametrize(
    ("digest", "expected"),
    [
        (PLAIN, "H1 closed 15:00 UTC: 3 resistances (GBP_USD, EUR_USD, CHF_JPY)"),
        (
            PLAIN.model_copy(update={"entries": (GBP_USD, EUR_USD, CHF_JPY, EUR_USD, EUR_USD)}),
            "H1 closed 15:00 UTC: 5 resistances (GBP_USD, EUR_USD, CHF_JPY and 2 more)",
        ),
        (
            PLAIN.model_copy(update={"entries": (GBP_USD,)}),
            "H1 closed 15:00 UTC: GBP_USD 1.29997 stalled at 1.3000",
        ),
        (PLAIN.model_copy(update={"entries": ()}), "H1 closed 15:00 UTC: no resistances"),
        (
            TEST.model_copy(update={"entries": (), "granularity": None}),
            "[test] spike reaches this channel",
        ),
        (GROUP, "H1 closed 15:00 UTC: 14 of 26 instruments, USD as base; notably EUR_USD, CHF_JPY"),
        (GROUP.model_copy(update={"entries": ()}), "H1 closed 15:00 UTC: 14 of 26 instruments, USD as base"),
        (SUPPLEMENT, "supplement: H1 closed 15:00 UTC: 2 resistances (GBP_USD, CHF_JPY)"),
        (CORRECTION, "correction: H1 closed 2026-11-20 15:00 UTC: EUR_USD 1.16508 taken back"),
        (
            CORRECTION.model_copy(update={"created_at": CLOSED, "entries": (*CORRECTION.entries, GBP_USD)}),
            "correction: H1 closed 15:00 UTC: 2 resistances, 1 taken back (EUR_USD, GBP_USD)",
        ),
        (SUMMARY, "spike was away: 340 H1 alerts"),
        (TEST, "[test] H1 closed 15:00 UTC: EUR_USD 1.16508 swept 1.1650"),
        (SIMULATED, "[simulated] D closed 2026-11-20: CHF_JPY 181.734, volume 2.5 × usual"),
    ],
)
def test_a_title_says_which_candle_closed_and_what_happened(digest: Digest, expected: str) -> None:
    assert title(digest) == expected


def test_a_title_of_a_notice_is_cut_between_words() -> None:
    assert title(noticed("word " * 50)) == f"spike problem: {'word ' * 19}…"
    assert title(RECOVERY).startswith("spike cleared: OANDA refuses the token (401).")


def test_a_candle_that_closed_long_ago_gets_its_date() -> None:
    for hours, clock in ((12, "15:00"), (13, "2026-11-20 15:00")):
        late = PLAIN.model_copy(update={"created_at": CLOSED + timedelta(hours=hours)})
        assert title(late).startswith(f"H1 closed {clock} UTC: ")


def at_number(pips: str, position: str | None) -> Entry:
    level = PsychologicalLevel.model_validate(
        {"tier": "major", "number": "1.1700", "pips": pips, "position": position, "chance": 0.1}
    )
    return EUR_USD.model_copy(update={"reasons": Reasons(psychological_level=level)})


@pytest.mark.parametrize(
    ("pips", "position", "expected"),
    [
        ("2.1", "swept", "swept 1.1700 (major round number), 2.1 pips above"),
        ("-0.3", "stalled", "stalled 0.3 pips below 1.1700 (major round number)"),
        ("0.0", "stalled", "stalled right at 1.1700 (major round number)"),
        ("-0.0", "stalled", "stalled right at 1.1700 (major round number)"),
        ("0.4", None, "0.4 pips above 1.1700 (major round number), not closed back below"),
    ],
)
def test_a_round_number_is_put_in_words(pips: str, position: str | None, expected: str) -> None:
    lines = text(PLAIN.model_copy(update={"entries": (at_number(pips, position),)})).splitlines()
    assert lines[lines.index("EUR_USD 1.16508") + 1] == expected


def test_a_group_is_named_once() -> None:
    assert "together with" not in text(GROUP)
    alone = text(GROUP.model_copy(update={"group": None}))
    assert alone.count("together with AUD_JPY, ") == 2


def test_a_correction_names_the_message_that_it_takes_back() -> None:
    assert "Corrects message 5f0c1d2e" in text(CORRECTION)
    assert "Corrects an earlier message" in text(CORRECTION.model_copy(update={"follows": None}))


@pytest.mark.parametrize("name", GOLDEN)
def test_the_last_line_carries_the_reference(name: str) -> None:
    digest, limit = GOLDEN[name]
    for body in (text(digest, limit), markdown(digest, limit)):
        assert body.splitlines()[-1].startswith(f"ref {digest.digest_id[:8]}")


@examples(40)
@given(digests(), LIMITS)
def test_no_message_is_longer_than_its_limit(digest: Digest, limit: int) -> None:
    for render in (text, markdown):
        body = render(digest, limit)
        assert len(body) <= limit
        assert f"ref {digest.digest_id[:8]}" in body.splitlines()[-1]


@examples(20)
@given(digests())
def test_nothing_is_left_out_of_what_fits(digest: Digest) -> None:
    for render in (text, markdown):
        whole = render(digest)
        assert "\n… " not in whole
        assert render(digest, max(160, len(whole))) == whole


@examples(20)
@given(digests(), st.integers(160, 3000))
def test_what_is_left_out_is_counted(digest: Digest, limit: int) -> None:
    digest = digest.model_copy(update={"notice": None})
    body = text(digest, limit)
    shown = sum(body.count(f"{entry.instrument} {entry.level}") > 0 for entry in digest.entries)
    found = re.search(r"^… and (\d+) more$", body, re.MULTILINE)
    assert shown + (int(found[1]) if found else 0) == len(digest.entries)


def test_entries_go_from_the_end_then_details_then_the_link() -> None:
    whole = text(PLAIN)
    assert "GBP_USD" in (two := text(PLAIN, len(whole) - 1))
    assert "… and 1 more\nref 5f0c1d2e · dashboard:" in two
    assert "ATR 12.3 pips" in two
    one = text(PLAIN, 300)
    assert "stalled 0.3 pips" in one
    assert "ATR 18.1 pips" not in one
    least = text(PLAIN.model_copy(update={"link": "https://spike.example.com/" + "x" * 200}), 160)
    names = ["GBP_USD 1.29997", "", "EUR_USD 1.16508", "", "CHF_JPY 181.734", ""]
    assert least.splitlines()[2:] == [*names, "… shortened", "ref 5f0c1d2e"]


def noticed(words: str) -> Digest:
    """Give an operational digest that says this."""
    assert OPERATIONAL.notice
    return OPERATIONAL.model_copy(update={"notice": OPERATIONAL.notice.model_copy(update={"text": words})})


def test_of_a_notice_as_many_words_are_kept_as_fit() -> None:
    assert text(noticed("twenty words are few " * 20), 160).splitlines() == [
        "Since 2026-11-20 14:05 UTC: twenty words are few twenty words are few twenty words are few …",
        "",
        "… shortened",
        "ref aadd34e5 · dashboard: https://spike.example.com",
    ]
    assert len(text(noticed("x" * 500), 160)) == 160
    assert text(noticed("")).startswith("Since 2026-11-20 14:05 UTC:")


def test_a_limit_that_leaves_room_for_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="160 characters, 159 are too few"):
        text(PLAIN, 159)


@examples(20)
@given(digests())
def test_a_digest_comes_back_from_json_as_it_was(digest: Digest) -> None:
    body = as_json(digest)
    assert from_json(body) == digest
    assert as_json(from_json(body.decode())) == body


def test_json_is_compact_utf_8() -> None:
    body = as_json(OPERATIONAL.model_copy(update={"source": "Zürich"}))
    assert "Zürich".encode() in body
    assert b'"schema_version":1,"digest_id":' in body


def test_json_of_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="digest of schema version 2; this spike reads 1"):
        from_json(as_json(PLAIN.model_copy(update={"schema_version": 2})))


def test_a_digest_takes_neither_numbers_that_json_lacks_nor_times_without_a_zone() -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Entry.model_validate({**EUR_USD.model_dump(), "rebound_atr": float("nan")})
    with pytest.raises(ValidationError, match="timezone"):
        Digest.model_validate({**PLAIN.model_dump(), "time": datetime(2026, 11, 20, 14)})  # noqa: DTZ001 - meant


NASTY = "*all* __of__ EUR_USD and _this_ `x` [a](b) <!channel> @everyone ~~no~~ ||yes|| a&lt;b \\_ # 1. - > SPIKE_URL."


def seen(html: str) -> str:
    """Give what a person reads of HTML."""
    return " ".join(
        re.sub(r"<[^>]*>", "", html).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").split()
    )


@pytest.mark.parametrize("engine", ["markdown-it", "python-markdown"])
def test_markdown_shows_what_plain_text_says(engine: str) -> None:
    html = MarkdownIt().render if engine == "markdown-it" else markdown_to_html
    for digest, limit in [*GOLDEN.values(), (noticed(NASTY), None)]:
        shown = html(markdown(digest, limit))
        assert not re.search(r"<(em|i|li|h\d|blockquote|del|hr)\b", shown)
        if limit is None:
            links = re.compile(r"(chart|dashboard): \S+")
            assert seen(shown) == " ".join(links.sub(r"\1", text(digest)).replace("`x`", "'x'").split())


def dialect(service: NotifySlack | NotifyTelegram, body: str) -> str:
    """Give what Apprise sends to a service."""
    return str(service.dialect_convert(body, body_format=NotifyFormat.MARKDOWN))


def test_slack_and_telegram_get_bold_links_and_underscores_as_they_are() -> None:
    body = markdown(GROUP)
    workspace = NotifySlack("xoxb-1234-1234-abcd")  # type: ignore[no-untyped-call]
    chat = NotifyTelegram("123456789:" + "x" * 35, "12315544", mdv="v1")  # type: ignore[no-untyped-call]
    slack, telegram = dialect(workspace, body), dialect(chat, body)
    assert "<https://spike.example.com/?granularity=H1|dashboard>" in slack
    assert "[dashboard](https://spike.example.com/?granularity=H1)" in telegram
    for shown in (slack, telegram):
        assert "*EUR_USD 1.16508*" in shown
        assert "`AUD_JPY`, `CHF_JPY`" in shown
        assert "\\" not in shown


def test_an_address_cannot_end_its_link() -> None:
    body = markdown(PLAIN.model_copy(update={"entries": (), "link": "https://x.example/a_(b)?c=*d*"}))
    assert body.endswith("[dashboard](https://x.example/a_%28b%29?c=%2Ad%2A)")
