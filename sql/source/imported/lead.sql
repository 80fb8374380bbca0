-- source.lead over imported leads. Grain: lead_id.
CREATE OR REPLACE VIEW source.lead AS
SELECT
    lead_id, created_at, created_precision, owner_id, updated_at, account_id, contact_id, lead_source, title, industry,
    country, employee_count, annual_revenue, email_domain, notes, is_deleted, deleted_at, merged_into_id, attrs
FROM imported.lead;
