-- Purpose: past values of corrected lead fields, the first value included.
-- Grain: one row per lead, field and period. Key: entity, entity_id, field, valid_from.
CREATE OR REPLACE VIEW source.field_history AS
WITH change AS (
    SELECT
        lead_id,
        CASE field WHEN 'Title' THEN 'title' ELSE 'employee_count' END AS field,
        old_value,
        new_value,
        created_date
    FROM crm.lead_history
    WHERE field IN ('Title', 'NumberOfEmployees')
),

lead AS (
    SELECT id, created_date FROM crm.lead
),

first_change AS (
    SELECT DISTINCT ON (lead_id, field) *
    FROM change
    ORDER BY lead_id, field, created_date
),

value_from AS (
    SELECT first_change.lead_id, first_change.field, first_change.old_value AS value, lead.created_date AS valid_from
    FROM first_change
    INNER JOIN lead ON first_change.lead_id = lead.id
    UNION ALL
    SELECT lead_id, field, new_value AS value, created_date AS valid_from
    FROM change
),

final AS (
    SELECT
        'lead'::text AS entity,
        lead_id AS entity_id,
        field,
        value,
        valid_from,
        lead(valid_from) OVER (PARTITION BY lead_id, field ORDER BY valid_from) AS valid_to
    FROM value_from
)

SELECT * FROM final;
