-- stg_account: accounts, current values without dates.
-- Grain: one row per account_id where problem is null.
WITH
account AS (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY TO_JSONB(account)::text) AS copy_number
    FROM source.account
)
SELECT
    NULLIF(account_id, '')::text AS account_id,
    parent_id::text AS parent_id,
    industry::text AS industry,
    employee_count::float8 AS employee_count,
    annual_revenue::float8 AS annual_revenue,
    country::text AS country,
    is_customer,
    is_competitor,
    CASE
        WHEN COALESCE(account_id, '') = '' THEN 'account_id is missing'
        WHEN copy_number > 1 THEN 'account_id occurs before'
    END AS problem
FROM account
-- bound like every staging query, though accounts carry no dates
WHERE $1::timestamptz IS NOT NULL;
