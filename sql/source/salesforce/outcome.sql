-- source.outcome over Salesforce: a lead ends by conversion, with or without an opportunity, or by a status that closes it.
-- converted_date is a whole day in the organisation's time zone; field history tracking has the second.
-- Grain: one row per outcome of a lead. Key: lead_id, outcome_at.
CREATE OR REPLACE VIEW source.outcome AS
WITH
logged AS (
    SELECT lead_id, MIN(created_date) AS ended_at, MIN(arrived_at) AS arrived_at
    FROM replica.lead_history
    WHERE field = 'leadConverted'
    GROUP BY lead_id
),
opportunity AS (
    SELECT id, amount::numeric AS amount, currency_iso_code
    FROM replica.opportunity
    WHERE NOT COALESCE(is_deleted, FALSE) AND NOT is_removed
),
lost AS (
    SELECT lead_id, status, changed_at, arrived_at
    FROM replica.status_change
    WHERE status ~* '(not converted|unqualified|disqualified|lost|rejected|junk)'
),
lost_unlogged AS (
    SELECT id AS lead_id, status, system_modstamp AS changed_at
    FROM replica.lead AS lead
    WHERE status ~* '(not converted|unqualified|disqualified|lost|rejected|junk)' AND NOT is_converted
        AND system_modstamp IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM lost WHERE lost.lead_id = lead.id)
)
SELECT
    lead.id AS lead_id,
    'converted'::text AS outcome,
    COALESCE(logged.ended_at, lead.converted_date::timestamp AT TIME ZONE 'UTC') AS outcome_at,
    CASE WHEN logged.ended_at IS NULL THEN 'day' ELSE 'second' END AS outcome_precision,
    logged.arrived_at AS ingested_at,
    lead.converted_opportunity_id AS opportunity_id,
    opportunity.amount,
    opportunity.currency_iso_code AS currency,
    NULL::text AS lost_reason
FROM replica.lead AS lead
LEFT JOIN logged ON logged.lead_id = lead.id
LEFT JOIN opportunity ON opportunity.id = lead.converted_opportunity_id
WHERE lead.is_converted AND COALESCE(logged.ended_at, lead.converted_date::timestamp AT TIME ZONE 'UTC') IS NOT NULL

UNION ALL

SELECT lead_id, 'lost', changed_at, 'second', arrived_at, NULL, NULL, NULL, status FROM lost

UNION ALL

-- known from the record alone: its last change is the latest it can have been
SELECT lead_id, 'lost', changed_at, 'second', NULL, NULL, NULL, NULL, status FROM lost_unlogged;
