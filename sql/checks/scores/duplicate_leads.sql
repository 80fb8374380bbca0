-- One row per lead.
SELECT lead_id, count(*) AS row_count
FROM candidate
GROUP BY lead_id
HAVING count(*) > 1
