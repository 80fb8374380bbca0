-- source.stage_history over HubSpot: lifecycle stages, from the history of the property. The dates at which a contact
-- became something are cleared when it moves back, and are no history.
-- Grain: one row per change. Key: lead_id, entered_at.
CREATE OR REPLACE VIEW source.stage_history AS
SELECT
    contact_id AS lead_id,
    value AS stage,
    "timestamp" AS entered_at,
    arrived_at AS ingested_at,
    source AS changed_by
FROM replica.contact_property_history
WHERE name = 'lifecyclestage' AND value <> '';
