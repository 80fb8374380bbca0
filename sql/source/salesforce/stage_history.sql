-- source.stage_history over Salesforce: statuses a lead took. Grain: one row per change. Key: lead_id, entered_at.
CREATE OR REPLACE VIEW source.stage_history AS
SELECT
    lead_id,
    status AS stage,
    changed_at AS entered_at,
    arrived_at AS ingested_at,
    created_by_id AS changed_by
FROM replica.status_change;
