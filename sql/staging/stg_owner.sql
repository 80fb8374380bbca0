-- stg_owner: owners of leads, current values without dates.
-- Grain: one row per owner_id where problem is null.
WITH
owner AS (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY owner_id ORDER BY TO_JSONB(owner)::text) AS copy_number
    FROM source.owner
)
SELECT
    NULLIF(owner_id, '')::text AS owner_id,
    team_id::text AS team_id,
    territory::text AS territory,
    is_active,
    daily_capacity::bigint AS daily_capacity,
    CASE WHEN ISFINITE(absent_until) THEN absent_until END AS absent_until,
    CASE
        WHEN COALESCE(owner_id, '') = '' THEN 'owner_id is missing'
        WHEN copy_number > 1 THEN 'owner_id occurs before'
    END AS problem
FROM owner
-- bound like every staging query, though owners carry no dates
WHERE $1::timestamptz IS NOT NULL;
