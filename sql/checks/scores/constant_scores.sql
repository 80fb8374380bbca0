-- A model that says the same of everybody ranks nobody; without a model, all leads may have one source.
SELECT min(probability) AS probability, count(probability) AS row_count
FROM candidate
WHERE tier IS DISTINCT FROM 'pooled_prior'
HAVING count(probability) >= %(least_rows)s AND min(probability) = max(probability)
