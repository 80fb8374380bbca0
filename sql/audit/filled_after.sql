-- Of the won leads whose first value of a field has a date: at how many did it come with or after the conversion.
-- Grain: one row per field of leads.
WITH
won AS (
    SELECT lead_id, MIN(outcome_at) AS won_at FROM source.conversion WHERE is_conversion GROUP BY lead_id
),
first_value AS (
    SELECT entity_id AS lead_id, field, MIN(valid_from) AS filled_at
    FROM source.field_history
    WHERE entity = 'lead' AND value <> ''
    GROUP BY entity_id, field
)
SELECT
    first_value.field,
    COUNT(*) AS n_dated,
    AVG((first_value.filled_at >= won.won_at)::int)::float8 AS share_after
FROM first_value
INNER JOIN won ON won.lead_id = first_value.lead_id
GROUP BY first_value.field;
