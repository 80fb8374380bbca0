-- stg_lead: leads known at $1 (as_of), with the moment they were deleted or merged away if that is known at $1.
-- Grain: one row per lead_id where problem is null. A row with a problem is counted by the reader and set aside.
WITH
lead AS (
    SELECT
        *,
        CASE
            WHEN created_precision = 'day' THEN DATE_TRUNC('day', created_at, 'UTC') + INTERVAL '1 day'
            ELSE created_at
        END AS known_at
    FROM source.lead
),
merged AS (
    SELECT source_id AS lead_id, MIN(valid_from) AS merged_at
    FROM source.lead_merge
    GROUP BY source_id
),
visible AS (
    SELECT
        lead.*,
        LEAST(
            CASE WHEN lead.is_deleted OR lead.deleted_at IS NOT NULL
                THEN COALESCE(lead.deleted_at, lead.updated_at, lead.created_at) END,
            CASE WHEN merged.merged_at IS NOT NULL THEN GREATEST(merged.merged_at, lead.created_at) END
        ) AS removed_at,
        ROW_NUMBER() OVER (
            PARTITION BY lead.lead_id
            ORDER BY lead.updated_at DESC NULLS LAST, lead.created_at, TO_JSONB(lead)::text
        ) AS copy_number
    FROM lead
    LEFT JOIN merged USING (lead_id)
    WHERE (lead.known_at < $1::timestamptz) IS NOT FALSE OR NOT ISFINITE(lead.created_at)
)
SELECT
    NULLIF(lead_id, '')::text AS lead_id,
    CASE WHEN ISFINITE(created_at) THEN created_at END AS created_at,
    CASE WHEN ISFINITE(known_at) THEN known_at END AS known_at,
    owner_id::text AS owner_id,
    account_id::text AS account_id,
    lead_source::text AS lead_source,
    title::text AS title,
    industry::text AS industry,
    country::text AS country,
    employee_count::float8 AS employee_count,
    annual_revenue::float8 AS annual_revenue,
    email_domain::text AS email_domain,
    CASE WHEN ISFINITE(removed_at) AND removed_at < $1::timestamptz THEN removed_at END AS removed_at,
    attrs::text AS attrs,
    CASE
        WHEN COALESCE(lead_id, '') = '' THEN 'lead_id is missing'
        WHEN NOT ISFINITE(created_at) THEN 'created_at is infinite'
        WHEN copy_number > 1 THEN 'lead_id occurs before'
    END AS problem
FROM visible;
