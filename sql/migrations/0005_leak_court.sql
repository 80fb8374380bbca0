-- The leak court: which columns of leads may become features, who says so and why. docs/guides/doctor.md explains it.

-- Every ruling ever made; none is changed or deleted.
CREATE TABLE scoring.leak_ruling (
    ruling_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    column_name  text NOT NULL,
    verdict      text NOT NULL CHECK (verdict IN ('allowed', 'suspect', 'banned')),
    reason       text NOT NULL CHECK (reason <> ''),
    reviewer     text NOT NULL CHECK (reviewer <> ''),
    is_automatic boolean NOT NULL,
    evidence     jsonb NOT NULL DEFAULT '{}',
    ruled_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX leak_ruling_column ON scoring.leak_ruling (column_name, is_automatic, ruling_id DESC);

-- What is in force: a person's last word, else the last automatic ruling.
CREATE VIEW scoring.leak_verdict AS
SELECT DISTINCT ON (column_name)
    column_name, verdict, reason, reviewer, is_automatic, evidence, ruled_at
FROM scoring.leak_ruling
ORDER BY column_name, is_automatic, ruling_id DESC;

ALTER TABLE scoring.leak_ruling OWNER TO score_writer;
ALTER VIEW scoring.leak_verdict OWNER TO score_writer;

-- What staging leaves out: a suspect stays out until a person lets it in.
CREATE VIEW leadscore.denied_column AS
SELECT column_name FROM scoring.leak_verdict WHERE verdict <> 'allowed';

GRANT USAGE ON SCHEMA leadscore TO crm_reader;
GRANT SELECT ON leadscore.denied_column TO crm_reader;

-- Where a replicated CRM lies, and which of its tables and columns were not found when its views were made.
ALTER TABLE leadscore.source
    ADD COLUMN physical_schema text,
    ADD COLUMN missing jsonb NOT NULL DEFAULT '[]';
