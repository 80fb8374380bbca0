-- stg_activity: dated touches known at $1 (as_of). A merged lead's activities appear for both leads; for the canonical
-- one they are known no earlier than the merge.
-- Grain: one row per (activity_id, lead_id) where problem is null.
WITH
activity AS (
    SELECT
        *,
        GREATEST(
            CASE
                WHEN occurred_precision = 'day' THEN DATE_TRUNC('day', occurred_at, 'UTC') + INTERVAL '1 day'
                ELSE occurred_at
            END,
            ingested_at
        ) AS known_at
    FROM source.activity
),
visible AS (
    SELECT activity.*, FALSE AS is_copy
    FROM activity
    WHERE (known_at < $1::timestamptz) IS NOT FALSE OR NOT ISFINITE(occurred_at) OR NOT ISFINITE(ingested_at)
),
for_canonical_lead AS (
    SELECT visible.*, lead_merge.canonical_id, lead_merge.valid_from
    FROM visible
    INNER JOIN source.lead_merge ON lead_merge.source_id = visible.lead_id
    WHERE lead_merge.valid_from < $1::timestamptz
),
combined AS (
    SELECT
        activity_id, lead_id, occurred_at, known_at, ingested_at, activity_type, direction, is_bot,
        duration_seconds, url_class, campaign_id, outcome, is_copy
    FROM visible

    UNION ALL

    SELECT
        activity_id, canonical_id, occurred_at, GREATEST(known_at, valid_from), ingested_at, activity_type,
        direction, is_bot, duration_seconds, url_class, campaign_id, outcome, TRUE
    FROM for_canonical_lead
),
ranked AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY activity_id, lead_id
            ORDER BY
                is_copy, known_at, occurred_at, activity_type, direction, is_bot, duration_seconds, url_class,
                campaign_id, outcome
        ) AS copy_number
    FROM combined
)
SELECT
    NULLIF(activity_id, '')::text AS activity_id,
    NULLIF(lead_id, '')::text AS lead_id,
    CASE WHEN ISFINITE(occurred_at) THEN occurred_at END AS occurred_at,
    CASE WHEN ISFINITE(known_at) THEN known_at END AS known_at,
    activity_type::text AS activity_type,
    direction::text AS direction,
    is_bot,
    duration_seconds::float8 AS duration_seconds,
    url_class::text AS url_class,
    campaign_id::text AS campaign_id,
    outcome::text AS outcome,
    CASE
        WHEN COALESCE(activity_id, '') = '' THEN 'activity_id is missing'
        WHEN COALESCE(lead_id, '') = '' THEN 'lead_id is missing'
        WHEN NOT ISFINITE(occurred_at) THEN 'occurred_at is infinite'
        WHEN NOT ISFINITE(ingested_at) THEN 'ingested_at is infinite'
        WHEN copy_number > 1 THEN 'activity_id occurs before for this lead'
    END AS problem
FROM ranked
WHERE copy_number = 1 OR NOT is_copy;   -- a copy of what the canonical lead has already is no finding
