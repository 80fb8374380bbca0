-- source.outcome over imported outcomes. Grain: one row per outcome of a lead.
CREATE OR REPLACE VIEW source.outcome AS
SELECT
    lead_id, outcome, outcome_at, outcome_precision, ingested_at, opportunity_id, amount, currency, lost_reason
FROM imported.outcome;
