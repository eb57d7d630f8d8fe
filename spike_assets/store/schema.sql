-- All that the store keeps, as numbered migrations. What has been released is never edited: add a migration.
-- A migration is additive (tables, columns that may be empty or have a default, marks), so that the previous release
-- still runs on the newer schema. One that cannot be says why here, and docs/operations.md what to do.
-- Every statement is understood by DuckDB and by Postgres. No secondary indexes: DuckDB can lose them at a crash.
-- A line that ends in `-- natural key` is left out on DuckDB, whose checkpoints write the whole index anew, so that a
-- pass would slow down as history grows (docs/decisions.md); there the store itself refuses to repeat a key.
-- Behind `-- for each granularity` the text is run once per granularity, {schema} being h1, h4, d and w.

-- migration 1: candles and all that follows from them
CREATE SCHEMA IF NOT EXISTS ops;

-- What this store means. One row; a pass with other settings is refused.
CREATE TABLE ops.provenance (
    id              BIGINT NOT NULL PRIMARY KEY,
    source          VARCHAR NOT NULL,
    price           VARCHAR NOT NULL,
    atr_period      BIGINT NOT NULL,
    formula_version BIGINT NOT NULL
);

-- Where each granularity stands. Truth is in the data tables: a lost row is rebuilt from the newest candle.
CREATE TABLE ops.processing_state (
    granularity           VARCHAR NOT NULL PRIMARY KEY,
    last_processed        TIMESTAMPTZ,
    last_run              TIMESTAMPTZ,
    last_success          TIMESTAMPTZ,
    consecutive_failures  BIGINT NOT NULL,
    total_events_detected BIGINT NOT NULL
);

-- One row per pass.
CREATE TABLE ops.passes (
    pass_id      UUID NOT NULL PRIMARY KEY,
    granularity  VARCHAR NOT NULL,
    trigger      VARCHAR NOT NULL,
    window_start TIMESTAMPTZ,
    window_end   TIMESTAMPTZ,
    started_at   TIMESTAMPTZ NOT NULL,
    ended_at     TIMESTAMPTZ NOT NULL,
    status       VARCHAR NOT NULL,
    candles      BIGINT NOT NULL,
    events       BIGINT NOT NULL,
    quarantined  BIGINT NOT NULL,
    stages       VARCHAR NOT NULL,
    error        VARCHAR
);

-- What changed upstream of a stage and was not worked off yet.
CREATE TABLE ops.pending (
    granularity VARCHAR NOT NULL,
    stage       VARCHAR NOT NULL,
    instrument  VARCHAR NOT NULL,
    from_time   TIMESTAMPTZ NOT NULL,
    to_time     TIMESTAMPTZ NOT NULL,
    since_time  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (granularity, stage, instrument, from_time)
);

-- Instruments that the source does not know at a granularity.
CREATE TABLE ops.instruments (
    granularity       VARCHAR NOT NULL,
    instrument        VARCHAR NOT NULL,
    unavailable_since TIMESTAMPTZ NOT NULL,
    asked_at          TIMESTAMPTZ NOT NULL,
    reason            VARCHAR NOT NULL,
    PRIMARY KEY (granularity, instrument)
);

-- How far an unfinished `spike backfill` has come.
CREATE TABLE ops.backfills (
    granularity VARCHAR NOT NULL,
    from_time   TIMESTAMPTZ NOT NULL,
    instruments VARCHAR NOT NULL,
    done_until  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (granularity, from_time, instruments)
);

-- for each granularity
CREATE SCHEMA IF NOT EXISTS {schema};

CREATE TABLE {schema}.candles (
    instrument VARCHAR NOT NULL,
    time       TIMESTAMPTZ NOT NULL,
    open       DOUBLE PRECISION NOT NULL,
    high       DOUBLE PRECISION NOT NULL,
    low        DOUBLE PRECISION NOT NULL,
    close      DOUBLE PRECISION NOT NULL,
    volume     BIGINT NOT NULL,
    fetched_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (instrument, time) -- natural key
);

CREATE TABLE {schema}.atr (
    instrument VARCHAR NOT NULL,
    time       TIMESTAMPTZ NOT NULL,
    true_range DOUBLE PRECISION,
    atr        DOUBLE PRECISION,
    suspect    BOOLEAN NOT NULL,
    PRIMARY KEY (instrument, time) -- natural key
);

