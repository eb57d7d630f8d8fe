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
        Column("simultaneous_share", "float", "share of instruments that makes a group", null="meaning 0.5"),
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
        Column("live_since", "time", "when the first live pass began that went well", null=_NEVER),
    ),
    key=("granularity",),
)

PASSES = Table(
    "passes",
    "One row per pass.",
    (
        Column("pass_id", "uuid", "of one that Dagster launched the id of its run, else random"),
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
        Column("stage", "text", "the stage that has to look at it: `atr`, `events`, `features` or `alerts`"),
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

GRIDS = Table(
    "grids",
    "Round numbers of instruments that none are declared for: those of the oldest stored close.",
    (
        _GRANULARITY,
        Column("instrument", "text", "currency pair"),
        Column("priced_at", "time", "open of the candle whose close they are of"),
        Column("pip_location", "int", "power of ten of one pip"),
        Column("minor_ticks", "int", "distance of minor numbers, tenths of a pip"),
        Column("major_ticks", "int", "distance of major numbers, tenths of a pip"),
        Column("super_ticks", "int", "distance of super numbers, tenths of a pip"),
    ),
    key=("granularity", "instrument"),
)

OUTBOX = Table(
    "outbox",
    "What each channel is to be told, and was told, of each alert.",
    (
        Column("channel", "text", "name of the channel"),
        Column("alert_id", "uuid", "the alert, perhaps corrected away since"),
        _GRANULARITY,
        Column("instrument", "text", "currency pair; `*` of a group"),
        Column("time", "time", "open of the candle"),
        Column("status", "text", "`pending`, `missed` (while away), `told`, `silenced` or `recomputed`"),
        Column("queued_at", "time", "when it was queued last"),
        Column("said", "text", "what was said of it last: level and rules; empty when taken back", null="not yet"),
        Column("delivery_id", "text", "the message that said it", null="not yet"),
    ),
    key=("channel", "alert_id"),
)

DELIVERIES = Table(
    "deliveries",
    "Messages as they were frozen, and what became of them.",
    (
        Column("delivery_id", "uuid", "the same however often it is sent"),
        Column("channel", "text", "name of the channel"),
        Column("number", "int", "its place in the channel's order"),
        Column("kind", "text", "`digest`, `supplement`, `correction`, `summary`, `operational` or `recovery`"),
        Column("granularity", "text", "of its candle", null="of an operational one"),
        Column("time", "time", "open of its candle", null="of a summary or an operational one"),
        Column("body", "text", "JSON (`alerts.digest.Digest`)"),
        Column("status", "text", "`waiting`, `sent`, `dead` or `discarded`"),
        Column("created_at", "time", "when it was frozen"),
        Column("tried_since", "time", "from when on it counts towards SPIKE_ALERT_DEAD_AFTER"),
        Column("attempts", "int", "how often it was tried, a try that crashed included"),
        Column("next_attempt_at", "time", "not to be tried before"),
        Column("sent_at", "time", "when it was acknowledged", null="until then"),
        Column("error", "text", "why it was not sent, one line", null="before a try failed"),
    ),
    key=("delivery_id",),
)

SILENCES = Table(
    "silences",
    "Instruments that nobody wants to hear of for a while.",
    (
        Column("instrument", "text", "currency pair; `*` for everything"),
        Column("since_time", "time", "from when on"),
        Column("until_time", "time", "until when"),
    ),
    key=("instrument",),
)

INCIDENTS = Table(
    "incidents",
    "What is wrong with the platform itself, and was told of; gone once it has cleared.",
    (
        Column("incident", "text", "what it is, like `H1 failed`"),
        Column("text", "text", "one line"),
        Column("since_time", "time", "when it was noticed"),
    ),
    key=("incident",),
)

ACKNOWLEDGED = Table(
    "acknowledged",
    "Alerts that somebody has seen on the dashboard.",
    (
        Column("alert_id", "uuid", "the alert, perhaps corrected away since"),
        Column("acknowledged_at", "time", "when it was acknowledged first"),
    ),
    key=("alert_id",),
)

OPS_TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        STATE,
        PASSES,
        PENDING,
        UNAVAILABLE,
        PIPS,
        GRIDS,
        PROVENANCE,
        BACKFILLS,
        OUTBOX,
        DELIVERIES,
        SILENCES,
        INCIDENTS,
        ACKNOWLEDGED,
    )
}
"""The tables of the schema `ops`."""
