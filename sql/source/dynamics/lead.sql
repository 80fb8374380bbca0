-- source.lead over Dynamics 365. Numbers of option sets become their labels, also in custom columns. Which account a
-- lead belongs to is filled in at qualification: not given. Deleted and merged leads stay.
-- Grain: one row per lead. Key: lead_id.
CREATE OR REPLACE VIEW source.lead AS
SELECT
    lead.leadid AS lead_id,
    lead.createdon AS created_at,
    lead.createdon_precision AS created_precision,
    lead.ownerid AS owner_id,
    COALESCE(lead.modifiedon, lead.createdon) AS updated_at,
    NULL::text AS account_id,
    NULL::text AS contact_id,
    COALESCE(source.label, lead.leadsourcecode::text) AS lead_source,
    lead.jobtitle AS title,
    COALESCE(industry.label, lead.industrycode::text) AS industry,
    lead.address1_country AS country,
    lead.numberofemployees AS employee_count,
    lead.revenue AS annual_revenue,
    LOWER(NULLIF(SPLIT_PART(lead.emailaddress1, '@', 2), '')) AS email_domain,
    lead.description AS notes,
    lead.is_removed AS is_deleted,
    lead.removed_at AS deleted_at,
    CASE WHEN lead.merged THEN lead.masterid END AS merged_into_id,
    labelled.attrs
FROM replica.lead AS lead
LEFT JOIN replica.label AS source
    ON source.entity = 'lead' AND source.attribute = 'leadsourcecode' AND source.code = lead.leadsourcecode::text
LEFT JOIN replica.label AS industry
    ON industry.entity = 'lead' AND industry.attribute = 'industrycode' AND industry.code = lead.industrycode::text
CROSS JOIN LATERAL (
    SELECT JSONB_OBJECT_AGG(entry.key, COALESCE(TO_JSONB(label.label), entry.value)) AS attrs
    FROM JSONB_EACH(lead.custom) AS entry
    LEFT JOIN replica.label AS label
        ON label.entity = 'lead' AND label.attribute = entry.key AND label.code = entry.value #>> '{}'
) AS labelled;
