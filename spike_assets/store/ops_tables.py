"""The tables of the schema `ops`, declared as data like those of a granularity in `tables`."""

from spike_assets.store.tables import Column, Table

_GRANULARITY = Column("granularity", "text", "`H1`, `H4`, `D` or `W`")
_NEVER = "before the first"
_IDLE = "when none is under way"
_UNKNOWN = "unless it went well"

PROVENANCE = Table(
    "provenance",
    "What the numbers of this store mean. One row; a pass with other settings is refused.",
    (
        Column("id", "int", "1"),
        Column("source", "text", "where its candles come from"),
        Column("price", "text", "`mid`, `bid` or `ask`"),
        Column("atr_period", "int", "Wilder's period, candles"),
        Column("formula_version", "int", "`core.FORMULA_VERSION` of its rows"),
    ),
    key=("id",),
)

STATE = Table(
    "processing_state",
    "Where each granularity stands. A lost row is rebuilt from the newest candle.",
    (
        _GRANULARITY,
        Column("last_processed", "time", "end of the last successful pass's window", null=_NEVER),
        Column("last_run", "time", "when the last pass that has ended began", null=_NEVER),
        Column("last_success", "time", "when the last successful pass began", null=_NEVER),
        Column("consecutive_failures", "int", "failed passes since the last successful one"),
        Column("total_events_detected", "int", "rows of `events`"),
        Column("running_pass", "text", "id of the pass under way that began last", null=_IDLE),
        Column("running_trigger", "text", "what started it", null=_IDLE),
        Column("running_since", "time", "when it began", null=_IDLE),
        Column("running_until", "time", "when it has ended, or crashed", null=_IDLE),
        Column("running_process", "text", "`host/pid` of its process", null=_IDLE),
    ),
    key=("granularity",),
)

PASSES = Table(
    "passes",
    "One row per pass.",
    (
        Column("pass_id", "uuid", "random"),
        _GRANULARITY,
        Column("trigger", "text", "`schedule`, `backfill`, `reconcile`, `ui`, `cli` or `function`"),
        Column("window_start", "time", "the candles it was about: from", null=_UNKNOWN),
        Column("window_end", "time", "the candles it was about: before", null=_UNKNOWN),
        Column("started_at", "time", "when it began"),
        Column("ended_at", "time", "when it ended; of a crashed one, when that was noticed; else when it has to have"),
        Column("status", "text", "`running`, `success`, `no_new_data`, `failed` or `crashed`"),
        Column("candles", "int", "candles stored or corrected"),
        Column("events", "int", "events found"),
        Column("quarantined", "int", "candles put into quarantine"),
        Column("stages", "text", "JSON: milliseconds of each stage"),
        Column("error", "text", "why it did not end well, one line", null="when it did"),
        Column("process", "text", "`host/pid` of its process", null="of passes before that was noted"),
    ),
    key=("pass_id",),
)

PENDING = Table(
    "pending",
    "What changed upstream of a stage and was not worked off yet.",
    (
        _GRANULARITY,
        Column("stage", "text", "the stage that has to look at it: `atr`, `events` or `features`"),
        Column("instrument", "text", "whose rows changed"),
        Column("from_time", "time", "open of the first candle that changed"),
        Column("to_time", "time", "open of the last candle that changed"),
        Column("since_time", "time", "where the change began, of which this mark is the rest"),
    ),
    key=("granularity", "stage", "instrument", "from_time"),
)

UNAVAILABLE = Table(
    "instruments",
    "Instruments that the source does not know at a granularity; asked for again once a day.",
    (
        _GRANULARITY,
        Column("instrument", "text", "currency pair"),
        Column("unavailable_since", "time", "when that was noticed first"),
        Column("asked_at", "time", "when it was asked for last"),
        Column("reason", "text", "the source's own words"),
    ),
    key=("granularity", "instrument"),
)

PIPS = Table(
    "pips",
    "What a pip is, where the broker's own instrument list says it.",
    (
        Column("instrument", "text", "currency pair"),
        Column("pip_location", "int", "power of ten of one pip"),
    ),
    key=("instrument",),
)

BACKFILLS = Table(
    "backfills",
    "How far an unfinished backfill has come.",
    (
        _GRANULARITY,
        Column("from_time", "time", "where it began"),
        Column("instruments", "text", "SHA-256 of the instruments it is about"),
        Column("done_until", "time", "everything before is done"),
    ),
    key=("granularity", "from_time", "instruments"),
)

OPS_TABLES: dict[str, Table] = {
    table.name: table for table in (STATE, PASSES, PENDING, UNAVAILABLE, PIPS, PROVENANCE, BACKFILLS)
}
"""The tables of the schema `ops`."""
