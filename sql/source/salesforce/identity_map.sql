-- source.identity_map over Salesforce: merged leads, and the contact a lead became.
-- Grain: one row per identity. Key: source_id, canonical_id.
CREATE OR REPLACE VIEW source.identity_map AS
SELECT id AS source_id, master_record_id AS canonical_id, COALESCE(system_modstamp, removed_at) AS valid_from
FROM replica.lead
WHERE master_record_id IS NOT NULL AND (is_deleted OR is_removed)

UNION ALL

SELECT id, converted_contact_id, converted_date::timestamp AT TIME ZONE 'UTC'
FROM replica.lead
WHERE is_converted AND converted_contact_id IS NOT NULL;
