-- source.activity over Dynamics 365: completed activities regarding a lead, or regarding the opportunity it became.
-- Grain: one row per activity. Key: activity_id.
CREATE OR REPLACE VIEW source.activity AS
WITH
regarding AS (
    SELECT leadid AS object_id, leadid AS lead_id FROM replica.lead

    UNION ALL

    SELECT opportunityid, originatingleadid FROM replica.opportunity WHERE originatingleadid IS NOT NULL
),
touch AS (
    SELECT
        pointer.*,
        regarding.lead_id,
        -- the type is a word or a number, by connector
        LOWER(COALESCE(label.label, pointer.activitytypecode)) AS kind,
        COALESCE(phonecall.directioncode, email.directioncode, TRUE) AS is_outgoing,
        COALESCE(pointer.actualend, pointer.actualstart, pointer.modifiedon) AS occurred_at
    FROM replica.activitypointer AS pointer
    INNER JOIN regarding ON regarding.object_id = pointer.regardingobjectid
    LEFT JOIN replica.phonecall AS phonecall ON phonecall.activityid = pointer.activityid
    LEFT JOIN replica.email AS email ON email.activityid = pointer.activityid
    LEFT JOIN replica.label AS label
        ON label.entity = 'activitypointer' AND label.attribute = 'activitytypecode'
        AND label.code = pointer.activitytypecode
    WHERE pointer.statecode = 1 AND NOT pointer.is_removed   -- 0 open, 1 completed, 2 cancelled, 3 scheduled
)
SELECT
    activityid AS activity_id,
    lead_id,
    occurred_at,
    'second'::text AS occurred_precision,
    arrived_at AS ingested_at,
    CASE
        WHEN kind IN ('phonecall', 'phone call') THEN 'call'
        WHEN kind IN ('email', 'e-mail') AND is_outgoing THEN 'email_sent'
        WHEN kind IN ('email', 'e-mail') THEN 'email_reply'
        WHEN kind = 'appointment' THEN 'meeting'
        ELSE kind
    END AS activity_type,
    CASE WHEN is_outgoing THEN 'outbound' ELSE 'inbound' END AS direction,
    CASE WHEN kind IN ('email', 'e-mail') THEN 'email' WHEN kind LIKE 'phone%' THEN 'phone' ELSE kind END AS channel,
    NULL::text AS outcome,
    actualdurationminutes * 60 AS duration_seconds,
    ownerid AS actor_id,
    FALSE AS is_bot,
    NULL::text AS campaign_id,
    NULL::text AS url_class
FROM touch
WHERE occurred_at IS NOT NULL;
