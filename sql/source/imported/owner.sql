-- source.owner: owners are known by their id alone. Grain: owner_id.
CREATE OR REPLACE VIEW source.owner AS
SELECT DISTINCT
    owner_id, NULL::text AS team_id, NULL::text AS territory, NULL::boolean AS is_active, NULL::int AS daily_capacity,
    NULL::date AS absent_until
FROM imported.lead
WHERE owner_id IS NOT NULL;
