-- Purpose: companies.
-- Grain: one row per account. Key: account_id.
CREATE OR REPLACE VIEW source.account AS
WITH account AS (
    SELECT * FROM crm.account WHERE NOT is_deleted
),

final AS (
    SELECT
        id AS account_id,
        parent_id,
        industry,
        number_of_employees::double precision AS employee_count,
        annual_revenue::double precision AS annual_revenue,
        billing_country AS country,
        type = 'Customer' AS is_customer,
        type = 'Competitor' AS is_competitor
    FROM account
)

SELECT * FROM final;
