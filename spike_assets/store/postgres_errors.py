"""What Postgres' errors mean to spike: who is to do what, and whether trying again may help."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from spike_assets.errors import SpikeError, StoreError, StoreLockedError, StoreUnavailableError
from spike_assets.store.postgres_address import LIKE, Address

_Kinds = tuple[type[psycopg.Error], ...]

_MEANINGS: tuple[tuple[_Kinds, type[SpikeError], str], ...] = (
    (
        (errors.QueryCanceled,),
        StoreUnavailableError,
        "{where} took longer for a statement than there was time; nothing was changed",
    ),
    (
        (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure),
        StoreLockedError,
        "{where} is in use by others ({text}); nothing was changed, try again",
    ),
    (
        (errors.DiskFull, errors.OutOfMemory),
        StoreUnavailableError,
        "no space left for {where} ({text}); nothing was changed, free some and try again",
    ),
    (
        (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction),
        StoreError,
        "{where} cannot be written: {text}; give its user the right, or set SPIKE_DATABASE to another one",
    ),
    ((errors.UniqueViolation,), StoreError, "{table} would repeat keys; nothing was written, report this"),
    ((errors.IdleInTransactionSessionTimeout,), StoreUnavailableError, "{where} is away: {text}"),
)
"""What the server refuses, as which of our errors, in which words."""

_ITS_OWN_TROUBLE = ("08", "40", "53", "57", "58")
"""Classes of the other errors that are the server's own trouble, not that of what it was told: its connections, its
transactions, its resources, its operator, its machine. It may be well again by the next pass."""

_OURS_TO_CHANGE = (
    ("password authentication failed", "the password is wrong"),
    ("no password supplied", "it wants a password; put it into the URL, PGPASSWORD or ~/.pgpass"),
    ("no pg_hba.conf entry", "the server lets nobody in from here under this name: see its pg_hba.conf"),
    ("role ", "there is no such user"),
    ("database ", "there is no such database; `createdb` makes one"),
    ("permission denied for database", "this user may not connect to the database"),
)
"""What the server says when it turns a connection away for good, in part, and what that means. In the server's own
language: what is not understood is taken for a server that is away, and its words are told."""


@contextmanager
def told_plainly(address: Address) -> Iterator[None]:
    """Say in one line, without the password, what Postgres and its library say in several."""
    try:
        yield
    except psycopg.Error as error:
        raise translated(address, error) from error


def translated(address: Address, error: psycopg.Error) -> SpikeError:
    """Give spike's error for one of the library's."""
    text, where = address.without_password(" ".join(str(error).split())), address.shown
    for kinds, ours, says in _MEANINGS:
        if isinstance(error, kinds):
            table = f"{error.diag.schema_name}.{error.diag.table_name}"
            return ours(says.format(where=where, text=text, table=table))
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return _connecting(where, text)
    if (error.sqlstate or "").startswith(_ITS_OWN_TROUBLE):
        return StoreUnavailableError(f"{where} is away: {text}")
    return StoreError(f"{where}: {text}")


def _connecting(where: str, text: str) -> SpikeError:
    """Tell a server that turns us away for good from one that is away."""
    for says, means in _OURS_TO_CHANGE:
        if says in text and (says[-1] != " " or "does not exist" in text):
            return StoreError(f"{where}: {means}; set SPIKE_DATABASE to {LIKE}")
    return StoreUnavailableError(f"{where} is away: {text}")
