-- How conversions come about: days from creation, and how many lie outside the path that a lead is supposed to take.
-- Parameters: before (leads created earlier have had the label's horizon and the reporting lag). Grain: one row.
WITH
won AS (
    SELECT DISTINCT ON (conversion.lead_id)
        conversion.lead_id, conversion.outcome_at, conversion.opportunity_id, conversion.outcome_precision,
        lead.lead_id IS NULL AS is_orphan,
        lead.created_at,
        lead.is_deleted
    FROM source.conversion
    LEFT JOIN source.lead ON lead.lead_id = conversion.lead_id
    WHERE conversion.is_conversion
    ORDER BY conversion.lead_id, conversion.outcome_at
),
staged AS (
    SELECT lead_id, MIN(entered_at) AS first_at FROM source.stage_history GROUP BY lead_id
),
touched AS (
    SELECT lead_id, MIN(occurred_at) AS first_at FROM source.activity GROUP BY lead_id
)
SELECT
    COUNT(*) AS n_converted,
    COUNT(*) FILTER (WHERE created_at < %(before)s) AS n_mature,
    PERCENTILE_CONT(ARRAY[0.1, 0.5, 0.9]) WITHIN GROUP (ORDER BY EXTRACT(EPOCH FROM outcome_at - created_at) / 86400)
        AS days_to_convert,
    COUNT(*) FILTER (WHERE is_orphan) AS without_lead,
    COUNT(*) FILTER (WHERE outcome_at < created_at) AS before_creation,
    COUNT(*) FILTER (WHERE outcome_at >= created_at AND outcome_at < created_at + INTERVAL '1 day') AS on_first_day,
    COUNT(*) FILTER (WHERE opportunity_id IS NULL) AS without_opportunity,
    COUNT(*) FILTER (WHERE outcome_precision = 'day') AS dated_by_the_day,
    COUNT(*) FILTER (WHERE is_deleted) AS of_deleted_leads,
    COUNT(*) FILTER (WHERE staged.first_at IS NULL OR staged.first_at >= won.outcome_at) AS without_stage_before,
    COUNT(*) FILTER (WHERE touched.first_at IS NULL OR touched.first_at >= won.outcome_at) AS without_touch_before
FROM won
LEFT JOIN staged ON staged.lead_id = won.lead_id
LEFT JOIN touched ON touched.lead_id = won.lead_id;
