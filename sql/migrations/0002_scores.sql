-- Scores, runs and the pointer that says which run is in force. Why it is cut this way: docs/decisions/0006-publication.md.
-- Every column is described in docs/guides/scores.md.

CREATE TABLE scoring.score_run (
    run_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_key      text NOT NULL,
    as_of_date     date NOT NULL,
    state          text NOT NULL DEFAULT 'running'
                   CHECK (state IN ('running', 'published', 'superseded', 'failed', 'killed')),
    started_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at   timestamptz,
    finished_at    timestamptz,
    model_version  text,
    row_count      bigint,
    counts         jsonb NOT NULL DEFAULT '{}',
    checks         jsonb NOT NULL DEFAULT '[]',
    inputs         jsonb NOT NULL DEFAULT '{}',
    error          text
);

CREATE UNIQUE INDEX score_run_one_published_per_date
    ON scoring.score_run (model_key, as_of_date) WHERE state = 'published';

CREATE TABLE scoring.score_pointer (
    model_key   text PRIMARY KEY,
    run_id      bigint NOT NULL REFERENCES scoring.score_run (run_id),
    as_of_date  date NOT NULL,
    moved_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    moved_by    text NOT NULL DEFAULT session_user
);

-- The last few published runs: what the pointer can point to.
CREATE TABLE scoring.lead_score_published (
    run_id               bigint NOT NULL,
    model_key            text NOT NULL,
    as_of_date           date NOT NULL,
    lead_id              text NOT NULL,
    owner_id             text,
    status               text NOT NULL,
    probability          double precision,
    score                smallint,
    grade                text,
    rank_in_owner_queue  integer,
    rank_overall         integer,
    percentile           double precision,
    expected_value       double precision,
    currency             text,
    previous_score       smallint,
    delta                smallint,
    trend                text,
    delta_data           double precision,
    delta_decay          double precision,
    delta_model          double precision,
    reasons              jsonb,
    reason_1             text,
    reason_2             text,
    reason_3             text,
    confidence           double precision,
    model_version        text NOT NULL,
    mapping_version      text,
    data_as_of           timestamptz NOT NULL,
    scored_at            timestamptz NOT NULL,
    valid_until          timestamptz,
    PRIMARY KEY (run_id, lead_id)
);

CREATE INDEX lead_score_published_queue
    ON scoring.lead_score_published (run_id, owner_id, rank_in_owner_queue);

-- Every published night, one partition per day, made when the day is published.
CREATE TABLE scoring.lead_score_history (LIKE scoring.lead_score_published)
    PARTITION BY RANGE (as_of_date);

CREATE INDEX lead_score_history_lead ON scoring.lead_score_history (lead_id, as_of_date);

CREATE VIEW scoring.lead_score AS
SELECT published.*
FROM scoring.score_pointer AS pointer
JOIN scoring.lead_score_published AS published
  ON published.run_id = pointer.run_id AND published.model_key = pointer.model_key;

ALTER TABLE scoring.score_run OWNER TO score_writer;
ALTER TABLE scoring.score_pointer OWNER TO score_writer;
ALTER TABLE scoring.lead_score_published OWNER TO score_writer;
ALTER TABLE scoring.lead_score_history OWNER TO score_writer;
ALTER VIEW scoring.lead_score OWNER TO score_writer;

CREATE VIEW sales.prioritized_leads AS
SELECT
    lead_id,
    model_key,
    owner_id,
    status,
    grade,
    score,
    probability,
    rank_in_owner_queue,
    rank_overall,
    percentile,
    expected_value,
    currency,
    previous_score,
    delta,
    trend,
    reason_1,
    reason_2,
    reason_3,
    confidence,
    as_of_date,
    scored_at,
    valid_until,
    model_version,
    run_id
FROM scoring.lead_score
WHERE score IS NOT NULL;

COMMENT ON VIEW sales.prioritized_leads IS
    'Version 1. Leads with a score in force, one row per lead and model. Columns are only ever added; docs/guides/scores.md.';

GRANT SELECT ON sales.prioritized_leads TO sales_reader;

-- The staging table of a publication is temporary.
DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO score_writer', current_database()); END $$;
