"""What the store needs of a database. One engine is one module beside this one."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from spike_assets.deadline import Deadline
from spike_assets.store.tables import Column


class Connection(Protocol):
    """An open connection; its session's time zone is UTC. Parameters are written `?`.

    Where the engine lets several writers in at once, each statement sees what others have committed before it. What
    must not change between a statement and the next one is claimed first, or kept.
    """

    @property
    def natural_keys(self) -> bool:
        """Whether the database itself refuses a repeated key in the data tables."""
        ...

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run statements that give nothing back."""
        ...

    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one UPDATE or DELETE, and give how many rows it touched."""
        ...

    def frame(self, sql: str, columns: Sequence[Column], parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """Run a query whose result has these columns, in this order, and give it typed (`store.rows`)."""
        ...

    def rows(self, sql: str, columns: Sequence[Column], parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query for a few rows, and give them as plain values: None for NULL, UTC datetimes, a uuid as text."""
        ...

    def load(self, name: str, columns: Sequence[Column], frame: pd.DataFrame) -> None:
        """Make a frame readable as the relation `name` until it is loaded anew or the connection closes."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Commit what the block does when it ends, and undo it when it raises."""
        ...

    def claim(self, name: str) -> None:
        """Inside a transaction: keep out others who claim the same, until it ends. They wait, and then see its work."""
        ...

    def keep(self, name: str, *, shared: bool = False) -> bool:
        """Keep out others who keep the same, until the connection closes; those who share it let one another in.

        Tells whether there can be others: then what was read before may have changed since.
        """
        ...


class Engine(Protocol):
    """A database that connections are opened to."""

    @property
    def url(self) -> str:
        """How a person calls the database; never with a password."""
        ...

    @property
    def natural_keys(self) -> bool:
        """Whether the data tables have their primary keys declared."""
        ...

    def exists(self) -> bool:
        """Whether there is anything to read yet."""
        ...

    def ddl(self, sql: str) -> str:
        """Give a migration as this engine is to run it."""
        ...

    def stamp(self) -> str | None:
        """Give something that changes whenever the database does, without opening it; None where nothing tells."""
        ...

    def connect(self, deadline: Deadline, purpose: str, *, write: bool) -> AbstractContextManager[Connection]:
        """Open a connection, closed behind the block; `StoreLockedError` when it cannot be had in time."""
        ...

    def snapshot(self, deadline: Deadline, purpose: str, folder: Path) -> AbstractContextManager[Connection]:
        """Open one state of everything to read for as long as it takes, holding nobody up meanwhile.

        Files that it needs for that stand in `folder`, and are gone behind the block.
        """
        ...

    def lock(self, name: str, deadline: Deadline, purpose: str) -> AbstractContextManager[None]:
        """Keep everybody else out of what goes by this name inside the block; `StoreLockedError` when in vain."""
        ...

    def tidy(self, deadline: Deadline) -> None:
        """Do what writers have put off, if anything; nobody has to wait for it."""
        ...

    def checkpoint(self, connection: Connection) -> None:
        """Write out what a migration did, before anything else is written."""
        ...
