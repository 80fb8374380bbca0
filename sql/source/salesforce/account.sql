-- source.account over Salesforce. Grain: one row per account. Key: account_id.
CREATE OR REPLACE VIEW source.account AS
SELECT
    id AS account_id,
    parent_id,
    industry,
    number_of_employees AS employee_count,
    annual_revenue,
    billing_country AS country,
    type ILIKE '%customer%' AS is_customer,
    type ILIKE '%competitor%' AS is_competitor
FROM replica.account
WHERE NOT COALESCE(is_deleted, FALSE) AND NOT is_removed;
