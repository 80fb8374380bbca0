-- The scores look like those of the night before: mean probability within a factor, quartiles within some points.
-- The first scores of a model are not held against the averages that stood in for it.
WITH today AS (
    SELECT
        count(score) AS row_count,
        avg(probability) AS mean_probability,
        percentile_cont(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY score) AS quartiles
    FROM candidate
    WHERE tier IS DISTINCT FROM 'pooled_prior'
), night_before AS (
    SELECT
        count(score) AS row_count,
        avg(probability) AS mean_probability,
        percentile_cont(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY score) AS quartiles
    FROM previous
    WHERE tier IS DISTINCT FROM 'pooled_prior'
)
SELECT
    today.mean_probability,
    night_before.mean_probability AS mean_probability_before,
    today.quartiles,
    night_before.quartiles AS quartiles_before
FROM today, night_before
WHERE least(today.row_count, night_before.row_count) >= %(least_rows)s
  AND (
      NOT today.mean_probability / night_before.mean_probability
          BETWEEN 1 / %(max_mean_ratio)s::float8 AND %(max_mean_ratio)s::float8
      OR EXISTS (
          SELECT FROM unnest(today.quartiles, night_before.quartiles) AS quartile (now, before)
          WHERE abs(quartile.now - quartile.before) > %(max_quartile_points)s
      )
  )
