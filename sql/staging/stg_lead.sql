-- stg_lead: leads known at $1 (as_of), with the moment they were deleted or merged away if that is known at $1.
-- Columns that the leak court denies are null.
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
denied AS (
    SELECT
        COALESCE(ARRAY_AGG(column_name), '{}') AS names,
        ARRAY_AGG(SUBSTR(column_name, 7)) FILTER (WHERE column_name LIKE 'attrs\_%') AS keys
    FROM leadscore.denied_column
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
    CASE WHEN 'lead_source' <> ALL(denied.names) THEN lead_source::text END AS lead_source,
    CASE WHEN 'title' <> ALL(denied.names) THEN title::text END AS title,
    CASE WHEN 'industry' <> ALL(denied.names) THEN industry::text END AS industry,
    CASE WHEN 'country' <> ALL(denied.names) THEN country::text END AS country,
    CASE WHEN 'employee_count' <> ALL(denied.names) THEN employee_count::float8 END AS employee_count,
    CASE WHEN 'annual_revenue' <> ALL(denied.names) THEN annual_revenue::float8 END AS annual_revenue,
    CASE WHEN 'email_domain' <> ALL(denied.names) THEN email_domain::text END AS email_domain,
    CASE WHEN ISFINITE(removed_at) AND removed_at < $1::timestamptz THEN removed_at END AS removed_at,
    CASE
        WHEN denied.keys IS NOT NULL AND JSONB_TYPEOF(attrs::jsonb) = 'object' THEN (attrs::jsonb - denied.keys)::text
        ELSE attrs::text
    END AS attrs,
    CASE
        WHEN COALESCE(lead_id, '') = '' THEN 'lead_id is missing'
        WHEN NOT ISFINITE(created_at) THEN 'created_at is infinite'
        WHEN copy_number > 1 THEN 'lead_id occurs before'
    END AS problem
FROM visible
CROSS JOIN denied;
