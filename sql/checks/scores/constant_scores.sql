-- A model that says the same of everybody ranks nobody.
SELECT min(probability) AS probability, count(probability) AS row_count
FROM candidate
HAVING count(probability) >= %(least_rows)s AND min(probability) = max(probability)
