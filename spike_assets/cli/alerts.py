"""Alerts: what there was, who was told, and whether the channels work."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click
import pandas as pd
from rich.table import Table

from spike_assets.alerts import dead as letters
from spike_assets.alerts import phrases, render
from spike_assets.alerts.channels.base import DeliveryError, UndeliverableError
from spike_assets.alerts.claim import content, described
from spike_assets.alerts.digest import Digest, Entry, Group
from spike_assets.alerts.preview import preview as would_be_sent
from spike_assets.cli import console
from spike_assets.cli.group import Failure
from spike_assets.cli.parameters import GranularityType, InstrumentType, LengthType, TimeType
from spike_assets.cli.tables import filtered, show
from spike_assets.core.alerts import GROUP
from spike_assets.deadline import Deadline
from spike_assets.granularity import Granularity
from spike_assets.market_hours import Window
from spike_assets.pipeline import Pipeline
from spike_assets.pipeline.status import opened_since
from spike_assets.settings import load_settings
from spike_assets.store.outbox import EVERYTHING, Delivery, Item
from spike_assets.store.tables import ALERTS

_LIMIT = timedelta(seconds=30)
_DELIVERY_LIMIT = timedelta(minutes=5)
_TEST_LIMIT = timedelta(seconds=30)


@click.group
def alerts() -> None:
    """See alerts, and look after the channels that carry them.

    Channels are declared in alerts.yaml, or by SPIKE_ALERT_URLS and SPIKE_WEBHOOK_URL; without any of these, alerts go
    to the log.
    """


@alerts.command("list")
@filtered
def list_(**asked: Any) -> None:
    """Print or export alerts, and who was told.

    The table says why, newest first; csv, json and parquet have every column in full precision, oldest first, NULL
    empty, times in UTC.
    """
    show(ALERTS, _table, **asked)


def _table(rows: pd.DataFrame, granularity: Granularity, pipeline: Pipeline) -> Table:
    table = console.plain_table(("closed (UTC)", False), ("instrument", False), ("level", True))
    table.add_column("why", overflow="fold", ratio=1)
    table.add_column("told", overflow="fold")
    with pipeline.store.reading(Deadline.after(_LIMIT), "reading alerts") as session:
        known = described(session, granularity, rows)
        told: dict[str, list[str]] = {}
        for item in session.outbox.told_of([row["alert_id"] for row in known]):
            delivery = session.outbox.delivery(item.delivery_id) if item.delivery_id else None
            told.setdefault(item.alert_id, []).append(f"{item.channel} {_state(item, delivery)}")
    for row in known:
        says = content(granularity, [row], None, {row["alert_id"]: "new"})
        (name, level, why) = (
            _group(says["group"]) if row["instrument"] == GROUP else _entry(says["entries"][0], granularity)
        )
        state = ", ".join(told.get(row["alert_id"], []))
        table.add_row(console.minute(row["closed_at"]), name, level, why, state or "–")
    return table


def _state(item: Item, delivery: Delivery | None) -> str:
    """Say in a word how it stands with telling a channel of an alert."""
    if item.status in ("silenced", "missed") or delivery is None:
        return {"silenced": "silenced", "missed": "in a summary"}.get(item.status, "soon")
    if delivery.kind == "summary" and delivery.status == "sent":
        return "in a summary"
    return {"sent": "✓", "waiting": "soon", "dead": "given up", "discarded": "given up"}[delivery.status]


def _entry(entry: Entry, granularity: Granularity) -> tuple[str, str, str]:
    return entry.instrument, entry.level, "; ".join(phrases.reasons(entry, granularity.name))


def _group(group: Group) -> tuple[str, str, str]:
    return "many", "", phrases.at_once(group)


@alerts.command
def test() -> None:
    """Send a marked test message to every channel.

    Past the outbox, and without regard to quiet hours. The exit code is 1 when one did not take it.
    """
    pipeline = Pipeline.from_settings(load_settings())
    table = console.plain_table(("channel", False))
    table.add_column("", overflow="fold")
    failed = 0
    for channel in pipeline.policy.channels:
        digest = pipeline.sender.about.digest("test", pipeline.clock())
        try:
            channel.send(digest, Deadline.after(_TEST_LIMIT))
        except (DeliveryError, UndeliverableError) as error:
            failed += 1
            table.add_row(channel.name, str(error))
        else:
            table.add_row(channel.name, "took it")
    console.out().print(table)
    if failed:
        raise Failure(f"{failed} of {console.count(len(pipeline.policy.channels), 'channel')} did not take it")


@alerts.command
@click.option("--since", type=TimeType(ago=True), required=True, help="Alerts since: a date, an ISO time, 24h, 7d.")
@click.option("--to", "until", type=TimeType(), help="And before; now unless given.")
@click.option(
    "--granularity", "-g", type=GranularityType(or_all=True), default="all", help="Which candles; all unless given."
)
@click.option("--channel", "-c", help="Only this channel's; all unless given.")
@click.option(
    "--format", "form", type=click.Choice(["text", "markdown", "json"]), default="text", help="text unless given."
)
def preview(
    since: datetime, until: datetime | None, granularity: tuple[Granularity, ...], channel: str | None, form: str
) -> None:
    """Print what would have been sent; send nothing.

    The messages that the stored alerts make under the channels' rules of today, one per channel and candle time. json
    prints one message per line, as a webhook gets it.
    """
    pipeline = Pipeline.from_settings(load_settings())
    chosen = [one for one in pipeline.policy.channels if channel in (None, one.name)]
    if not chosen:
        names = ", ".join(one.name for one in pipeline.policy.channels)
        raise click.BadParameter(f"{channel!r} is no channel; there are: {names}", param_hint="--channel")
    about, count = pipeline.sender.about, 0
    for one in granularity:
        window = Window(opened_since(one, since), until or pipeline.clock())
        with pipeline.store.reading(Deadline.after(_LIMIT), "previewing alerts") as session:
            messages = list(would_be_sent(session, one, window, chosen, about))
        for to, digest, at in messages:
            _print_message(to.name, digest, at, form)
        count += len(messages)
    if form != "json":
        click.echo(f"{console.count(count, 'message')} would have been sent", err=True)


def _print_message(channel: str, digest: Digest, at: datetime, form: str) -> None:
    if form == "json":
        click.echo(render.as_json(digest).decode())
        return
    put_off = f", behind its quiet hours, {console.minute(at)} UTC" if at > digest.created_at else ""
    body = render.text(digest) if form == "text" else render.markdown(digest)
    made = console.minute(digest.created_at)
    click.echo(f"--- {made} UTC to {channel}{put_off}: {render.title(digest)}\n\n{body}\n")


@alerts.command
def deliver() -> None:
    """Send what is due.

    A pass sends what it queued, and a running spike what was put off; this is for neither. The exit code is 1 when a
    channel did not take something.
    """
    pipeline = Pipeline.from_settings(load_settings())
    outcomes = pipeline.sender.deliver(Deadline.after(_DELIVERY_LIMIT))
    for outcome in outcomes:
        click.echo(str(outcome))
    if not outcomes:
        click.echo("nothing is due")
    failed = sum(outcome.status != "sent" for outcome in outcomes)
    if failed:
        raise Failure(f"{console.count(failed, 'message')} did not arrive; what waits is tried again")


@alerts.command
@click.option("--resend", is_flag=True, help="Queue them again, in their channel's order.")
@click.option("--discard", is_flag=True, help="Let them be: they are no trouble any more.")
@click.option("--channel", "-c", help="Only this channel's; all unless given.")
def dead(*, resend: bool, discard: bool, channel: str | None) -> None:
    """List the messages that were given up; try them again, or let them be."""
    if resend and discard:
        raise click.UsageError("say --resend or --discard")
    pipeline = Pipeline.from_settings(load_settings())
    with pipeline.store.reading(Deadline.after(_LIMIT), "dead letters") as session:
        found = session.outbox.dead(channel)
    if not found:
        click.echo("no dead letters")
        return
    console.out().print(_dead(found))
    if not (resend or discard):
        return
    with pipeline.store.writing(Deadline.after(_LIMIT), "dead letters") as session, session.transaction():
        session.outbox.claim()
        found = session.outbox.dead(channel)
        if discard:
            letters.discard(session, found)
            click.echo(f"{console.count(len(found), 'message')} let be")
        else:
            again = letters.resend(session, found, pipeline.clock())
            click.echo(f"{console.count(again, 'message')} queued again; `spike alerts deliver` sends them at once")


def _dead(found: Sequence[Delivery]) -> Table:
    table = console.plain_table(("made (UTC)", False), ("channel", False), ("tries", True))
    table.add_column("message", overflow="fold")
    table.add_column("why", overflow="fold")
    for one in found:
        title = render.title(render.from_json(one.body))
        table.add_row(console.minute(one.created_at), one.channel, str(one.attempts), title, one.error or "")
    return table


@alerts.command
@click.argument("instrument", required=False, metavar="[INSTRUMENT|all]")
@click.option("--for", "length", type=LengthType(), help="How long: 30m, 2h, 3d.")
@click.option("--end", is_flag=True, help="End a silence.")
def silence(instrument: str | None, length: timedelta | None, *, end: bool) -> None:
    """Keep an instrument quiet for a while; without one, list what is quiet.

    Its alerts are stored as always, and nobody is told. Silence all, and nobody is told of anything but trouble with
    spike itself.
    """
    pipeline = Pipeline.from_settings(load_settings())
    now = pipeline.clock()
    if instrument is not None:
        if (length is None) != end:
            raise click.UsageError("say --for how long, or --end")
        name = EVERYTHING if instrument.lower() == "all" else InstrumentType().convert(instrument, None, None)
        until = now if length is None else now + length
        with pipeline.store.writing(Deadline.after(_LIMIT), "a silence") as session, session.transaction():
            session.outbox.silence(name, now, until)
    with pipeline.store.reading(Deadline.after(_LIMIT), "silences") as session:
        silences = session.outbox.silences(now)
    for name, until in silences.items():
        click.echo(f"{'all' if name == EVERYTHING else name} until {console.minute(until)} UTC")
    if not silences:
        click.echo("nothing is silenced")
