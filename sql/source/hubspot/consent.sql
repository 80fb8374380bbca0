-- source.consent over HubSpot: opt-outs of e-mail. HubSpot keeps no objection to profiling: add your own property here.
-- Grain: one row per contact that objected. Key: subject_id.
CREATE OR REPLACE VIEW source.consent AS
SELECT
    id AS subject_id,
    TRUE AS opted_out_email,
    NULL::boolean AS opted_out_profiling,
    NULL::boolean AS opted_out_processing,
    NULL::timestamptz AS erase_requested_at
FROM replica.contact
WHERE property_hs_email_optout;
