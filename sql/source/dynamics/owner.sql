-- source.owner over Dynamics 365: users. Capacity and absence are not kept there. Grain: one row per user. Key: owner_id.
CREATE OR REPLACE VIEW source.owner AS
SELECT
    systemuserid AS owner_id,
    businessunitid AS team_id,
    NULL::text AS territory,
    NOT COALESCE(isdisabled, FALSE) AND NOT is_removed AS is_active,
    NULL::int AS daily_capacity,
    NULL::date AS absent_until
FROM replica.systemuser;
