-- Erasure and scores on demand: docs/guides/privacy.md.

-- Who was erased, as salted hashes: a lead that a replica still holds, or brings back, is known again without its id.
CREATE TABLE leadscore.erasure_salt (
    is_only_row  boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    salt         text NOT NULL DEFAULT gen_random_uuid()::text || gen_random_uuid()::text
);
INSERT INTO leadscore.erasure_salt DEFAULT VALUES;

CREATE TABLE leadscore.erased_subject (
    subject_sha256  text PRIMARY KEY,
    erased_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

GRANT SELECT ON leadscore.erasure_salt, leadscore.erased_subject TO crm_reader;

-- Certificates: that somebody was erased, where and how much; none is changed or deleted.
CREATE TABLE scoring.erasure (
    erasure_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    erased_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    erased_by       text NOT NULL DEFAULT session_user,
    subject_sha256  text NOT NULL,
    n_ids           integer NOT NULL,
    counts          jsonb NOT NULL,
    not_reached     jsonb NOT NULL DEFAULT '[]'
);

-- Scores asked for between two nights, beside the ones in force: never mixed with a night's run.
CREATE TABLE scoring.lead_rescore (
    rescore_id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_key              text NOT NULL,
    lead_id                text NOT NULL,
    status                 text NOT NULL,
    probability            double precision CHECK (probability > 0 AND probability < 1),
    score                  smallint CHECK (score BETWEEN 0 AND 100),
    grade                  text,
    reasons                jsonb,
    reason_1               text,
    reason_2               text,
    reason_3               text,
    published_run_id       bigint NOT NULL,
    published_status       text,
    published_probability  double precision,
    published_score        smallint,
    published_grade        text,
    model_version          text NOT NULL,
    mapping_version        text,
    data_as_of             timestamptz NOT NULL,
    scored_at              timestamptz NOT NULL
);

CREATE INDEX lead_rescore_lead ON scoring.lead_rescore (lead_id, rescore_id DESC);

ALTER TABLE scoring.erasure OWNER TO score_writer;
ALTER TABLE scoring.lead_rescore OWNER TO score_writer;
