-- The number of leads with a score does not fall, or rise, out of proportion to the night before.
WITH nights AS (
    SELECT
        (SELECT count(score) FROM candidate)::float8 AS today,
        (SELECT count(score) FROM previous)::float8 AS night_before
)
SELECT today, night_before
FROM nights
WHERE night_before >= %(least_rows)s
  AND NOT today / night_before BETWEEN 1 / %(max_row_ratio)s::float8 AND %(max_row_ratio)s::float8
