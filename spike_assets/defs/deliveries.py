"""Sending what no pass has sent: a sensor that looks for it, and the job that it starts.

A pass sends what it queued at once. What is left is for here: what a channel did not take, what quiet hours put off,
what a backfill or a reconcile queued, and what is to be said of the platform itself.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import dagster as dg

from spike_assets.alerts.channels.base import Channel
from spike_assets.deadline import Deadline
from spike_assets.defs.resources import MAX_RUNTIME_TAG, PipelineResource, backstop
from spike_assets.defs.sensors import failures_in_a_row
from spike_assets.errors import StoreLockedError
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.incidents import FAILURES, check

PENDING_TAG = "spike/pending"
"""Says up to which alert or message a delivery run was started for."""

INTERVAL_SECONDS = 5
LOOK_AFTER = timedelta(minutes=1)
"""How often is looked for what is wrong with the platform, whether or not anything changed."""

PAUSE = timedelta(minutes=10)
"""Behind so long a pause between two looks, the daemon is taken to have been away."""

_DELIVERY_LIMIT = timedelta(minutes=5)
_STORE_PATIENCE = timedelta(seconds=2)
_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dg.op(out=dg.Out(dg.Nothing), description="Sends every message that is due, over each channel in its order.")
def send_due(context: dg.OpExecutionContext, pipeline: PipelineResource) -> None:
    """Send all that is due; a channel that is away fails no run, its messages wait for their next try."""
    outcomes = pipeline.get().sender.deliver(pipeline.within(_DELIVERY_LIMIT))
    for outcome in outcomes:
        context.log.info(str(outcome))
    if not outcomes:
        context.log.info("nothing is due: somebody else has sent it")


@dg.job(
    description="Sends the alerts that are due: new, put off, or to be tried again.",
    tags={MAX_RUNTIME_TAG: backstop(_DELIVERY_LIMIT)},
    executor_def=dg.in_process_executor,
)
def deliver_alerts() -> None:
    """Send what is due."""
    send_due()


@dataclass(frozen=True)
class Cursor:
    """What the sensor knew when it looked last.

    Attributes
    ----------
    stamp
        Of the database (`Store.stamp`).
    wake_at
        When something is due next, ISO 8601; None when nothing waits.
    looked_at
        When it looked for what is wrong, ISO 8601.
    watched_since
        When it began to look without a pause, ISO 8601: before that, nobody ran schedules either.
    """

    stamp: str | None = None
    wake_at: str | None = None
    looked_at: str | None = None
    watched_since: str | None = None

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """Read what was written; an empty one where there is none."""
        return cls(**json.loads(text)) if text else cls()

    def write(self) -> str:
        """Give it as Dagster keeps it."""
        return json.dumps(asdict(self))

    def has_come(self, time: str | None, now: datetime) -> bool:
        """Tell whether a time has come."""
        return time is not None and datetime.fromisoformat(time) <= now


def alert_sensor(watched: Mapping[str, str]) -> dg.SensorDefinition:
    """Give the sensor of alerts, over all granularities.

    Parameters
    ----------
    watched
        Jobs of which somebody is told when they fail twice in a row: what that is called, by the job's name.
    """

    @dg.sensor(
        name="alerts",
        job_name=deliver_alerts.name,  # `job` makes Dagster copy the sensor, which warns of a beta parameter nobody set
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a delivery when messages are due that no pass has sent; tells of trouble, and of its end.",
    )
    def sensor(context: dg.SensorEvaluationContext, pipeline: PipelineResource) -> dg.RunRequest | dg.SkipReason:
        try:
            return evaluate(context, pipeline.get(), watched)
        except StoreLockedError as error:
            return dg.SkipReason(f"the store is busy, the next look is in {INTERVAL_SECONDS} s: {error}")

    return sensor


def evaluate(
    context: dg.SensorEvaluationContext, pipeline: Pipeline, watched: Mapping[str, str]
) -> dg.RunRequest | dg.SkipReason:
    """Look whether anything is due; open the database only if it changed, or the time for something has come."""
    if not pipeline.policy.channels:
        return dg.SkipReason("no channels are configured")
    now, before = pipeline.clock(), Cursor.read(context.cursor)
    look = before.looked_at is None or now - datetime.fromisoformat(before.looked_at) >= LOOK_AFTER
    stamp = pipeline.store.stamp()
    if not look and stamp is not None and stamp == before.stamp and not before.has_come(before.wake_at, now):
        return dg.SkipReason(f"nothing has changed{f', something is due {before.wake_at}' if before.wake_at else ''}")
    deadline = Deadline.after(_STORE_PATIENCE)
    since = before.watched_since or now.isoformat()
    if look:
        if before.looked_at is None or now - datetime.fromisoformat(before.looked_at) > PAUSE:
            since = now.isoformat()
        failing = _failing(context.instance, watched)
        check(pipeline, besides=failing, watched_since=datetime.fromisoformat(since), deadline=deadline)
        stamp = pipeline.store.stamp()
    with pipeline.store.reading(deadline, "the alerts sensor") as session:
        when = pipeline.sender.when(session, now)
        due = [channel for channel, at in when if at <= now]
        newest, attempts = session.outbox.newest_waiting([channel.name for channel in due]) if due else ("", 0)
    wake_at = min((at for _, at in when), default=None)
    cursor = Cursor(
        stamp,
        None if wake_at is None else wake_at.isoformat(),
        now.isoformat() if look else before.looked_at,
        since,
    )
    context.update_cursor(cursor.write())
    return _request(context.instance, due, newest, attempts) if due else dg.SkipReason(_nothing(wake_at))


def _request(instance: dg.DagsterInstance, due: Sequence[Channel], newest: str, attempts: int) -> dg.RunRequest:
    """Ask for a delivery. The key is another one once a run for the same has ended, however it did."""
    over = instance.get_runs_count(
        dg.RunsFilter(job_name=deliver_alerts.name, statuses=_OVER, tags={PENDING_TAG: newest})
    )
    return dg.RunRequest(
        run_key=f"{newest}/{attempts}/{over}",
        tags={PENDING_TAG: newest, "spike/channels": ",".join(channel.name for channel in due)},
    )


def _nothing(wake_at: datetime | None) -> str:
    return "nothing waits" if wake_at is None else f"nothing is due before {wake_at:%Y-%m-%d %H:%M:%S} UTC"


def _failing(instance: dg.DagsterInstance, watched: Mapping[str, str]) -> dict[str, str]:
    """Give the jobs whose last runs failed, twice in a row or more."""
    counts = {job: failures_in_a_row(instance, job) for job in watched}
    return {
        watched[job]: f"{job} failed {n} times in a row; its runs in the Dagster UI say why"
        for job, n in counts.items()
        if n >= FAILURES
    }
