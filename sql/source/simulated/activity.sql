-- Purpose: touches of leads from web, e-mail and CRM tasks under one set of names; plans and deleted tasks left out.
-- Grain: one row per landed touch; a replica may land one twice. Key after removing repeats: activity_id.
CREATE OR REPLACE VIEW source.activity AS
WITH web AS (
    SELECT
        *,
        CASE
            WHEN url IS NULL THEN NULL
            WHEN url LIKE '/pricing%' THEN 'pricing'
            WHEN url = '/' THEN 'home'
            ELSE split_part(url, '/', 2)
        END AS url_class
    FROM crm.web_event
),

mail AS (
    SELECT * FROM crm.email_event
),

task AS (
    SELECT * FROM crm.task WHERE status = 'Completed' AND NOT is_deleted
),

final AS (
    SELECT
        id AS activity_id,
        lead_id,
        occurred_at,
        'second'::text AS occurred_precision,
        _synced AS ingested_at,
        CASE
            WHEN event_type = 'page_view' AND url_class = 'pricing' THEN 'pricing_visit'
            WHEN event_type = 'page_view' THEN 'web_visit'
            WHEN event_type = 'webinar_attended' THEN 'webinar'
            ELSE event_type
        END AS activity_type,
        'inbound'::text AS direction,
        'web'::text AS channel,
        NULL::text AS outcome,
        duration_seconds,
        NULL::text AS actor_id,
        false AS is_bot,
        campaign_id,
        url_class
    FROM web
    UNION ALL
    SELECT
        id,
        lead_id,
        occurred_at,
        'second',
        _synced,
        'email_' || event_type,
        CASE event_type WHEN 'sent' THEN 'outbound' ELSE 'inbound' END,
        'email',
        NULL,
        NULL,
        NULL,
        is_machine,
        campaign_id,
        nullif(split_part(url, '/', 2), '')
    FROM mail
    UNION ALL
    SELECT
        id,
        who_id,
        coalesce(completed_date_time, activity_date::timestamp AT TIME ZONE 'UTC'),
        CASE WHEN completed_date_time IS NULL THEN 'day' ELSE 'second' END,
        _synced,
        lower(task_subtype),
        lower(direction),
        CASE task_subtype WHEN 'Call' THEN 'phone' ELSE 'meeting' END,
        call_disposition,
        call_duration_in_seconds,
        owner_id,
        false,
        NULL,
        NULL
    FROM task
)

SELECT * FROM final;
