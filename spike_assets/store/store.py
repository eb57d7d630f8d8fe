"""The store: opening it for a stretch of work, under its locks, at the right schema version."""

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

from spike_assets.deadline import Deadline
from spike_assets.errors import SpikeError, StoreError
from spike_assets.granularity import Granularity
from spike_assets.store import migrations
from spike_assets.store.data import Data
from spike_assets.store.engine import Connection, Engine
from spike_assets.store.ops import Ops
from spike_assets.store.outbox import Outbox
from spike_assets.store.pending import Pending
from spike_assets.store.queries import Queries
from spike_assets.store.whole import Whole

TIDYING = "spike-tidying"
"""Name of the thread."""
_TIDYING = timedelta(seconds=5)
"""How long it waits for others to be done with the database."""

_log = logging.getLogger(__name__)


class Session:
    """An open store. Ends with the block that opened it.

    Attributes
    ----------
    data
        Candles and all that is derived from them.
    pending
        What is still to be worked off.
    ops
        State, passes, provenance and the like.
    outbox
        Who is to be told of what, and was.
    queries
        What pages and metrics ask.
    whole
        All tables alike, for a copy.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.data = Data(connection)
        self.pending = Pending(connection)
        self.ops = Ops(connection)
        self.outbox = Outbox(connection)
        self.queries = Queries(connection)
        self.whole = Whole(connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block does when it ends, and undo it when it raises."""
        with self._connection.transaction(), self.pending.gathered():
            yield

    def held_at(self, schema: int) -> bool:
        """Tell, inside a transaction, whether the store is at a schema version; until it ends it stays there."""
        return migrations.held_at(self._connection, schema)

    def keep(self, name: str, *, shared: bool = False) -> bool:
        """Keep out others who keep the same, until the session ends; those who share it let one another in.

        Tells whether there can be others: then what was read before may have changed since.
        """
        return self._connection.keep(name, shared=shared)


class Store:
    """Where candles and all that follows from them are kept."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._current = False

    @property
    def url(self) -> str:
        """How a person calls the database."""
        return self._engine.url

    def exists(self) -> bool:
        """Whether there is anything to read yet, as far as that is known without opening it."""
        return self._engine.exists()

    def stamp(self) -> str | None:
        """Give something that changes whenever the database does, without opening it; None where nothing tells."""
        return self._engine.stamp()

    @contextmanager
    def reading(self, deadline: Deadline, purpose: str = "a reader") -> Iterator[Session]:
        """Open the store to read one state of it, whoever writes meanwhile; an empty one is created first."""
        if not self._current:
            self._bring_up_to_date(deadline, purpose)
        with self._engine.connect(deadline, purpose, write=False) as connection:
            yield Session(connection)

    @contextmanager
    def snapshot(self, deadline: Deadline, purpose: str, folder: Path) -> Iterator[Session]:
        """Open one state of the store to read for as long as it takes: on no engine does anybody wait for its end.

        Parameters
        ----------
        folder
            Has room for a copy of the database file, where there is one.
        """
        if not self._current:
            self._bring_up_to_date(deadline, purpose)
        with self._engine.snapshot(deadline, purpose, folder) as connection:
            yield Session(connection)

    @contextmanager
    def restoring(self, deadline: Deadline, purpose: str, schema: int) -> Iterator[Session]:
        """Open the store to write rows of a schema, perhaps an older one: later migrations run behind the block.

        Raises
        ------
        StoreError
            The database has another schema already.
        """
        with self._engine.connect(deadline, purpose, write=True) as connection:
            migrations.migrate(self._engine, connection, to=schema)
            if (found := migrations.version(connection)) != schema:
                raise StoreError(
                    f"{self.url} has tables of schema {found}, the backup is of schema {schema}; nothing was changed,"
                    " restore it into a new database"
                )
            yield Session(connection)
            migrations.migrate(self._engine, connection)
            self._current = True

    @contextmanager
    def writing(self, deadline: Deadline, purpose: str) -> Iterator[Session]:
        """Open the store to write.

        Others may write at the same time where the engine can do that: what is read and then written is kept from
        them by a granularity's or a channel's lock, or claimed.
        """
        with self._engine.connect(deadline, purpose, write=True) as connection:
            if not self._current:
                migrations.migrate(self._engine, connection)
                self._current = True
            yield Session(connection)

    def changing(self, granularity: Granularity, deadline: Deadline, purpose: str) -> AbstractContextManager[None]:
        """Keep everybody else from changing this granularity inside the block; never held while fetching."""
        return self._engine.lock(granularity.schema, deadline, purpose)

    def sending(self, channel: str, deadline: Deadline, purpose: str) -> AbstractContextManager[None]:
        """Keep everybody else from sending to a channel inside the block: messages keep their order."""
        return self._engine.lock(f"channel-{channel}", deadline, purpose)

    def tidy_soon(self) -> None:
        """Have the database do in the background what writers have put off; the process does not end before."""
        threading.Thread(target=self._tidy, name=TIDYING).start()

    def _tidy(self) -> None:
        try:
            self._engine.tidy(Deadline.after(_TIDYING))
        except SpikeError as error:
            _log.info("%s was not tidied up, the next pass comes to it: %s", self.url, error)

    def _bring_up_to_date(self, deadline: Deadline, purpose: str) -> None:
        if self._engine.exists():
            with self._engine.connect(deadline, purpose, write=False) as connection:
                self._current = migrations.version(connection) >= migrations.LATEST
        if not self._current:
            with self.writing(deadline, purpose):
                pass
