-- source.field_history over Salesforce: values of fields over time, from field history tracking or, for fields that
-- nobody tracks, from versions of the record.
-- Grain: one row per record, field and period. Key: entity, entity_id, field, valid_from.
CREATE OR REPLACE VIEW source.field_history AS
WITH
tracked AS (
    SELECT
        history.lead_id,
        CASE history.field
            WHEN 'Title' THEN 'title'
            WHEN 'Industry' THEN 'industry'
            WHEN 'Country' THEN 'country'
            WHEN 'LeadSource' THEN 'lead_source'
            WHEN 'NumberOfEmployees' THEN 'employee_count'
            WHEN 'AnnualRevenue' THEN 'annual_revenue'
            WHEN 'Owner' THEN 'owner_id'
        END AS field,
        history.old_value,
        history.new_value,
        history.created_date
    FROM replica.lead_history AS history
    -- a change of owner is logged twice: once with names, once with ids
    WHERE history.field <> 'Owner' OR history.new_value ~ '^00[5G][A-Za-z0-9]{12,15}$'
),
lead_change AS (
    SELECT * FROM tracked WHERE field IS NOT NULL
),
first_change AS (
    SELECT DISTINCT ON (lead_id, field) * FROM lead_change ORDER BY lead_id, field, created_date
),
lead_value AS (
    SELECT change.lead_id, change.field, change.old_value AS value, lead.created_date AS valid_from
    FROM first_change AS change
    INNER JOIN replica.lead AS lead ON lead.id = change.lead_id

    UNION ALL

    SELECT lead_id, field, new_value, created_date FROM lead_change

    UNION ALL

    SELECT
        version.id,
        seen.field,
        seen.value,
        CASE
            WHEN version.version_from = MIN(version.version_from) OVER (PARTITION BY version.id)
                THEN LEAST(version.created_date, version.version_from)
            ELSE version.version_from
        END
    FROM replica.lead_version AS version
    CROSS JOIN LATERAL (
        VALUES
        ('title', version.title),
        ('industry', version.industry),
        ('country', version.country),
        ('lead_source', version.lead_source),
        ('employee_count', version.number_of_employees::text),
        ('annual_revenue', version.annual_revenue::text),
        ('owner_id', version.owner_id)
    ) AS seen (field, value)
    WHERE seen.field NOT IN (SELECT lead_change.field FROM lead_change)
),
account_value AS (
    SELECT version.id AS account_id, seen.field, seen.value, version.version_from AS valid_from
    FROM replica.account_version AS version
    CROSS JOIN LATERAL (
        VALUES
        ('industry', version.industry),
        ('country', version.billing_country),
        ('employee_count', version.number_of_employees::text),
        ('annual_revenue', version.annual_revenue::text)
    ) AS seen (field, value)
),
combined AS (
    SELECT 'lead' AS entity, lead_id AS entity_id, field, value, valid_from FROM lead_value
    UNION ALL
    SELECT 'account', account_id, field, value, valid_from FROM account_value
),
compared AS (
    SELECT
        *,
        ROW_NUMBER() OVER same AS place,
        LAG(value) OVER same AS value_before
    FROM combined
    WINDOW same AS (PARTITION BY entity, entity_id, field ORDER BY valid_from)
),
changed AS (
    SELECT * FROM compared WHERE place = 1 OR value IS DISTINCT FROM value_before
)
SELECT
    entity,
    entity_id,
    field,
    value,
    valid_from,
    LEAD(valid_from) OVER (PARTITION BY entity, entity_id, field ORDER BY valid_from) AS valid_to
FROM changed;