CREATE TABLE {schema}.events (
    instrument  VARCHAR NOT NULL,
    time        TIMESTAMPTZ NOT NULL,
    event_id    UUID NOT NULL,
    closed_at   TIMESTAMPTZ NOT NULL,
    level       DOUBLE PRECISION NOT NULL,
    atr         DOUBLE PRECISION NOT NULL,
    volume      BIGINT NOT NULL,
    rebound     DOUBLE PRECISION NOT NULL,
    rebound_atr DOUBLE PRECISION NOT NULL,
    day_of_week BIGINT NOT NULL,
    hour_of_day BIGINT NOT NULL,
    suspect     BOOLEAN NOT NULL,
    PRIMARY KEY (instrument, time) -- natural key
);

CREATE TABLE {schema}.features (
    instrument                  VARCHAR NOT NULL,
    time                        TIMESTAMPTZ NOT NULL,
    distance                    DOUBLE PRECISION,
    distance_atr                DOUBLE PRECISION,
    distance_velocity           DOUBLE PRECISION,
    pattern                     VARCHAR,
    pattern_run                 BIGINT,
    pattern_3                   VARCHAR,
    pattern_4                   VARCHAR,
    pattern_5                   VARCHAR,
    pattern_6                   VARCHAR,
    hours_since_previous        DOUBLE PRECISION,
    candles_since_previous      BIGINT,
    frequency                   VARCHAR,
    volume_roc                  DOUBLE PRECISION,
    volume_roc_change           DOUBLE PRECISION,
    volume_trend                VARCHAR,
    relative_volume             DOUBLE PRECISION,
    volume_z                    DOUBLE PRECISION,
    resistances_10              BIGINT NOT NULL,
    resistances_20              BIGINT NOT NULL,
    resistances_30              BIGINT NOT NULL,
    resistances_50              BIGINT NOT NULL,
    sequence_last               DOUBLE PRECISION,
    sequence_count              BIGINT NOT NULL,
    sequence_mean               DOUBLE PRECISION,
    sequence_std                DOUBLE PRECISION,
    sequence_change             DOUBLE PRECISION,
    sequence_change_rate        DOUBLE PRECISION,
    sequence_final_velocity     DOUBLE PRECISION,
    sequence_acceleration       DOUBLE PRECISION,
    sequence_curvature          DOUBLE PRECISION,
    sequence_jerk               DOUBLE PRECISION,
    sequence_is_accelerating    BOOLEAN,
    sequence_is_geometric_decay BOOLEAN,
    sequence_urgency            BIGINT,
    sequence_confidence         DOUBLE PRECISION,
    PRIMARY KEY (instrument, time) -- natural key
);

CREATE TABLE {schema}.quarantine (
    instrument VARCHAR NOT NULL,
    time       TIMESTAMPTZ NOT NULL,
    reason     VARCHAR NOT NULL,
    open       DOUBLE PRECISION,
    high       DOUBLE PRECISION,
    low        DOUBLE PRECISION,
    close      DOUBLE PRECISION,
    volume     DOUBLE PRECISION,
    fetched_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (instrument, time, reason)
);

-- As of now, rather than as of an event: how each instrument stands.
CREATE VIEW {schema}.now AS
WITH ranked AS (
    SELECT instrument, time, ROW_NUMBER() OVER (PARTITION BY instrument ORDER BY time DESC) AS age
    FROM {schema}.candles
), newest AS (
    SELECT instrument, MAX(time) AS time FROM {schema}.events GROUP BY instrument
)
SELECT
    ranked.instrument,
    MAX(event.time) AS last_event,
    MAX(event.level) AS last_level,
    EXTRACT(EPOCH FROM (now() - MAX(event.closed_at))) / 3600 AS hours_since_last_event,
    CAST(CASE WHEN MAX(event.time) IS NULL THEN NULL ELSE SUM(CASE WHEN ranked.time > newest.time THEN 1 ELSE 0 END) END
        AS BIGINT) AS candles_since_last_event,
    CAST(SUM(CASE WHEN ranked.age <= 30 AND counted.time IS NOT NULL THEN 1 ELSE 0 END) AS BIGINT) AS resistances_30
FROM ranked
LEFT JOIN newest ON newest.instrument = ranked.instrument
LEFT JOIN {schema}.events AS event ON event.instrument = newest.instrument AND event.time = newest.time
LEFT JOIN {schema}.events AS counted ON counted.instrument = ranked.instrument AND counted.time = ranked.time
GROUP BY ranked.instrument;

