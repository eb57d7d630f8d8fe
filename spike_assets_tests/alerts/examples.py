"""Digests that look like real ones: what the golden files show, and what the tests change a little."""

from datetime import UTC, datetime, timedelta

from spike_assets.alerts.digest import (
    Digest,
    Entry,
    Group,
    Missed,
    Notice,
    PatternCompletion,
    PsychologicalLevel,
    Reasons,
    VolumeSpike,
)

TIME = datetime(2026, 11, 20, 14, tzinfo=UTC)
CLOSED = TIME + timedelta(hours=1)
PUBLIC = "https://spike.example.com"
FIRST_ID = "5f0c1d2e-8a3b-5c4d-9e6f-7a8b9c0d1e2f"


def chart(instrument: str, event_id: str) -> str:
    return f"{PUBLIC}/?instrument={instrument}&granularity=H1&event={event_id}"


EUR_USD = Entry(
    alert_id="a-1",
    event_id="0b7e7a34-6a1c-5d2e-8f3a-1b2c3d4e5f60",
    status="new",
    instrument="EUR_USD",
    level="1.16508",
    atr="0.00123",
    atr_pips="12.3",
    rebound_atr=-0.824,
    pattern="HH",
    pattern_run=2,
    distance_atr=0.41,
    relative_volume=1.24,
    reasons=Reasons(
        psychological_level=PsychologicalLevel(
            tier="minor", number="1.1650", pips="0.8", position="swept", chance=0.05
        ),
    ),
    link=chart("EUR_USD", "0b7e7a34-6a1c-5d2e-8f3a-1b2c3d4e5f60"),
)
GBP_USD = Entry(
    alert_id="a-2",
    event_id="1c8f8b45-7b2d-5e3f-9a4b-2c3d4e5f6071",
    status="new",
    instrument="GBP_USD",
    level="1.29997",
    atr="0.00181",
    atr_pips="18.1",
    rebound_atr=-1.1,
    pattern="LH",
    pattern_run=3,
    distance_atr=-0.35,
    relative_volume=3.08,
    reasons=Reasons(
        psychological_level=PsychologicalLevel(
            tier="super", number="1.3000", pips="-0.3", position="stalled", chance=0.074
        ),
        volume_spike=VolumeSpike(relative_volume=3.08, volume_z=4.21),
        pattern_completion=PatternCompletion(pattern="LH-LH-LH"),
    ),
    link=chart("GBP_USD", "1c8f8b45-7b2d-5e3f-9a4b-2c3d4e5f6071"),
)
CHF_JPY = Entry(
    alert_id="a-3",
    event_id="2d9a9c56-8c3e-5f4a-ab5c-3d4e5f607182",
    status="new",
    instrument="CHF_JPY",
    level="181.734",
    atr="0.214",
    atr_pips="21.4",
    rebound_atr=-0.61,
    pattern=None,
    pattern_run=None,
    distance_atr=None,
    relative_volume=2.5,
    reasons=Reasons(volume_spike=VolumeSpike(relative_volume=2.5, volume_z=3.41)),
    link=chart("CHF_JPY", "2d9a9c56-8c3e-5f4a-ab5c-3d4e5f607182"),
)
MEMBERS = ("AUD_JPY", "CHF_JPY", "EUR_USD", "GBP_CHF", "GBP_PLN", "NZD_JPY", "USD_CZK", "USD_HUF", "USD_MXN", "USD_PLN",
           "USD_RON", "USD_SEK", "USD_TRY", "USD_ZAR")  # fmt: skip

