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

-- A list looks up each lead that somebody has put at a place: in its owner's part of an index, where most are not found,
-- instead of fetching all of everybody's. The old key would be taken for as good; a lead is there once by construction, and
-- sql/checks/worklist/one_list_per_lead.sql looks.
ALTER TABLE scoring.lead_queue DROP CONSTRAINT lead_queue_pkey;
CREATE UNIQUE INDEX lead_queue_lead ON scoring.lead_queue (model_key, owner_id, lead_id);

-- As before, but with shares drawn once per owner and not again at every lead of the list: OFFSET 0 keeps the planner
-- from putting the draw's text into each place where its number is used.
CREATE OR REPLACE VIEW scoring.worklist_owner AS
SELECT
    pointer.model_key,
    pointer.run_id,
    pointer.as_of_date,
    owner.owner_id,
    places.n_places,
    drawn.n_explore,
    drawn.n_recycled,
    policy.account_cap,
    (pointer.as_of_date - policy.cool_down_days)::timestamp AT TIME ZONE 'UTC' AS cooled_before,
    pointer.as_of_date - policy.useless_days AS useless_since
FROM scoring.score_pointer AS pointer
CROSS JOIN scoring.worklist_policy AS policy
CROSS JOIN scoring.owner AS owner
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN NOT owner.is_active OR owner.absent_until >= pointer.as_of_date THEN 0
        ELSE COALESCE(owner.daily_capacity, policy.default_capacity)
    END AS n_places
) AS places
CROSS JOIN LATERAL (
    SELECT
        floor(n_places * explore_share
              + scoring.draw('explore ' || owner.owner_id || ' ' || pointer.as_of_date))::integer AS n_explore,
        floor(n_places * recycle_share
              + scoring.draw('recycle ' || owner.owner_id || ' ' || pointer.as_of_date))::integer AS n_recycled
    OFFSET 0
) AS drawn;
