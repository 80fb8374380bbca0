-- replica.status_change: every status a lead took, from field history tracking and from versions of the record.
-- A lead created after tracking began also has its first status: the old value of its first change, or, unchanged, the
-- one it still has. Given to changed leads alone, the first status would say beforehand which leads are going to move.
-- Grain: one row per change. Key: lead_id, changed_at.
CREATE VIEW replica.status_change AS
WITH
tracked AS (
    SELECT lead_id, old_value, new_value, created_date, created_by_id, arrived_at
    FROM replica.lead_history
    WHERE field = 'Status'
),
tracking AS (
    SELECT MIN(created_date) AS began_at FROM tracked
),
first_change AS (
    SELECT DISTINCT ON (lead_id) lead_id, old_value FROM tracked ORDER BY lead_id, created_date
),
version AS (
    SELECT
        id AS lead_id,
        status,
        version_from,
        LAG(status) OVER (PARTITION BY id ORDER BY version_from) AS status_before
    FROM replica.lead_version
)
SELECT lead_id, new_value AS status, created_date AS changed_at, arrived_at, created_by_id
FROM tracked
WHERE new_value IS NOT NULL

UNION ALL

SELECT lead.id, COALESCE(first_change.old_value, lead.status), lead.created_date, NULL, NULL
FROM replica.lead AS lead
CROSS JOIN tracking
LEFT JOIN first_change ON first_change.lead_id = lead.id
WHERE lead.created_date >= tracking.began_at AND COALESCE(first_change.old_value, lead.status) IS NOT NULL

UNION ALL

SELECT lead_id, status, version_from, NULL, NULL
FROM version
WHERE status IS NOT NULL AND status_before IS DISTINCT FROM status
    AND (SELECT began_at FROM tracking) IS NULL;
