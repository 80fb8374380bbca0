-- What each number comes from, for sales too; and leads that a plain rule puts in order before anybody has converted.
CREATE OR REPLACE VIEW sales.prioritized_leads AS
SELECT
    lead_id,
    model_key,
    owner_id,
    status,
    grade,
    score,
    probability,
    rank_in_owner_queue,
    rank_overall,
    percentile,
    expected_value,
    currency,
    previous_score,
    delta,
    trend,
    reason_1,
    reason_2,
    reason_3,
    confidence,
    as_of_date,
    scored_at,
    valid_until,
    model_version,
    run_id,
    tier
FROM scoring.lead_score
WHERE score IS NOT NULL OR tier = 'rule';

-- Whose lead somebody has put at a place: a list looks each of them up, and without this fetched all of everybody's.
CREATE INDEX lead_queue_owner_lead ON scoring.lead_queue (model_key, owner_id, lead_id);
