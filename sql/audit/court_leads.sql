-- Leads old enough to have ended, as the CRM shows them today, denied columns included, and whether they converted.
-- Parameter: created before. Grain: one row per lead.
SELECT
    lead.lead_id,
    lead.lead_source,
    lead.title,
    lead.industry,
    lead.country,
    lead.employee_count,
    lead.annual_revenue,
    lead.email_domain,
    lead.attrs::text AS attrs,
    EXISTS (
        SELECT 1 FROM source.conversion
        WHERE conversion.lead_id = lead.lead_id AND conversion.is_conversion
    ) AS is_won
FROM source.lead AS lead
WHERE lead.created_at < %s
ORDER BY lead.lead_id;
