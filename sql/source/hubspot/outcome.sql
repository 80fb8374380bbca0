-- source.outcome over HubSpot: a contact ends when one of its deals enters a stage that its pipeline calls won or lost,
-- or when it becomes a customer without any deal. A deal counts for every contact it is associated with.
-- Grain: one row per outcome of a contact. Key: lead_id, outcome_at.
CREATE OR REPLACE VIEW source.outcome AS
WITH
became_customer AS (
    SELECT contact_id, "timestamp" AS ended_at, arrived_at
    FROM replica.contact_property_history AS history
    WHERE name = 'lifecyclestage' AND value = 'customer'
        AND NOT EXISTS (
            SELECT 1 FROM replica.deal_end WHERE deal_end.contact_id = history.contact_id AND deal_end.is_won
        )
),
unqualified AS (
    SELECT contact_id, value, "timestamp" AS ended_at, arrived_at
    FROM replica.contact_property_history
    WHERE name = 'hs_lead_status' AND value = 'UNQUALIFIED'
)
SELECT
    contact_id AS lead_id,
    CASE WHEN is_won THEN 'converted' ELSE 'lost' END AS outcome,
    ended_at AS outcome_at,
    'second'::text AS outcome_precision,
    arrived_at AS ingested_at,
    deal_id AS opportunity_id,
    amount::numeric AS amount,
    currency,
    CASE WHEN NOT is_won THEN lost_reason END AS lost_reason
FROM replica.deal_end

UNION ALL

SELECT contact_id, 'converted', ended_at, 'second', arrived_at, NULL, NULL, NULL, NULL
FROM became_customer

UNION ALL

SELECT contact_id, 'lost', ended_at, 'second', arrived_at, NULL, NULL, NULL, value
FROM unqualified;
