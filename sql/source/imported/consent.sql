-- source.consent over imported opt-outs. Grain: subject_id, a lead.
CREATE OR REPLACE VIEW source.consent AS
SELECT
    lead_id AS subject_id, opted_out_email, opted_out_profiling, opted_out_processing, erase_requested_at
FROM imported.consent;
