-- source.activity over Salesforce: closed tasks, meetings and responses to campaigns, under the lead they belong to,
-- before and after its conversion. activity_date of a task is the day it was due and tells nothing about when it was done.
-- Grain: one row per touch. Key: activity_id.
CREATE OR REPLACE VIEW source.activity AS
WITH
done AS (
    SELECT
        *,
        COALESCE(LOWER(NULLIF(task_subtype, 'Task')), LOWER(type), 'task') AS kind
    FROM replica.task
    WHERE COALESCE(is_closed, status = 'Completed') AND NOT COALESCE(is_deleted, FALSE) AND NOT is_removed
),
response AS (
    SELECT member.*, LOWER(campaign.type) AS campaign_type
    FROM replica.campaign_member AS member
    LEFT JOIN replica.campaign AS campaign ON campaign.id = member.campaign_id
    WHERE member.first_responded_date IS NOT NULL
        AND NOT COALESCE(member.is_deleted, FALSE) AND NOT member.is_removed
),
contact_lead AS (
    SELECT DISTINCT ON (contact_id) contact_id, lead_id
    FROM replica.lead_contact
    ORDER BY contact_id, created_date, lead_id
)
SELECT
    done.id AS activity_id,
    touch_lead.lead_id,
    -- without a time of completion the last change is the latest it can have been: never too early
    COALESCE(done.completed_date_time, done.system_modstamp) AS occurred_at,
    'second'::text AS occurred_precision,
    done.arrived_at AS ingested_at,
    CASE
        WHEN done.kind IN ('email', 'listemail') THEN 'email_sent'
        WHEN done.kind LIKE '%meeting%' THEN 'meeting'
        ELSE done.kind
    END AS activity_type,
    CASE WHEN LOWER(done.call_type) = 'inbound' THEN 'inbound' ELSE 'outbound' END AS direction,
    CASE WHEN done.kind LIKE '%email' THEN 'email' WHEN done.kind = 'call' THEN 'phone' END AS channel,
    done.call_disposition AS outcome,
    done.call_duration_in_seconds AS duration_seconds,
    done.owner_id AS actor_id,
    FALSE AS is_bot,
    NULL::text AS campaign_id,
    NULL::text AS url_class
FROM done
INNER JOIN replica.touch_lead AS touch_lead ON touch_lead.touch_id = done.id
WHERE COALESCE(done.completed_date_time, done.system_modstamp) IS NOT NULL

UNION ALL

SELECT
    event.id,
    touch_lead.lead_id,
    event.start_date_time,
    'second',
    event.arrived_at,
    'meeting',
    'outbound',
    'meeting',
    NULL,
    event.duration_in_minutes * 60,
    event.owner_id,
    FALSE,
    NULL,
    NULL
FROM replica.event AS event
INNER JOIN replica.touch_lead AS touch_lead ON touch_lead.touch_id = event.id
WHERE NOT COALESCE(event.is_deleted, FALSE) AND NOT event.is_removed

UNION ALL

SELECT
    response.id,
    COALESCE(response.lead_id, contact_lead.lead_id),
    response.first_responded_date::timestamp AT TIME ZONE 'UTC',
    'day',
    response.arrived_at,
    CASE WHEN response.campaign_type LIKE '%webinar%' THEN 'webinar' ELSE 'form_submit' END,
    'inbound',
    'campaign',
    NULL,
    NULL,
    NULL,
    FALSE,
    response.campaign_id,
    NULL
FROM response
LEFT JOIN contact_lead ON contact_lead.contact_id = response.contact_id
WHERE COALESCE(response.lead_id, contact_lead.lead_id) IS NOT NULL;