-- migration 2: a pass is known from its start on, and pips as a broker tells them
ALTER TABLE ops.passes ADD COLUMN process VARCHAR;
ALTER TABLE ops.processing_state ADD COLUMN running_pass VARCHAR;
ALTER TABLE ops.processing_state ADD COLUMN running_trigger VARCHAR;
ALTER TABLE ops.processing_state ADD COLUMN running_since TIMESTAMPTZ;
ALTER TABLE ops.processing_state ADD COLUMN running_until TIMESTAMPTZ;
ALTER TABLE ops.processing_state ADD COLUMN running_process VARCHAR;

-- Where the broker's own instrument list says what a pip is.
CREATE TABLE ops.pips (
    instrument   VARCHAR NOT NULL PRIMARY KEY,
    pip_location BIGINT NOT NULL
);

-- migration 3: alerts, and who was told of them
ALTER TABLE ops.provenance ADD COLUMN simultaneous_share DOUBLE PRECISION;

-- Whether anybody was there to be told. Backfills and reconciles are not.
ALTER TABLE ops.processing_state ADD COLUMN live_since TIMESTAMPTZ;
UPDATE ops.processing_state SET live_since = (
    SELECT MIN(p.started_at) FROM ops.passes AS p
    WHERE p.granularity = processing_state.granularity AND p.status IN ('success', 'no_new_data')
    AND p.trigger NOT IN ('backfill', 'reconcile')
);

-- Round numbers of instruments that none are declared for: those of the oldest stored close.
CREATE TABLE ops.grids (
    granularity  VARCHAR NOT NULL,
    instrument   VARCHAR NOT NULL,
    priced_at    TIMESTAMPTZ NOT NULL,
    pip_location BIGINT NOT NULL,
    minor_ticks  BIGINT NOT NULL,
    major_ticks  BIGINT NOT NULL,
    super_ticks  BIGINT NOT NULL,
    PRIMARY KEY (granularity, instrument)
);

-- What each channel is to be told, and was told, of each alert.
CREATE TABLE ops.outbox (
    channel     VARCHAR NOT NULL,
    alert_id    UUID NOT NULL,
    granularity VARCHAR NOT NULL,
    instrument  VARCHAR NOT NULL,
    time        TIMESTAMPTZ NOT NULL,
    status      VARCHAR NOT NULL,
    queued_at   TIMESTAMPTZ NOT NULL,
    said        VARCHAR,
    delivery_id VARCHAR,
    PRIMARY KEY (channel, alert_id)
);

-- Messages, frozen. In the order of their numbers per channel.
CREATE TABLE ops.deliveries (
    delivery_id     UUID NOT NULL PRIMARY KEY,
    channel         VARCHAR NOT NULL,
    number          BIGINT NOT NULL,
    kind            VARCHAR NOT NULL,
    granularity     VARCHAR,
    time            TIMESTAMPTZ,
    body            VARCHAR NOT NULL,
    status          VARCHAR NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    tried_since     TIMESTAMPTZ NOT NULL,
    attempts        BIGINT NOT NULL,
    next_attempt_at TIMESTAMPTZ NOT NULL,
    sent_at         TIMESTAMPTZ,
    error           VARCHAR
);

-- Instruments that nobody wants to hear of for a while.
CREATE TABLE ops.silences (
    instrument VARCHAR NOT NULL PRIMARY KEY,
    since_time TIMESTAMPTZ NOT NULL,
    until_time TIMESTAMPTZ NOT NULL
);

-- What is wrong with the platform itself, and was told of, until it clears.
CREATE TABLE ops.incidents (
    incident   VARCHAR NOT NULL PRIMARY KEY,
    text       VARCHAR NOT NULL,
    since_time TIMESTAMPTZ NOT NULL
);

-- for each granularity
CREATE TABLE {schema}.alerts (
    instrument VARCHAR NOT NULL,
    time       TIMESTAMPTZ NOT NULL,
    alert_id   UUID NOT NULL,
    event_id   UUID,
    closed_at  TIMESTAMPTZ NOT NULL,
    level      DOUBLE PRECISION,
    rules      VARCHAR NOT NULL,
    reasons    VARCHAR NOT NULL,
    members    VARCHAR,
    PRIMARY KEY (instrument, time) -- natural key
);

-- What was stored before there were alerts is worked through by the next pass.
INSERT INTO ops.pending (granularity, stage, instrument, from_time, to_time, since_time)
SELECT UPPER('{schema}'), 'alerts', instrument, MIN(time), MAX(time), MIN(time) FROM {schema}.candles GROUP BY instrument;

-- migration 4: which alerts somebody has seen
CREATE TABLE ops.acknowledged (
    alert_id        UUID NOT NULL PRIMARY KEY,
    acknowledged_at TIMESTAMPTZ NOT NULL
);
