-- source.lead over Salesforce. Deleted and merged leads stay: without them only the survivors would be learnt from.
-- Grain: one row per lead. Key: lead_id. Which account a lead belongs to is known from its conversion on: not given.
CREATE OR REPLACE VIEW source.lead AS
SELECT
    id AS lead_id,
    created_date AS created_at,
    created_date_precision AS created_precision,
    owner_id,
    COALESCE(system_modstamp, created_date) AS updated_at,
    NULL::text AS account_id,
    NULL::text AS contact_id,
    lead_source,
    title,
    industry,
    country,
    number_of_employees AS employee_count,
    annual_revenue,
    LOWER(NULLIF(SPLIT_PART(email, '@', 2), '')) AS email_domain,
    description AS notes,
    COALESCE(is_deleted, FALSE) OR is_removed AS is_deleted,
    CASE WHEN is_deleted THEN COALESCE(system_modstamp, removed_at) ELSE removed_at END AS deleted_at,
    CASE WHEN is_deleted OR is_removed THEN master_record_id END AS merged_into_id,
    custom AS attrs
FROM replica.lead;
