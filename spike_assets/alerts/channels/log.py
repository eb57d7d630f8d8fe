"""The channel that always works: alerts as text in the log."""

import logging
from dataclasses import dataclass

from spike_assets.alerts import render
from spike_assets.alerts.digest import Digest
from spike_assets.alerts.wants import Wants
from spike_assets.deadline import Deadline

_LOG = logging.getLogger("spike_assets.alerts")


@dataclass(frozen=True)
class LogChannel:
    """Writes to the logger `spike_assets.alerts`, as warnings: those are shown unless somebody turns them off."""

    name: str
    wants: Wants

    def send(self, digest: Digest, deadline: Deadline) -> None:  # noqa: ARG002 - a log does not keep us waiting
        """Write a digest. It always arrives."""
        _LOG.warning("%s\n\n%s", render.title(digest), render.text(digest))
