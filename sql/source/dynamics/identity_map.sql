-- source.identity_map over Dynamics 365: merged leads. The loser's last change is its merge. Grain: source_id.
CREATE OR REPLACE VIEW source.identity_map AS
SELECT leadid AS source_id, masterid AS canonical_id, COALESCE(modifiedon, createdon) AS valid_from
FROM replica.lead
WHERE merged AND masterid IS NOT NULL;
