-- source.owner over Salesforce: users; capacity and absence are not kept there. Grain: one row per user. Key: owner_id.
CREATE OR REPLACE VIEW source.owner AS
SELECT
    id AS owner_id,
    user_role_id AS team_id,
    NULL::text AS territory,
    COALESCE(is_active, TRUE) AND NOT is_removed AS is_active,
    NULL::int AS daily_capacity,
    NULL::date AS absent_until
FROM replica."user";
