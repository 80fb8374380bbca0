-- source.activity over imported activities. Grain: (activity_id, lead_id).
CREATE OR REPLACE VIEW source.activity AS
SELECT
    activity_id, lead_id, occurred_at, occurred_precision, ingested_at, activity_type, direction, channel, outcome,
    duration_seconds, actor_id, is_bot, campaign_id, url_class
FROM imported.activity;
