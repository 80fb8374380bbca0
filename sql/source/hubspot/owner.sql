-- source.owner over HubSpot. Capacity and absence are not kept there. Grain: one row per owner. Key: owner_id.
CREATE OR REPLACE VIEW source.owner AS
SELECT
    owner_id,
    NULL::text AS team_id,
    NULL::text AS territory,
    COALESCE(is_active, TRUE) AND NOT is_removed AS is_active,
    NULL::int AS daily_capacity,
    NULL::date AS absent_until
FROM replica.owner;
