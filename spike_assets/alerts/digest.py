"""What one message says: to a channel, about one candle time of one granularity, or about the platform itself.

A digest is made once and frozen as JSON, so that a message sent twice is the same twice. Prices are strings, with the
decimals that they are quoted in. How it looks is the business of `render`, what is put in of `compose`.
"""

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

SCHEMA_VERSION = 1
"""Of the JSON. Fields may be added; one that changes its meaning makes a new version."""

Kind = Literal["digest", "supplement", "correction", "summary", "operational", "recovery", "test"]
"""`digest` is the first message about a candle time, `supplement` what came later for it, `correction` takes back what
was said, `summary` stands for all that came while spike was away; the rest is about the platform."""

Status = Literal["new", "updated", "withdrawn"]
"""How an alert stands against what the channel was told before."""


class _Frozen(BaseModel):
    # JSON has no NaN: it would be written as null, and the digest could not be read back.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class PsychologicalLevel(_Frozen):
    """The level is at a round number.

    `pips` is its distance, positive above the number; `position` is `swept` or `stalled`, None where price closed above
    the number; `chance` is the share of all levels that would hit by accident.
    """

    tier: Literal["minor", "major", "super"]
    number: str
    pips: str
    position: Literal["swept", "stalled"] | None
    chance: float


class VolumeSpike(_Frozen):
    """Volume far above what is usual at that time of the week."""

    relative_volume: float
    volume_z: float


class PatternCompletion(_Frozen):
    """The third of a run, like HH-HH-HH."""

    pattern: str


class Reasons(_Frozen):
    """Why an event is significant: at least one."""

    psychological_level: PsychologicalLevel | None = None
    volume_spike: VolumeSpike | None = None
    pattern_completion: PatternCompletion | None = None


class Entry(_Frozen):
    """An instrument's alert.

    Attributes
    ----------
    level, atr
        Prices, as strings; `atr_pips` is the ATR in pips.
    rebound_atr
        close - high of the candle, in ATRs (negative).
    pattern, pattern_run, distance_atr
        `HH` or `LH`, how many in a row, and the level's distance from the one before, in ATRs; None on a first event.
    relative_volume
        Volume against what is usual in that slot of the week; None where too little is known.
    group
        The other instruments of its group, where there is one.
    link
        The chart, at the event; None where SPIKE_PUBLIC_URL is not set.
    """

    alert_id: str
    event_id: str
    status: Status
    instrument: str
    level: str
    atr: str
    atr_pips: str
    rebound_atr: float
    pattern: str | None
    pattern_run: int | None
    distance_atr: float | None
    relative_volume: float | None
    reasons: Reasons
    group: tuple[str, ...] = ()
    link: str | None = None


class Group(_Frozen):
    """Many instruments that met resistance at once.

    `of` is how many had a candle at that time; `currency` is what more than half of the members share (`JPY as quote`),
    `sharing` how many do.
    """

    alert_id: str
    status: Status
    members: tuple[str, ...]
    of: int
    currency: str | None
    sharing: int


class Missed(_Frozen):
    """What came while spike was away: how many alerts, by rule and by instrument, from which candle time to which."""

    alerts: int
    first: AwareDatetime
    last: AwareDatetime
    rules: dict[str, int]
    instruments: dict[str, int]


class Notice(_Frozen):
    """About the platform itself: what is wrong, or was, and since when. `key` is the same until it has cleared."""

    key: str
    text: str
    since: AwareDatetime


class Digest(_Frozen):
    """One message.

    Attributes
    ----------
    digest_id
        The same however often it is sent: whoever receives it twice can tell.
    follows
        The digest that this one supplements or corrects.
    source, simulated
        Where the candles come from; a simulated market is named as such wherever it is shown.
    granularity, time, closed_at
        Of the candle; None where the message is about something else. UTC.
    created_at
        When the message was made, UTC.
    """

    schema_version: int = SCHEMA_VERSION
    digest_id: str
    kind: Kind
    follows: str | None = None
    created_at: AwareDatetime
    source: str
    simulated: bool = False
    granularity: str | None = None
    time: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None
    group: Group | None = None
    entries: tuple[Entry, ...] = ()
    missed: Missed | None = None
    notice: Notice | None = None
    link: str | None = None
