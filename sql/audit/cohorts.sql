-- Conversions by month of creation: within the label's horizon, where all of the month's leads have had that long.
-- Parameters: horizon, now. Grain: one row per month.
WITH
won AS (
    SELECT lead_id, MIN(outcome_at) AS won_at FROM source.conversion WHERE is_conversion GROUP BY lead_id
)
SELECT
    TO_CHAR(lead.created_at, 'YYYY-MM') AS month,
    COUNT(*) AS n_leads,
    COUNT(won.won_at) AS n_converted,
    CASE WHEN MAX(lead.created_at) + %(horizon)s < %(now)s THEN
        COUNT(*) FILTER (WHERE won.won_at < lead.created_at + %(horizon)s)::float8 / COUNT(*)
    END AS base_rate
FROM source.lead AS lead
LEFT JOIN won ON won.lead_id = lead.lead_id
WHERE ISFINITE(lead.created_at)
GROUP BY 1
ORDER BY 1;