PLAIN = Digest(
    digest_id=FIRST_ID,
    kind="digest",
    created_at=CLOSED + timedelta(seconds=4),
    source="oanda",
    granularity="H1",
    time=TIME,
    closed_at=CLOSED,
    entries=(GBP_USD, EUR_USD, CHF_JPY),
    link=f"{PUBLIC}/?granularity=H1",
)
GROUP = PLAIN.model_copy(
    update={
        "group": Group(alert_id="a-4", status="new", members=MEMBERS, of=26, currency="USD as base", sharing=8),
        "entries": (
            EUR_USD.model_copy(update={"group": tuple(name for name in MEMBERS if name != "EUR_USD")}),
            CHF_JPY.model_copy(update={"group": tuple(name for name in MEMBERS if name != "CHF_JPY")}),
        ),
    }
)
SUPPLEMENT = PLAIN.model_copy(
    update={
        "digest_id": "77aa01b2-1111-5222-8333-944455566677",
        "kind": "supplement",
        "follows": FIRST_ID,
        "created_at": CLOSED + timedelta(minutes=20),
        "entries": (
            GBP_USD,
            CHF_JPY.model_copy(
                update={
                    "status": "updated",
                    "relative_volume": 2.75,
                    "reasons": Reasons(volume_spike=VolumeSpike(relative_volume=2.75, volume_z=3.66)),
                }
            ),
        ),
    }
)
CORRECTION = PLAIN.model_copy(
    update={
        "digest_id": "88bb12c3-1111-5222-8333-944455566677",
        "kind": "correction",
        "follows": FIRST_ID,
        "created_at": CLOSED + timedelta(hours=26),
        "entries": (EUR_USD.model_copy(update={"status": "withdrawn"}),),
    }
)
SUMMARY = Digest(
    digest_id="99cc23d4-1111-5222-8333-944455566677",
    kind="summary",
    created_at=CLOSED + timedelta(seconds=9),
    source="oanda",
    granularity="H1",
    missed=Missed(
        alerts=340,
        first=TIME - timedelta(days=12),
        last=TIME,
        rules={"psychological_level": 108, "volume_spike": 47, "pattern_completion": 201, "simultaneous": 9},
        instruments={"*": 9, "EUR_USD": 19, "GBP_USD": 22, "CHF_JPY": 22, "USD_TRY": 15, "EUR_PLN": 14, "AUD_JPY": 9},
    ),
    link=f"{PUBLIC}/?granularity=H1",
)
OPERATIONAL = Digest(
    digest_id="aadd34e5-1111-5222-8333-944455566677",
    kind="operational",
    created_at=TIME + timedelta(minutes=12),
    source="oanda",
    notice=Notice(
        key="source",
        text="OANDA refuses the token (401). No new candles until SPIKE_OANDA_TOKEN is right; spike tries again.",
        since=TIME + timedelta(minutes=5),
    ),
    link=PUBLIC,
)
RECOVERY = OPERATIONAL.model_copy(
    update={
        "digest_id": "bbee45f6-1111-5222-8333-944455566677",
        "kind": "recovery",
        "created_at": TIME + timedelta(hours=3, minutes=10),
    }
)
TEST = PLAIN.model_copy(
    update={
        "digest_id": "ccff56a7-1111-5222-8333-944455566677",
        "kind": "test",
        "entries": (EUR_USD,),
    }
)
SIMULATED = PLAIN.model_copy(
    update={
        "digest_id": "ddaa67b8-1111-5222-8333-944455566677",
        "source": "simulated",
        "simulated": True,
        "granularity": "D",
        "time": datetime(2026, 11, 19, 22, tzinfo=UTC),
        "closed_at": datetime(2026, 11, 20, 22, tzinfo=UTC),
        "entries": (CHF_JPY.model_copy(update={"link": None}),),
        "link": None,
    }
)

GOLDEN: dict[str, tuple[Digest, int | None]] = {
    "plain": (PLAIN, None),
    "group": (GROUP, None),
    "supplement": (SUPPLEMENT, None),
    "correction": (CORRECTION, None),
    "summary": (SUMMARY, None),
    "operational": (OPERATIONAL, None),
    "recovery": (RECOVERY, None),
    "test": (TEST, None),
    "simulated": (SIMULATED, None),
    "shortened": (PLAIN, 280),
}
"""By the name of its files: a digest, and the limit that it is rendered with."""
