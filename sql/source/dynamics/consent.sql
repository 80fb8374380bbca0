-- source.consent over Dynamics 365. Grain: one row per lead that objected. Key: subject_id.
CREATE OR REPLACE VIEW source.consent AS
SELECT
    leadid AS subject_id,
    COALESCE(donotemail, FALSE) OR COALESCE(donotbulkemail, FALSE) AS opted_out_email,
    NULL::boolean AS opted_out_profiling,
    msdyn_gdproptout AS opted_out_processing,
    NULL::timestamptz AS erase_requested_at
FROM replica.lead
WHERE donotemail OR donotbulkemail OR msdyn_gdproptout;
