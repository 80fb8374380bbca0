-- What the monitors found each night, what they remember between nights, and what people were told.
-- Every column is described in docs/guides/monitoring.md.

CREATE TABLE scoring.report_drift (
    model_key    text NOT NULL,
    as_of_date   date NOT NULL,
    monitor      text NOT NULL CHECK (monitor IN ('T1', 'T2', 'T3', 'T4', 'T5')),
    subject      text NOT NULL,
    statistic    double precision NOT NULL,
    threshold    double precision NOT NULL,
    evidence     double precision NOT NULL,
    effect       double precision NOT NULL,
    fired        boolean NOT NULL,
    action       text NOT NULL,
    words        text NOT NULL,
    details      jsonb NOT NULL DEFAULT '{}',
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model_key, as_of_date, monitor, subject)
);

-- A night starts from the newest state of an earlier date and writes its own: a rerun starts from the same one.
CREATE TABLE scoring.monitor_state (
    model_key    text NOT NULL,
    monitor      text NOT NULL,
    as_of_date   date NOT NULL,
    state        jsonb NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model_key, monitor, as_of_date)
);

CREATE TABLE scoring.page (
    page_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_key    text NOT NULL,
    cause        text NOT NULL,
    monitor      text NOT NULL,
    words        text NOT NULL,
    first_seen   date NOT NULL,
    last_seen    date NOT NULL,
    times_seen   integer NOT NULL DEFAULT 1,
    delivered    jsonb NOT NULL DEFAULT '{}',
    details      jsonb NOT NULL DEFAULT '{}',
    opened_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at  timestamptz,
    resolved_by  text
);

CREATE UNIQUE INDEX page_one_open_per_cause ON scoring.page (model_key, cause) WHERE resolved_at IS NULL;

ALTER TABLE scoring.report_drift OWNER TO score_writer;
ALTER TABLE scoring.monitor_state OWNER TO score_writer;
ALTER TABLE scoring.page OWNER TO score_writer;
