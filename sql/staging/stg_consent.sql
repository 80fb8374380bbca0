-- stg_consent: what people have opted out of. Any opt-out counts, whichever duplicate or merged record holds it, and
-- a request for erasure is an opt-out of all processing: dates are ignored here, so that no objection waits.
-- Grain: one row per lead_id where problem is null.
WITH
consent AS (
    SELECT
        subject_id AS lead_id,
        opted_out_email,
        opted_out_profiling,
        opted_out_processing OR erase_requested_at IS NOT NULL AS opted_out_processing,
        FALSE AS is_copy
    FROM source.consent
    WHERE $1::timestamptz IS NOT NULL
),
combined AS (
    SELECT * FROM consent

    UNION ALL

    SELECT lead_merge.canonical_id, opted_out_email, opted_out_profiling, opted_out_processing, TRUE
    FROM consent
    INNER JOIN source.lead_merge ON lead_merge.source_id = consent.lead_id
    WHERE lead_merge.valid_from < $1::timestamptz
),
gathered AS (
    SELECT
        lead_id,
        is_copy,
        BOOL_OR(opted_out_email) OVER same_lead AS opted_out_email,
        BOOL_OR(opted_out_profiling) OVER same_lead AS opted_out_profiling,
        BOOL_OR(opted_out_processing) OVER same_lead AS opted_out_processing,
        ROW_NUMBER() OVER (PARTITION BY lead_id ORDER BY is_copy) AS copy_number
    FROM combined
    WINDOW same_lead AS (PARTITION BY lead_id)
)
SELECT
    NULLIF(lead_id, '')::text AS lead_id,
    COALESCE(opted_out_email, FALSE) AS opted_out_email,
    COALESCE(opted_out_profiling, FALSE) AS opted_out_profiling,
    COALESCE(opted_out_processing, FALSE) AS opted_out_processing,
    CASE
        WHEN COALESCE(lead_id, '') = '' THEN 'subject_id is missing'
        WHEN copy_number > 1 THEN 'subject_id occurs before'
    END AS problem
FROM gathered
WHERE copy_number = 1 OR NOT is_copy;
