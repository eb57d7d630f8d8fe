"""Digests that hypothesis makes: every kind, with much or little in it."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from spike_assets.alerts.digest import (
    Digest,
    Entry,
    Group,
    Kind,
    Missed,
    Notice,
    PatternCompletion,
    PsychologicalLevel,
    Reasons,
    Status,
    VolumeSpike,
)

KINDS: tuple[Kind, ...] = ("digest", "supplement", "correction", "summary", "operational", "recovery", "test")
STATUSES: tuple[Status, ...] = ("new", "updated", "withdrawn")
RULES = ("psychological_level", "volume_spike", "pattern_completion", "simultaneous")

_instruments = st.from_regex(r"[A-Z]{3}_[A-Z]{3}", fullmatch=True)
_numbers = st.floats(-50, 50, allow_nan=False)
_prices = st.decimals("0.001", "9999", places=5).map(str)
_ids = st.uuids().map(str)
_links = st.none() | st.builds(
    lambda host, query: f"https://{host}/?{query}", st.from_regex(r"[a-z]{1,80}", fullmatch=True), st.text(max_size=150)
)
_times = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds it
_levels = st.builds(
    PsychologicalLevel,
    tier=st.sampled_from(["minor", "major", "super"]),
    number=_prices,
    pips=st.decimals(-99, 99, places=1).map(str),
    position=st.sampled_from(["swept", "stalled", None]),
    chance=st.floats(0, 1),
)
_entries = st.builds(
    Entry,
    alert_id=_ids,
    event_id=_ids,
    status=st.sampled_from(STATUSES),
    instrument=_instruments,
    level=_prices,
    atr=_prices,
    atr_pips=_prices,
    rebound_atr=_numbers,
    pattern=st.sampled_from([None, "HH", "LH"]),
    pattern_run=st.none() | st.integers(1, 20),
    distance_atr=st.none() | _numbers,
    relative_volume=st.none() | _numbers,
    reasons=st.builds(
        Reasons,
        psychological_level=st.none() | _levels,
        volume_spike=st.none() | st.builds(VolumeSpike, relative_volume=_numbers, volume_z=_numbers),
        pattern_completion=st.none() | st.builds(PatternCompletion, pattern=st.sampled_from(["HH-HH-HH", "LH-LH-LH"])),
    ),
    group=st.lists(_instruments, max_size=30).map(tuple),
    link=_links,
)
_groups = st.builds(
    Group,
    alert_id=_ids,
    status=st.sampled_from(STATUSES),
    members=st.lists(_instruments, min_size=3, max_size=30).map(tuple),
    of=st.integers(3, 70),
    currency=st.sampled_from([None, "JPY as quote", "USD as base"]),
    sharing=st.integers(0, 30),
)
_missed = st.builds(
    Missed,
    alerts=st.integers(1, 100_000),
    first=_times,
    last=_times,
    rules=st.dictionaries(st.sampled_from(RULES), st.integers(1, 99_999)),
    instruments=st.dictionaries(_instruments, st.integers(1, 99_999), max_size=40),
)
_notices = st.builds(Notice, key=st.text(), text=st.text(max_size=600), since=_times)


@st.composite
def digests(draw: st.DrawFn) -> Digest:
    """A digest of any kind; what no digest has together may come together here."""
    closed = draw(_times)
    about = draw(st.booleans())
    return Digest(
        digest_id=draw(_ids),
        kind=draw(st.sampled_from(KINDS)),
        follows=draw(st.none() | _ids),
        created_at=closed + timedelta(hours=draw(st.integers(0, 30))),
        source="drawn",
        simulated=draw(st.booleans()),
        granularity=draw(st.sampled_from(["H1", "H4", "D", "W"])) if about else None,
        time=closed - timedelta(hours=1) if about else None,
        closed_at=closed if about else None,
        group=draw(st.none() | _groups),
        entries=tuple(draw(st.lists(_entries, max_size=8, unique_by=lambda entry: entry.instrument))),
        missed=draw(st.none() | _missed),
        notice=draw(st.none() | _notices),
        link=draw(_links),
    )
