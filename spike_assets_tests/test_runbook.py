"""Whatever the platform says when something is wrong has a page in the runbook, and what the pages say to do exists."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click
import pytest
import yaml

from spike_assets.alerts.channels.base import UndeliverableError
from spike_assets.cli import spike
from spike_assets.pipeline.context import refusal
from spike_assets.pipeline.incidents import QUARANTINED, check
from spike_assets.pipeline.status import GranularityStatus, Status, status
from spike_assets.store.ops import Provenance
from spike_assets_tests.alerts.desk import NAMES, Desk, Fault
from spike_assets_tests.oracle import Candle
from spike_assets_tests.pipeline.markets import SOON, hour
from spike_assets_tests.pipeline.test_incidents import begun, fail

ROOT = Path(__file__).parents[1]
RUNBOOK = ROOT / "docs" / "runbook"
OPERATIONS = ROOT / "docs" / "operations.md"
RULES = ROOT / "deploy" / "alerts.rules.yml"


def entries(kind: str) -> list[tuple[str, str]]:
    """Give what is said, as a pattern, and its page."""
    index = (RUNBOOK / "README.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| {kind} \| (.*) \| \[.*\]\((.*\.md)\) \|$", index, re.MULTILINE)
    said = [(text, page) for cell, page in rows for text in re.findall(r"`([^`]+)`", cell)]
    return [(".+".join(map(re.escape, text.split("…"))), page) for text, page in said]


def page_of(kind: str, said: str) -> str:
    pages = {page for pattern, page in entries(kind) if re.fullmatch(pattern, said)}
    assert len(pages) == 1, f"{kind} {said!r}: its pages in docs/runbook/README.md are {pages}"
    (page,) = pages
    assert (RUNBOOK / page).is_file()
    return page


def stand() -> GranularityStatus:
    """Give how a granularity stands that is well."""
    return status(begun().pipeline).granularities[0]


def reasons(one: GranularityStatus) -> list[str]:
    return list(Status(hour(40), "frame", "memory", (one,)).reasons)


@pytest.mark.parametrize(
    ("wrong", "page"),
    [
        ({"crashed": hour(1)}, "crashed.md"),
        ({"consecutive_failures": 1, "last_error": "why"}, "failing.md"),
        ({"consecutive_failures": 3, "last_error": "why (so)"}, "failing.md"),
        ({"overdue_since": hour(1), "behind": 2}, "late.md"),
        ({"pending": 1}, "pending.md"),
        ({"pending": 7}, "pending.md"),
    ],
)
def test_every_reason_of_health_has_a_page(wrong: dict[str, object], page: str) -> None:
    (reason,) = reasons(replace(stand(), **wrong))  # type: ignore[arg-type]
    assert page_of("health", reason) == page


def test_what_never_ran_and_what_is_refused_has_a_page() -> None:
    (never,) = status(Desk().pipeline).reasons
    assert page_of("health", never) == "never-ran.md"
    (some,) = status(begun().pipeline).reasons
    assert page_of("health", some) == "never-ran.md"
    here, there = Provenance("oanda", "mid", 14, 1), Provenance("oanda", "mid", 20, 1)
    assert page_of("health", refusal("data/oanda.duckdb", here, there)) == "settings.md"


def incidents(desk: Desk) -> list[str]:
    return [incident.incident for incident in check(desk.pipeline).opened]


def test_every_operational_message_has_a_page() -> None:
    failed, late, bad, dead = begun(), begun(), begun(), begun(max_age=timedelta(days=9))
    fail(failed, 12, 2)
    late.now = hour(14) + SOON
    for n in range(QUARANTINED):
        bad.world[NAMES[0], 12 + n] = Candle(hour(12 + n), 1.1, 1.0, 1.2, 1.1, 100)  # its high below its low
    bad._show()
    bad.run(12 + QUARANTINED)
    dead.peak(NAMES[0], 12)
    dead.inbox.script.append(Fault(UndeliverableError("gone for good")))
    dead.run(13)
    found = {name: page_of("message", name) for desk in (failed, late, bad, dead) for name in incidents(desk)}
    assert found == {
        "H1 failed": "failing.md",
        "H1 overdue": "late.md",
        "H1 quarantine": "quarantine.md",
        "dead letters of desk": "dead-letters.md",
    }
    assert page_of("message", "h1_reconcile failed") == "failing.md"


def test_every_rule_of_prometheus_has_a_page_and_names_it() -> None:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    named = {rule["alert"]: rule["annotations"]["runbook"] for rule in group["rules"]}
    assert named == {name: f"docs/runbook/{page_of('Prometheus', name)}" for name in named}
    assert {pattern for pattern, _ in entries("Prometheus")} == set(named)


def pages() -> list[Path]:
    return [OPERATIONS, *sorted(RUNBOOK.glob("*.md"))]


def test_every_page_is_in_the_index() -> None:
    index = (RUNBOOK / "README.md").read_text(encoding="utf-8")
    assert [
        page.name for page in RUNBOOK.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index
    ] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}, link


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_command_exists(page: Path) -> None:
    """Those in backticks and in blocks; a word behind the command is another one, if it has any."""
    text = page.read_text(encoding="utf-8")
    said = re.findall(r"(?:`|^|bin/)spike ([a-z]+(?: [a-z]+)?)((?: [^`\n#]*)?)", text, re.MULTILINE)
    for words, rest in said:
        command: click.Command = spike
        for word in words.split():
            if isinstance(command, click.Group):
                found = command.get_command(click.Context(command), word)
                assert found is not None, f"spike {words}"
                command = found
        options = {"--help", *(option for parameter in command.params for option in parameter.opts)}
        given = re.findall(r"(?<!\S)--[a-z-]+", rest)
        assert [option for option in given if option not in options] == [], f"spike {words}{rest}"
