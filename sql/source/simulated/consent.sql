-- Purpose: what leads have objected to; leads without any objection are absent.
-- Grain: one row per lead. Key: subject_id.
CREATE OR REPLACE VIEW source.consent AS
WITH lead AS (
    SELECT id, has_opted_out_of_email FROM crm.lead
),

individual AS (
    SELECT * FROM crm.individual
),

final AS (
    SELECT
        lead.id AS subject_id,
        lead.has_opted_out_of_email AS opted_out_email,
        coalesce(individual.has_opted_out_profiling, false) AS opted_out_profiling,
        coalesce(individual.has_opted_out_processing, false) AS opted_out_processing,
        individual.should_forget_at AS erase_requested_at
    FROM lead
    LEFT JOIN individual ON lead.id = individual.lead_id
    WHERE lead.has_opted_out_of_email OR individual.lead_id IS NOT NULL
)

SELECT * FROM final;
