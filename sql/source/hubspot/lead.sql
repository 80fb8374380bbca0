-- source.lead over HubSpot: contacts. Deleted and merged ones stay. Grain: one row per contact. Key: lead_id.
CREATE OR REPLACE VIEW source.lead AS
SELECT
    id AS lead_id,
    property_createdate AS created_at,
    property_createdate_precision AS created_precision,
    property_hubspot_owner_id AS owner_id,
    COALESCE(property_lastmodifieddate, property_createdate) AS updated_at,
    property_associatedcompanyid AS account_id,
    NULL::text AS contact_id,
    property_hs_analytics_source AS lead_source,
    property_jobtitle AS title,
    property_industry AS industry,
    property_country AS country,
    -- a band such as 51-200 is taken at its lower end
    SUBSTRING(REPLACE(property_numemployees, ',', '') FROM '\d+')::float8 AS employee_count,
    property_annualrevenue AS annual_revenue,
    LOWER(NULLIF(SPLIT_PART(property_email, '@', 2), '')) AS email_domain,
    NULL::text AS notes,
    COALESCE(is_deleted, FALSE) OR is_removed AS is_deleted,
    CASE WHEN COALESCE(is_deleted, FALSE) OR is_removed THEN COALESCE(removed_at, synced_at) END AS deleted_at,
    NULL::text AS merged_into_id,
    custom AS attrs
FROM replica.contact;
