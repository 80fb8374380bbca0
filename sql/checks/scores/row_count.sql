-- As many rows as the run said it would write.
SELECT count(*) AS row_count, %(expected_rows)s::bigint AS expected_rows
FROM candidate
HAVING count(*) <> %(expected_rows)s
