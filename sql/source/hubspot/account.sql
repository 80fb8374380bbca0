-- source.account over HubSpot: companies. Grain: one row per company. Key: account_id.
CREATE OR REPLACE VIEW source.account AS
SELECT
    id AS account_id,
    property_hs_parent_company_id AS parent_id,
    property_industry AS industry,
    property_numberofemployees AS employee_count,
    property_annualrevenue AS annual_revenue,
    property_country AS country,
    property_type ILIKE '%customer%' AS is_customer,
    property_type ILIKE '%competitor%' AS is_competitor
FROM replica.company
WHERE NOT COALESCE(is_deleted, FALSE) AND NOT is_removed;
