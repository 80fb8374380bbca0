-- source.consent over Salesforce: the lead's own opt-out and those of its Individual record.
-- Grain: one row per lead that objected. Key: subject_id.
CREATE OR REPLACE VIEW source.consent AS
SELECT
    lead.id AS subject_id,
    COALESCE(lead.has_opted_out_of_email, FALSE) AS opted_out_email,
    COALESCE(individual.has_opted_out_profiling, FALSE) AS opted_out_profiling,
    COALESCE(individual.has_opted_out_processing, FALSE) AS opted_out_processing,
    CASE WHEN individual.should_forget THEN COALESCE(individual.system_modstamp, individual.synced_at, lead.created_date)
    END AS erase_requested_at
FROM replica.lead AS lead
LEFT JOIN replica.individual AS individual ON individual.id = lead.individual_id
WHERE lead.has_opted_out_of_email
    OR individual.has_opted_out_profiling
    OR individual.has_opted_out_processing
    OR individual.should_forget;
