-- source.activity over HubSpot: engagements by their bridge to contacts, forms, and e-mail events by the address they
-- were sent to. What HubSpot filters as a machine's is flagged, not dropped.
-- Grain: one row per touch and contact. Key: activity_id, lead_id.
CREATE OR REPLACE VIEW source.activity AS
WITH
call AS (
    SELECT
        'call'::text AS activity_type,
        engagement_id,
        property_hs_timestamp AS occurred_at,
        property_hs_createdate AS created_at,
        CASE WHEN property_hs_call_direction = 'INBOUND' THEN 'inbound' ELSE 'outbound' END AS direction,
        'phone'::text AS channel,
        property_hs_call_disposition AS outcome,
        property_hs_call_duration / 1000 AS duration_seconds,
        property_hubspot_owner_id AS actor_id
    FROM replica.engagement_call
    WHERE NOT is_removed
),
email AS (
    SELECT
        CASE WHEN property_hs_email_direction LIKE 'INCOMING%' THEN 'email_reply' ELSE 'email_sent' END,
        engagement_id,
        property_hs_timestamp,
        property_hs_createdate,
        CASE WHEN property_hs_email_direction LIKE 'INCOMING%' THEN 'inbound' ELSE 'outbound' END,
        'email',
        NULL::text,
        NULL::float8,
        property_hubspot_owner_id
    FROM replica.engagement_email
    WHERE NOT is_removed
),
meeting AS (
    SELECT
        'meeting',
        engagement_id,
        property_hs_meeting_start_time,
        property_hs_createdate,
        'outbound',
        'meeting',
        property_hs_meeting_outcome,
        EXTRACT(EPOCH FROM property_hs_meeting_end_time - property_hs_meeting_start_time)::float8,
        property_hubspot_owner_id
    FROM replica.engagement_meeting
    WHERE NOT is_removed
        AND COALESCE(UPPER(property_hs_meeting_outcome), '') NOT IN ('CANCELED', 'NO_SHOW', 'RESCHEDULED')
),
touch AS (
    SELECT * FROM call
    UNION ALL
    SELECT * FROM email
    UNION ALL
    SELECT * FROM meeting
),
participant AS (
    SELECT DISTINCT engagement_id, contact_id FROM replica.engagement_contact WHERE NOT is_removed
),
email_event AS (
    SELECT
        event.*,
        address_contact.contact_id,
        click.url,
        CASE event.type WHEN 'SENT' THEN 'email_sent' WHEN 'OPEN' THEN 'email_open' WHEN 'CLICK' THEN 'email_click' END
            AS activity_type
    FROM replica.email_event AS event
    INNER JOIN replica.address_contact AS address_contact ON address_contact.address = LOWER(TRIM(event.recipient))
    LEFT JOIN replica.email_event_click AS click ON click.id = event.id
    WHERE NOT event.is_removed
)
SELECT
    touch.engagement_id AS activity_id,
    participant.contact_id AS lead_id,
    COALESCE(touch.occurred_at, engagement."timestamp") AS occurred_at,
    'second'::text AS occurred_precision,
    COALESCE(touch.created_at, engagement.arrived_at) AS ingested_at,
    touch.activity_type,
    touch.direction,
    touch.channel,
    touch.outcome,
    touch.duration_seconds,
    COALESCE(touch.actor_id, engagement.owner_id) AS actor_id,
    FALSE AS is_bot,
    NULL::text AS campaign_id,
    NULL::text AS url_class
FROM touch
INNER JOIN participant ON participant.engagement_id = touch.engagement_id
LEFT JOIN replica.engagement AS engagement ON engagement.id = touch.engagement_id
WHERE COALESCE(touch.occurred_at, engagement."timestamp") IS NOT NULL

UNION ALL

SELECT
    id,
    contact_id,
    created,
    'second',
    arrived_at,
    activity_type,
    CASE type WHEN 'SENT' THEN 'outbound' ELSE 'inbound' END,
    'email',
    NULL,
    NULL,
    NULL,
    COALESCE(filtered_event, FALSE),
    email_campaign_id,
    CASE
        WHEN url ~* '/pricing' THEN 'pricing'
        ELSE NULLIF(SPLIT_PART(REGEXP_REPLACE(url, '^[a-z]+://[^/]*/?', ''), '/', 1), '')
    END
FROM email_event
WHERE activity_type IS NOT NULL

UNION ALL

SELECT
    conversion_id,
    contact_id,
    "timestamp",
    'second',
    arrived_at,
    'form_submit',
    'inbound',
    'web',
    NULL,
    NULL,
    NULL,
    FALSE,
    NULL,
    CASE
        WHEN page_url ~* '/pricing' THEN 'pricing'
        ELSE NULLIF(SPLIT_PART(REGEXP_REPLACE(page_url, '^[a-z]+://[^/]*/?', ''), '/', 1), '')
    END
FROM replica.contact_form_submission
WHERE NOT is_removed;
