"""The errors that spike raises on purpose, each a sentence that says what to do.

A fault is *transient* when the same call may succeed later (a lock, a broker that is away) and
*permanent* when it cannot (a wrong setting, an unreadable file). Retries look at nothing else.
"""


class SpikeError(Exception):
    """Anything that spike itself reports; its text is one line for a person."""


class TransientError(SpikeError):
    """May succeed when tried again, but not within `retry_after` seconds: somebody asked for that."""

    def __init__(self, text: str, *, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class PermanentError(SpikeError):
    """Will fail the same way until somebody changes something."""


class SettingsError(PermanentError):
    """A setting is missing or wrong; the text names it."""


class SourceError(PermanentError):
    """A candle source cannot answer, and asking again would not help."""


class StoreError(PermanentError):
    """The store cannot be used as it is."""


class StoreLockedError(TransientError):
    """Somebody else held the store for longer than this pass may wait; the text names the holder."""


class StoreUnavailableError(TransientError):
    """The store's disk is full, or its server is away."""


class DeadlineError(TransientError):
    """A pass ran out of its time."""
