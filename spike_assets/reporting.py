"""Telling Dagster of passes that it did not run, so that its asset graph stays true whoever did the work.

Its webserver takes a materialization per asset and partition at `/report_asset_materialization/`. Nothing depends on
being heard: whatever goes wrong here is a warning, and what is not told is told to nobody again.
"""

from dataclasses import dataclass
from datetime import datetime

import requests

from spike_assets.alerts.channels.limited import within
from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.partition_keys import partition_key, partition_times
from spike_assets.settings import Settings
from spike_assets.store.tables import CANDLES, DERIVED

MOST_PARTITIONS = 200
"""How many partitions are told of, the newest: a thousand requests, which Dagster answers one after the other."""

ASSETS = tuple(table.name for table in (CANDLES, *DERIVED))
"""The assets of a granularity, upstream first: Dagster takes what is older than its upstream for stale."""

_CONNECT_SECONDS, _ANSWER_SECONDS = 2.0, 5.0
_TIME_IS_UP = "the time was up"
_OTHERWISE = "a Dagster backfill of the missing partitions fills them in"


@dataclass(frozen=True)
class Reported:
    """What Dagster was told.

    Attributes
    ----------
    partitions
        Of how many partitions it knows all assets now.
    missing
        Of how many it was not told, and why.
    """

    partitions: int = 0
    missing: int = 0
    why: str = ""

    def __str__(self) -> str:
        told = "1 partition" if self.partitions == 1 else f"{self.partitions:,} partitions"
        said = f"told Dagster of {told} of {len(ASSETS)} assets"
        return f"{said}, not of {self.missing:,}: {self.why}" if self.missing else said


@dataclass(frozen=True)
class Reporter:
    """Tells one Dagster webserver, or none where no URL is configured.

    Attributes
    ----------
    since
        Where the partitions begin; of what lies before it Dagster knows nothing.
    """

    url: str | None
    since: datetime

    @classmethod
    def from_settings(cls, settings: Settings) -> "Reporter":
        """Give the reporter that the settings ask for."""
        return cls(settings.dagster_webserver_url, settings.history_start)

    def report(self, granularity: Granularity, window: Window, trigger: str, deadline: Deadline) -> Reported | None:
        """Tell of every asset and partition in a window that was worked through; None where there is nothing to tell.

        Never raises for what goes wrong: the work is done, whoever hears of it.

        Parameters
        ----------
        trigger
            What started the pass; shown with each materialization.
        deadline
            Behind it nothing more is told.
        """
        if self.url is None:
            return None
        opens = partition_times(granularity, Window(max(window.start, self.since), window.end))
        if opens.empty:
            return None
        keys = [partition_key(granularity, open_) for open_ in opens[-MOST_PARTITIONS:].to_pydatetime()]
        done: list[str] = []
        try:
            why = within(deadline, lambda: self._tell(granularity, keys, trigger, deadline, done))
        except TimeoutError:  # of a socket: every byte that drips in starts it anew
            why = _TIME_IS_UP
        if not why and len(opens) > len(keys):
            why = f"no more than the newest {MOST_PARTITIONS} are told of"
        return Reported(len(done), len(opens) - len(done), f"{why}; {_OTHERWISE}" if why else "")

    def _tell(
        self, granularity: Granularity, keys: list[str], trigger: str, deadline: Deadline, done: list[str]
    ) -> str:
        """Tell until something goes wrong; note which partitions were told of, and give what went wrong."""
        base = f"{self.url}/report_asset_materialization/{granularity.schema}"
        with requests.Session() as session:
            for key in keys:
                for asset in ASSETS:
                    if why := _post(session, f"{base}/{asset}", key, trigger, deadline):
                        return why
                done.append(key)
        return ""


def _post(session: requests.Session, url: str, key: str, trigger: str, deadline: Deadline) -> str:
    """Tell of one materialization; give what went wrong, nothing when all went well."""
    left = deadline.remaining()
    if left <= 0:
        return _TIME_IS_UP
    body = {"partition": key, "description": "reported by spike, not run by Dagster", "metadata": {"trigger": trigger}}
    try:
        answer = session.post(
            url,
            json=body,
            timeout=(min(_CONNECT_SECONDS, left), min(_ANSWER_SECONDS, left)),
            allow_redirects=False,  # to a login, whose page would come with status 200
        )
    except requests.RequestException as error:
        return f"DAGSTER_WEBSERVER_URL does not answer ({type(error).__name__})"
    if answer.status_code != requests.codes.ok or "json" not in answer.headers.get("Content-Type", ""):
        return f"DAGSTER_WEBSERVER_URL answers {answer.status_code} {answer.reason}, as no Dagster webserver does"
    return ""
