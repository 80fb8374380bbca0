-- source.account: accounts are known by their id alone. Grain: account_id.
CREATE OR REPLACE VIEW source.account AS
SELECT DISTINCT
    account_id, NULL::text AS parent_id, NULL::text AS industry, NULL::float8 AS employee_count,
    NULL::float8 AS annual_revenue, NULL::text AS country, NULL::boolean AS is_customer, NULL::boolean AS is_competitor
FROM imported.lead
WHERE account_id IS NOT NULL;
