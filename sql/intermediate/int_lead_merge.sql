-- source.lead_merge: which lead was folded into which other lead, and since when; chains a -> b -> c give a -> c too.
-- Grain: one row per (source_id, canonical_id); canonical_id is a lead. valid_from is -infinity where no date is kept.
-- A row of source.identity_map that leads to something else than a lead (a contact on conversion) is no merge of leads.
CREATE OR REPLACE VIEW source.lead_merge AS
WITH RECURSIVE
direct AS (
    SELECT
        source_id,
        canonical_id,
        MIN(COALESCE(valid_from, '-infinity'::timestamptz)) AS valid_from
    FROM source.identity_map
    WHERE source_id <> canonical_id
    GROUP BY source_id, canonical_id

    UNION ALL

    -- merged_into_id is a current value without a date: the record's last change is the latest it can have happened
    SELECT
        lead_id AS source_id,
        merged_into_id AS canonical_id,
        COALESCE(updated_at, created_at) AS valid_from
    FROM source.lead
    WHERE merged_into_id <> lead_id
        AND NOT EXISTS (
            SELECT 1 FROM source.identity_map AS known
            WHERE known.source_id = lead.lead_id AND known.canonical_id = lead.merged_into_id
        )
),
chain AS (
    SELECT source_id, canonical_id, valid_from, 1 AS step_count FROM direct

    UNION

    SELECT
        chain.source_id,
        direct.canonical_id,
        GREATEST(chain.valid_from, direct.valid_from) AS valid_from,
        chain.step_count + 1 AS step_count
    FROM chain
    INNER JOIN direct ON direct.source_id = chain.canonical_id
    WHERE direct.canonical_id <> chain.source_id AND chain.step_count < 16   -- a merged in a circle must end
)
SELECT
    source_id,
    canonical_id,
    MIN(valid_from) AS valid_from
FROM chain
WHERE EXISTS (SELECT 1 FROM source.lead WHERE lead.lead_id = chain.canonical_id)
GROUP BY source_id, canonical_id;
