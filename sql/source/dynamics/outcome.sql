-- source.outcome over Dynamics 365: a lead ends qualified (1) or disqualified (2), with or without an opportunity. Dated
-- by the logged change of state, else by the opportunity it began, else by the record's last change, the latest it can
-- have been. A lead that was opened again after an end keeps that end.
-- Grain: one row per outcome of a lead. Key: lead_id, outcome_at.
CREATE OR REPLACE VIEW source.outcome AS
WITH
opportunity AS (
    SELECT DISTINCT ON (opportunity.originatingleadid)
        opportunity.originatingleadid AS lead_id,
        opportunity.opportunityid,
        opportunity.createdon,
        COALESCE(opportunity.actualvalue, opportunity.estimatedvalue)::numeric AS amount,
        currency.isocurrencycode
    FROM replica.opportunity AS opportunity
    LEFT JOIN replica.transactioncurrency AS currency
        ON currency.transactioncurrencyid = opportunity.transactioncurrencyid
    WHERE NOT opportunity.is_removed
    ORDER BY opportunity.originatingleadid, opportunity.createdon, opportunity.opportunityid
),
logged AS (
    SELECT lead_id, new_value AS state, MIN(changed_at) AS ended_at, MIN(arrived_at) AS arrived_at
    FROM replica.lead_change
    WHERE attribute = 'statecode' AND new_value IN ('1', '2')
    GROUP BY lead_id, new_value
),
unlogged AS (
    SELECT
        lead.leadid AS lead_id,
        lead.statecode::text AS state,
        CASE WHEN lead.statecode = 1 THEN COALESCE(opportunity.createdon, lead.modifiedon) ELSE lead.modifiedon END
            AS ended_at
    FROM replica.lead AS lead
    LEFT JOIN opportunity ON opportunity.lead_id = lead.leadid
    WHERE lead.statecode IN (1, 2)
        AND NOT EXISTS (
            SELECT 1 FROM logged WHERE logged.lead_id = lead.leadid AND logged.state = lead.statecode::text
        )
),
ended AS (
    SELECT lead_id, state, ended_at, arrived_at FROM logged
    UNION ALL
    SELECT lead_id, state, ended_at, NULL FROM unlogged WHERE ended_at IS NOT NULL
)
SELECT
    ended.lead_id,
    CASE ended.state WHEN '1' THEN 'converted' ELSE 'lost' END AS outcome,
    ended.ended_at AS outcome_at,
    'second'::text AS outcome_precision,
    ended.arrived_at AS ingested_at,
    CASE ended.state WHEN '1' THEN opportunity.opportunityid END AS opportunity_id,
    CASE ended.state WHEN '1' THEN opportunity.amount END AS amount,
    CASE ended.state WHEN '1' THEN opportunity.isocurrencycode END AS currency,
    CASE ended.state WHEN '2' THEN COALESCE(label.label, lead.statuscode::text) END AS lost_reason
FROM ended
INNER JOIN replica.lead AS lead ON lead.leadid = ended.lead_id
LEFT JOIN opportunity ON opportunity.lead_id = ended.lead_id
LEFT JOIN replica.label AS label
    ON label.entity = 'lead' AND label.attribute = 'statuscode' AND label.code = lead.statuscode::text
-- the loser of a merge is closed by the merge: that is no outcome
WHERE NOT COALESCE(lead.merged, FALSE);
