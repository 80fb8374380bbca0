-- Purpose: how leads ended, timed by the change log: the lead's own conversion columns are overwritten and day-precise.
-- Grain: one row per outcome of a lead. Key: lead_id, outcome_at.
CREATE OR REPLACE VIEW source.outcome AS
WITH ending AS (
    SELECT * FROM crm.lead_history WHERE field = 'Status' AND new_value IN ('Converted', 'Lost')
),

opportunity AS (
    SELECT * FROM crm.opportunity
),

lead AS (
    SELECT id, lost_reason_c FROM crm.lead
),

final AS (
    SELECT
        ending.lead_id,
        lower(ending.new_value) AS outcome,
        ending.created_date AS outcome_at,
        'second'::text AS outcome_precision,
        ending._synced AS ingested_at,
        opportunity.id AS opportunity_id,
        opportunity.amount,
        opportunity.currency_iso_code AS currency,
        CASE ending.new_value WHEN 'Lost' THEN lead.lost_reason_c END AS lost_reason
    FROM ending
    LEFT JOIN opportunity ON ending.lead_id = opportunity.lead_id_c AND ending.new_value = 'Converted'
    LEFT JOIN lead ON ending.lead_id = lead.id
)

SELECT * FROM final;
