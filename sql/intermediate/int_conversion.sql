-- source.conversion: the one definition of what counts as a conversion.
-- Grain: one row per row of source.outcome, with is_conversion. Change the definition here and nowhere else.
CREATE OR REPLACE VIEW source.conversion AS
SELECT
    lead_id,
    outcome,
    outcome_at,
    outcome_precision,
    ingested_at,
    opportunity_id,
    amount,
    currency,
    lost_reason,
    COALESCE(outcome = 'converted', FALSE) AS is_conversion
FROM source.outcome;
