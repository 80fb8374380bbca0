-- stg_outcome: what became of each lead, as known at $1 (as_of). A merged lead's outcome holds for the canonical lead
-- too, known no earlier than the merge.
-- Grain: one row per (lead_id, is_conversion) where problem is null: its first conversion, and its first other outcome.
-- A lead lost before it converts keeps both: were the loss dropped, only leads that stay lost would have been closed.
WITH
outcome AS (
    SELECT
        *,
        GREATEST(
            CASE
                WHEN outcome_precision = 'day' THEN DATE_TRUNC('day', outcome_at, 'UTC') + INTERVAL '1 day'
                ELSE outcome_at
            END,
            ingested_at
        ) AS known_at
    FROM source.conversion
),
visible AS (
    SELECT *
    FROM outcome
    WHERE (known_at < $1::timestamptz) IS NOT FALSE OR NOT ISFINITE(outcome_at) OR NOT ISFINITE(ingested_at)
),
combined AS (
    SELECT
        lead_id, outcome, outcome_at, known_at, ingested_at, is_conversion, amount, currency, opportunity_id,
        FALSE AS is_copy
    FROM visible

    UNION ALL

    SELECT
        lead_merge.canonical_id, outcome, outcome_at, GREATEST(known_at, valid_from), ingested_at, is_conversion,
        amount, currency, opportunity_id, TRUE
    FROM visible
    INNER JOIN source.lead_merge ON lead_merge.source_id = visible.lead_id
    WHERE lead_merge.valid_from < $1::timestamptz
),
examined AS (
    SELECT
        *,
        CASE
            WHEN COALESCE(lead_id, '') = '' THEN 'lead_id is missing'
            WHEN COALESCE(outcome, '') = '' THEN 'outcome is missing'
            WHEN outcome_at IS NULL THEN 'outcome_at is missing'
            WHEN NOT ISFINITE(outcome_at) THEN 'outcome_at is infinite'
            WHEN NOT ISFINITE(ingested_at) THEN 'ingested_at is infinite'
        END AS problem
    FROM combined
),
ranked AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY lead_id, is_conversion, problem IS NULL
            ORDER BY outcome_at, known_at, is_copy, outcome, opportunity_id, amount, currency
        ) AS outcome_number
    FROM examined
)
SELECT
    NULLIF(lead_id, '')::text AS lead_id,
    NULLIF(outcome, '')::text AS outcome,
    CASE WHEN ISFINITE(outcome_at) THEN outcome_at END AS outcome_at,
    CASE WHEN ISFINITE(known_at) THEN known_at END AS known_at,
    is_conversion,
    amount::float8 AS amount,
    currency::text AS currency,
    opportunity_id::text AS opportunity_id,
    COALESCE(problem, CASE WHEN outcome_number > 1 THEN 'an earlier outcome of this lead counts' END) AS problem
FROM ranked
WHERE NOT is_copy OR (problem IS NULL AND outcome_number = 1);
