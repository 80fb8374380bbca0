-- stg_stage: stages entered, as known at $1 (as_of).
-- Grain: one row per (lead_id, stage, entered_at) where problem is null.
WITH
stage_history AS (
    SELECT *, GREATEST(entered_at, ingested_at) AS known_at
    FROM source.stage_history
),
visible AS (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY lead_id, stage, entered_at ORDER BY known_at) AS copy_number
    FROM stage_history
    WHERE (known_at < $1::timestamptz) IS NOT FALSE OR NOT ISFINITE(entered_at) OR NOT ISFINITE(ingested_at)
)
SELECT
    NULLIF(lead_id, '')::text AS lead_id,
    NULLIF(stage, '')::text AS stage,
    CASE WHEN ISFINITE(entered_at) THEN entered_at END AS entered_at,
    CASE WHEN ISFINITE(known_at) THEN known_at END AS known_at,
    CASE
        WHEN COALESCE(lead_id, '') = '' THEN 'lead_id is missing'
        WHEN COALESCE(stage, '') = '' THEN 'stage is missing'
        WHEN NOT ISFINITE(entered_at) THEN 'entered_at is infinite'
        WHEN NOT ISFINITE(ingested_at) THEN 'ingested_at is infinite'
        WHEN copy_number > 1 THEN 'the lead entered this stage at this time before'
    END AS problem
FROM visible;
