-- source.stage_history over Dynamics 365: status reasons a lead took, by label. Where changes are logged, a lead that
-- has none still has its first, so that the first says nothing about who is going to move.
-- Grain: one row per change. Key: lead_id, entered_at.
CREATE OR REPLACE VIEW source.stage_history AS
WITH
change AS (
    SELECT * FROM replica.lead_change WHERE attribute = 'statuscode'
),
logging AS (
    SELECT MIN(changed_at) AS began_at FROM change
),
first_change AS (
    SELECT DISTINCT ON (lead_id) lead_id, old_value FROM change ORDER BY lead_id, changed_at
),
entered AS (
    SELECT lead_id, new_value AS code, changed_at AS entered_at, arrived_at, userid FROM change

    UNION ALL

    SELECT lead.leadid, COALESCE(first_change.old_value, lead.statuscode::text), lead.createdon, NULL, NULL
    FROM replica.lead AS lead
    CROSS JOIN logging
    LEFT JOIN first_change ON first_change.lead_id = lead.leadid
    WHERE lead.createdon >= logging.began_at
)
SELECT
    entered.lead_id,
    COALESCE(label.label, entered.code) AS stage,
    entered.entered_at,
    entered.arrived_at AS ingested_at,
    entered.userid AS changed_by
FROM entered
LEFT JOIN replica.label AS label
    ON label.entity = 'lead' AND label.attribute = 'statuscode' AND label.code = entered.code
WHERE entered.code IS NOT NULL;
