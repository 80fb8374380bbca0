-- source.field_history over HubSpot: properties of contacts over time. HubSpot logs the first value too.
-- Grain: one row per contact, field and period. Key: entity_id, field, valid_from.
CREATE OR REPLACE VIEW source.field_history AS
WITH
value_from AS (
    SELECT
        contact_id,
        CASE name
            WHEN 'jobtitle' THEN 'title'
            WHEN 'industry' THEN 'industry'
            WHEN 'country' THEN 'country'
            WHEN 'numemployees' THEN 'employee_count'
            WHEN 'annualrevenue' THEN 'annual_revenue'
            WHEN 'hs_analytics_source' THEN 'lead_source'
            WHEN 'hubspot_owner_id' THEN 'owner_id'
            WHEN 'associatedcompanyid' THEN 'account_id'
        END AS field,
        CASE name
            WHEN 'numemployees' THEN SUBSTRING(REPLACE(value, ',', '') FROM '\d+') ELSE NULLIF(value, '')
        END AS value,
        "timestamp" AS valid_from
    FROM replica.contact_property_history
)
SELECT
    'lead'::text AS entity,
    contact_id AS entity_id,
    field,
    value,
    valid_from,
    LEAD(valid_from) OVER (PARTITION BY contact_id, field ORDER BY valid_from) AS valid_to
FROM value_from
WHERE field IS NOT NULL;
