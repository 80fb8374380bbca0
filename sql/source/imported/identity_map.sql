-- source.identity_map: merges are named by imported.lead.merged_into_id, so the view is empty.
CREATE OR REPLACE VIEW source.identity_map AS
SELECT NULL::text AS source_id, NULL::text AS canonical_id, NULL::timestamptz AS valid_from
WHERE FALSE;
