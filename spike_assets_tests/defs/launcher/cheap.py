"""Definitions for the launcher's tests: runs that do next to nothing, note that they did, and can be held up.

They are loaded from a module that a test writes into a folder, so that it can be changed while something runs.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

import dagster as dg

FOLDER = "SPIKE_TESTS_CHEAP"
"""Names the folder, in the environment."""

SECONDS = "cheap/seconds"
"""The tag that says how long a run of `busy` takes."""

MODULE = "cheap_definitions"
_TEXT = "from spike_assets_tests.defs.launcher.cheap import cheap_defs\n\ndefs = cheap_defs({})\n{}"


def write(folder: Path, version: int, besides: str = "") -> None:
    """Write the module that is loaded; its runs note the version."""
    path, text = folder / f"{MODULE}.py", _TEXT.format(version, besides)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.with_suffix(".new").write_text(text, encoding="utf-8")
        path.with_suffix(".new").replace(path)


def noted(folder: Path) -> dict[str, list[tuple[str, int, int]]]:
    """Give what each run noted: that it began or ended, in which process, with which version."""
    path = folder / "noted"
    found: dict[str, list[tuple[str, int, int]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        what, run_id, pid, version = line.split()
        found.setdefault(run_id, []).append((what, int(pid), int(version)))
    return found


def cheap_defs(version: int) -> dg.Definitions:
    """Give jobs that differ in what they do while the file `hold` is in the folder."""

    def note(what: str, run_id: str) -> None:
        with (Path(os.environ[FOLDER]) / "noted").open("a", encoding="utf-8") as file:
            file.write(f"{what} {run_id} {os.getpid()} {version}\n")

    def hold() -> None:
        while (Path(os.environ[FOLDER]) / "hold").exists():
            time.sleep(0.01)

    @dg.op
    def be_quick(context: dg.OpExecutionContext) -> None:
        note("began", context.run_id)
        print("events in batches of", os.environ["DAGSTER_EVENT_BATCH_SIZE"])
        note("ended", context.run_id)

    @dg.op
    def be_held(context: dg.OpExecutionContext) -> None:
        note("began", context.run_id)
        hold()
        note("ended", context.run_id)

    @dg.op
    def be_deaf(context: dg.OpExecutionContext) -> None:
        note("began", context.run_id)
        while True:
            with suppress(BaseException):
                hold()
                return

    @dg.op
    def be_busy(context: dg.OpExecutionContext) -> None:
        note("began", context.run_id)
        until = time.monotonic() + float(context.run.tags[SECONDS])
        while time.monotonic() < until:
            time.sleep(0.005)
        note("ended", context.run_id)

    def job(op: dg.OpDefinition) -> dg.JobDefinition:
        @dg.job(name=op.name.removeprefix("be_"), executor_def=dg.in_process_executor)
        def only() -> None:
            op()

        return only

    return dg.Definitions(jobs=[job(be_quick), job(be_held), job(be_deaf), job(be_busy)])
