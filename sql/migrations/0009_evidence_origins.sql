-- Evidence over rolling origins beside that on the newest cohort: `leadscore evidence` writes it, one set of rows for all
-- origins together and one for each.

ALTER TABLE scoring.evidence ADD COLUMN origin text NOT NULL DEFAULT 'newest';
ALTER TABLE scoring.evidence
    DROP CONSTRAINT evidence_pkey,
    ADD PRIMARY KEY (model_key, model_version, origin, measure, subject);
