-- replica.lead_change: every logged change of a lead's attributes, from the audit log or, for leads it knows nothing
-- of, from versions of the record. An audit entry holds old and new values of all attributes that changed together.
-- Grain: one row per lead, attribute and change. Key: lead_id, attribute, changed_at.
CREATE VIEW replica.lead_change AS
WITH
entry AS (
    SELECT
        audit.objectid AS lead_id,
        audit.createdon AS changed_at,
        audit.arrived_at,
        audit.userid,
        CASE WHEN LEFT(LTRIM(audit.changedata), 1) = '{' THEN audit.changedata::jsonb END AS data
    FROM replica.audit AS audit
    INNER JOIN replica.lead AS lead ON lead.leadid = audit.objectid
),
audited AS (
    SELECT
        entry.lead_id,
        change ->> 'logicalName' AS attribute,
        change ->> 'oldValue' AS old_value,
        change ->> 'newValue' AS new_value,
        entry.changed_at,
        entry.arrived_at,
        entry.userid
    FROM entry
    CROSS JOIN LATERAL JSONB_ARRAY_ELEMENTS(entry.data -> 'changedAttributes') AS change
),
seen AS (
    SELECT version.leadid AS lead_id, field.attribute, field.value, version.version_from
    FROM replica.lead_version AS version
    CROSS JOIN LATERAL (
        VALUES
        ('statecode', version.statecode::text),
        ('statuscode', version.statuscode::text),
        ('jobtitle', version.jobtitle),
        ('ownerid', version.ownerid),
        ('industrycode', version.industrycode::text),
        ('leadsourcecode', version.leadsourcecode::text),
        ('numberofemployees', version.numberofemployees::text),
        ('revenue', version.revenue::text),
        ('address1_country', version.address1_country)
    ) AS field (attribute, value)
    WHERE NOT EXISTS (SELECT 1 FROM audited WHERE audited.lead_id = version.leadid)
),
versioned AS (
    SELECT
        lead_id,
        attribute,
        LAG(value) OVER same AS old_value,
        value AS new_value,
        version_from AS changed_at,
        ROW_NUMBER() OVER same AS place
    FROM seen
    WINDOW same AS (PARTITION BY lead_id, attribute ORDER BY version_from)
)
SELECT lead_id, attribute, old_value, new_value, changed_at, arrived_at, userid FROM audited

UNION ALL

SELECT lead_id, attribute, old_value, new_value, changed_at, NULL, NULL
FROM versioned
WHERE place > 1 AND new_value IS DISTINCT FROM old_value;
