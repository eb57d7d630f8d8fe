"""Progress on stderr: a bar where somebody watches, a line per step where not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from spike_assets.cli import console


class Tell(Protocol):
    """Says how far the work called `name` has come; `where` is a word on what was done last."""

    def __call__(self, name: str, done: int, total: int, where: str = "") -> None:
        """Show it."""
        ...


@contextmanager
def progress() -> Iterator[Tell]:
    """Show progress while the block runs. A name that is new gets a bar of its own."""
    stderr = console.err()
    if not stderr.is_terminal:
        yield _line
        return
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TextColumn("{task.fields[where]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(compact=True),
        console=stderr,
    )
    tasks: dict[str, TaskID] = {}

    def tell(name: str, done: int, total: int, where: str = "") -> None:
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=total, completed=done, where=where)
        bars.update(tasks[name], completed=done, total=total, where=where)

    with bars:
        yield tell


def _line(name: str, done: int, total: int, where: str = "") -> None:
    percent = 100 * done // total if total else 100
    console.err().print(f"{name}  {percent:>3}%  {where}".rstrip())
