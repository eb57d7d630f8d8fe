"""Runs the soak and writes docs/soak.md: `python -m spike_assets_tests.soak [seed]`."""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "spike_assets_tests"
REPORT = ROOT / "docs" / "soak.md"
EXAMPLES = 10
"""How many times more examples hypothesis draws than in the suite."""

PROPERTIES = ("core", "store", "pipeline", "alerts", "invariants")
"""What is run again with other and more examples."""


class Result(NamedTuple):
    """One test, as it went."""

    name: str
    outcome: str
    seconds: float
    figures: str


def main() -> int:
    """Run both parts, write the report, and tell whether all went well."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else int(time.time())
    began = datetime.now(UTC)
    # Not of the folder soak alone: elsewhere are tests of which the suite tries a part on Postgres.
    full = run([str(TESTS), "-m", "soak"], {})
    more = {"SPIKE_TEST_PROFILE": "soak", "SPIKE_TEST_EXAMPLES": str(EXAMPLES)}
    properties = [str(TESTS / path) for path in PROPERTIES]
    drawn = run([*properties, "-m", "hypothesis", f"--hypothesis-seed={seed}"], more)
    REPORT.write_text(report(began, seed, full, drawn), encoding="utf-8")
    sys.stdout.write(f"{REPORT} written\n")
    return int(any(result.outcome == "failed" for result in full + drawn))


def run(arguments: list[str], environment: dict[str, str]) -> list[Result]:
    """Run pytest and give what it found."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", f"--junitxml={file}", *arguments]
        subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=False)
        return list(results(file)) if file.exists() else [Result("pytest", "failed", 0.0, "did not run")]


def results(file: Path) -> Iterator[Result]:
    """Read what pytest wrote."""
    for case in ET.parse(file).getroot().iter("testcase"):  # noqa: S314 - our own file
        bad = case.find("failure") is not None or case.find("error") is not None
        outcome = "failed" if bad else "skipped" if case.find("skipped") is not None else "passed"
        figures = ", ".join(f"{p.get('name')} {p.get('value')}" for p in case.iter("property"))
        module = str(case.get("classname")).removeprefix("spike_assets_tests.")
        yield Result(f"{module}::{case.get('name')}", outcome, float(case.get("time", "0")), figures)


def commit() -> str:
    """Give what was soaked."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def report(began: datetime, seed: int, full: list[Result], drawn: list[Result]) -> str:
    """Give the page."""
    bad = [result for result in full + drawn if result.outcome == "failed"]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    lines = [
        "# Soak",
        "",
        "The invariant and fault suites in full. Written by `make soak`; what is compared is said in",
        "`spike_assets_tests/soak` and `spike_assets_tests/invariants`.",
        "",
        f"* {began:%Y-%m-%d %H:%M} UTC, commit {commit()}, {machine}, Python {platform.python_version()}",
        f"* {len(full) + len(drawn)} tests, {len(bad)} failed",
        f"* seed of the drawn examples: {seed}, {EXAMPLES} times as many as in the suite",
        "",
        "| test | result | s | figures |",
        "|---|---|---|---|",
        *(f"| {r.name} | {r.outcome} | {r.seconds:.0f} | {r.figures} |" for r in full),
        "",
        "## With drawn examples",
        "",
        "| test | result | s |",
        "|---|---|---|",
        *(f"| {r.name} | {r.outcome} | {r.seconds:.0f} |" for r in drawn),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
