-- source.account over Dynamics 365. Grain: one row per account. Key: account_id.
CREATE OR REPLACE VIEW source.account AS
SELECT
    account.accountid AS account_id,
    account.parentaccountid AS parent_id,
    COALESCE(industry.label, account.industrycode::text) AS industry,
    account.numberofemployees AS employee_count,
    account.revenue AS annual_revenue,
    account.address1_country AS country,
    account.customertypecode = 3 AS is_customer,
    account.customertypecode = 1 AS is_competitor
FROM replica.account AS account
LEFT JOIN replica.label AS industry
    ON industry.entity = 'account' AND industry.attribute = 'industrycode'
    AND industry.code = account.industrycode::text
WHERE NOT account.is_removed;
