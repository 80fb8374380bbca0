-- Numbers are where they can be; NaN sorts above every number, so the upper bounds catch it too.
SELECT lead_id, probability, score, grade, percentile, rank_overall
FROM candidate
WHERE NOT (probability > 0 AND probability < 1)
   OR NOT (score BETWEEN 0 AND 100)
   OR grade NOT IN ('A', 'B', 'C', 'D')
   OR NOT (percentile BETWEEN 0 AND 100)
   OR NOT (confidence BETWEEN 0 AND 1)
   OR expected_value NOT BETWEEN '-1e300'::float8 AND '1e300'::float8
   OR rank_overall < 1
   OR rank_in_owner_queue < 1
