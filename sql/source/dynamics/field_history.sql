-- source.field_history over Dynamics 365: values of fields over time, from the audit log or versions; option sets by label.
-- Grain: one row per lead, field and period. Key: entity_id, field, valid_from.
CREATE OR REPLACE VIEW source.field_history AS
WITH
field AS (
    SELECT * FROM (
        VALUES
        ('jobtitle', 'title'),
        ('ownerid', 'owner_id'),
        ('industrycode', 'industry'),
        ('leadsourcecode', 'lead_source'),
        ('numberofemployees', 'employee_count'),
        ('revenue', 'annual_revenue'),
        ('address1_country', 'country')
    ) AS field (attribute, field)
),
change AS (
    SELECT change.*, field.field
    FROM replica.lead_change AS change
    INNER JOIN field ON field.attribute = change.attribute
),
first_change AS (
    SELECT DISTINCT ON (lead_id, attribute) * FROM change ORDER BY lead_id, attribute, changed_at
),
value_from AS (
    SELECT first_change.lead_id, attribute, field, old_value AS value, lead.createdon AS valid_from
    FROM first_change
    INNER JOIN replica.lead AS lead ON lead.leadid = first_change.lead_id

    UNION ALL

    SELECT lead_id, attribute, field, new_value, changed_at FROM change
)
SELECT
    'lead'::text AS entity,
    value_from.lead_id AS entity_id,
    value_from.field,
    -- a lookup is logged as "systemuser,id"
    COALESCE(label.label, REGEXP_REPLACE(value_from.value, '^[a-z]+,', '')) AS value,
    value_from.valid_from,
    LEAD(value_from.valid_from) OVER (
        PARTITION BY value_from.lead_id, value_from.field ORDER BY value_from.valid_from
    ) AS valid_to
FROM value_from
LEFT JOIN replica.label AS label
    ON label.entity = 'lead' AND label.attribute = value_from.attribute AND label.code = value_from.value;
