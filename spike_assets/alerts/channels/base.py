"""What a channel is: something with a name that a digest can be sent to, and what it wants to be sent.

Each kind of channel is one module beside this one.
"""

from typing import Protocol

from spike_assets.alerts.digest import Digest
from spike_assets.alerts.wants import Wants
from spike_assets.deadline import Deadline
from spike_assets.errors import PermanentError, TransientError


class DeliveryError(TransientError):
    """A digest did not arrive, or nobody can say; it is sent again, with the same id."""


class UndeliverableError(PermanentError):
    """A digest that will never be taken as it is; it becomes a dead letter at once."""


class Channel(Protocol):
    """Somewhere people look."""

    @property
    def name(self) -> str:
        """How settings, tables and the command line call it."""
        ...

    @property
    def wants(self) -> Wants:
        """What is to be sent to it, and when not."""
        ...

    def send(self, digest: Digest, deadline: Deadline) -> None:
        """Send a digest, once.

        Raises
        ------
        DeliveryError
            It may not have arrived; `retry_after` says how long the receiver asked to be left alone.
        UndeliverableError
            The receiver refuses this very message.
        """
        ...
