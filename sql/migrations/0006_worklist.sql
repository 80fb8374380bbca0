-- What sales works with: who is left out and why, each owner's list of the day, people's word on it, and what changed.
-- docs/guides/worklist.md and docs/guides/push.md describe every table and view.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sales_writer') THEN
        BEGIN
            CREATE ROLE sales_writer NOLOGIN;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE insufficient_privilege USING MESSAGE = format(
                    '%I may not create roles; let an administrator run: CREATE ROLE sales_writer NOLOGIN;'
                    ' GRANT sales_writer TO %I', current_user, current_user);
        END;
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        BEGIN
            EXECUTE format('GRANT sales_writer TO %I', current_user);
        EXCEPTION
            WHEN unique_violation OR internal_error THEN NULL;  -- granted by a concurrent session
            WHEN insufficient_privilege THEN
                IF NOT pg_has_role(current_user, 'sales_writer', 'USAGE') THEN
                    RAISE insufficient_privilege USING MESSAGE = format(
                        '%I is no member of sales_writer; let an administrator run: GRANT sales_writer TO %I',
                        current_user, current_user);
                END IF;
        END;
    END IF;
END
$$;

-- Why a lead has its status, and what its number comes from.
ALTER TABLE scoring.lead_score_published ADD COLUMN status_reason text, ADD COLUMN tier text;
ALTER TABLE scoring.lead_score_history ADD COLUMN status_reason text, ADD COLUMN tier text;

CREATE OR REPLACE VIEW scoring.lead_score AS
SELECT published.*
FROM scoring.score_pointer AS pointer
JOIN scoring.lead_score_published AS published
  ON published.run_id = pointer.run_id AND published.model_key = pointer.model_key;

-- Leads that get no score because a person says so. Patterns are plain words; case does not matter.
CREATE TABLE scoring.exclusion_rule (
    rule_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL
                CHECK (kind IN ('account_is', 'email_domain', 'title_word', 'lead_source', 'account_id', 'lead_id')),
    pattern     text NOT NULL CHECK (pattern <> ''),
    reason      text NOT NULL CHECK (reason <> ''),
    author      text NOT NULL DEFAULT session_user CHECK (author <> ''),
    expires_on  date,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (kind, pattern),
    CHECK (kind <> 'account_is' OR pattern IN ('customer', 'competitor'))
);

INSERT INTO scoring.exclusion_rule (kind, pattern, reason, author) VALUES
    ('account_is', 'competitor', 'competitor', 'leadscore'),
    ('account_is', 'customer', 'existing customer', 'leadscore'),
    ('title_word', 'student', 'student', 'leadscore'),
    ('title_word', 'pupil', 'student', 'leadscore'),
    ('title_word', 'schüler', 'student', 'leadscore'),
    ('title_word', 'étudiant', 'student', 'leadscore'),
    ('email_domain', 'mailinator.com', 'spam: throw-away address', 'leadscore'),
    ('email_domain', 'guerrillamail.com', 'spam: throw-away address', 'leadscore'),
    ('email_domain', '10minutemail.com', 'spam: throw-away address', 'leadscore'),
    ('email_domain', 'yopmail.com', 'spam: throw-away address', 'leadscore'),
    ('email_domain', 'trashmail.com', 'spam: throw-away address', 'leadscore');

-- How lists are cut: one row, changed by hand.
CREATE TABLE scoring.worklist_policy (
    is_only_row       boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    default_capacity  integer NOT NULL DEFAULT 20 CHECK (default_capacity >= 0),
    account_cap       integer NOT NULL DEFAULT 2 CHECK (account_cap >= 1),
    cool_down_days    integer NOT NULL DEFAULT 3 CHECK (cool_down_days >= 0),
    quiet_days        integer NOT NULL DEFAULT 30 CHECK (quiet_days >= 1),
    useless_days      integer NOT NULL DEFAULT 14 CHECK (useless_days >= 0),
    recycle_share     double precision NOT NULL DEFAULT 0.10 CHECK (recycle_share BETWEEN 0 AND 1),
    explore_share     double precision NOT NULL DEFAULT 0.05 CHECK (explore_share BETWEEN 0 AND 0.5),
    holdout_share     double precision NOT NULL DEFAULT 0.05 CHECK (holdout_share BETWEEN 0 AND 0.5)
);
INSERT INTO scoring.worklist_policy DEFAULT VALUES;

-- Copied from the source at each publication.
CREATE TABLE scoring.owner (
    owner_id        text PRIMARY KEY,
    team_id         text,
    is_active       boolean NOT NULL,
    daily_capacity  integer,
    absent_until    date
);
CREATE TABLE scoring.lead_touch (
    lead_id           text PRIMARY KEY,
    account_id        text,
    last_outbound_at  timestamptz,
    last_touch_at     timestamptz
);

-- Which arm each lead was drawn into, once and for all, and how likely that was: what any estimate of the lists' effect
-- is weighted by.
CREATE TABLE scoring.exploration (
    model_key    text NOT NULL,
    lead_id      text NOT NULL,
    arm          text NOT NULL CHECK (arm IN ('exploit', 'explore', 'holdout')),
    propensity   double precision NOT NULL CHECK (propensity > 0 AND propensity <= 1),
    assigned_on  date NOT NULL,
    PRIMARY KEY (model_key, lead_id)
);

-- The scored leads of the run in force, dealt to owners and put in order.
CREATE TABLE scoring.lead_queue (
    model_key         text NOT NULL,
    run_id            bigint NOT NULL,
    lead_id           text NOT NULL,
    owner_id          text,
    is_routed         boolean NOT NULL,
    account_id        text,
    slot              text NOT NULL CHECK (slot IN ('best', 'recycled', 'explore', 'holdout')),
    sort_key          double precision NOT NULL,
    value             double precision NOT NULL,
    expected_value    double precision,
    last_outbound_at  timestamptz,
    last_touch_at     timestamptz,
    PRIMARY KEY (model_key, lead_id)
);
CREATE INDEX lead_queue_owner ON scoring.lead_queue (model_key, owner_id, slot, sort_key DESC, lead_id);

-- Every move of the pointer: what was in force when.
CREATE TABLE scoring.pointer_move (
    model_key   text NOT NULL,
    moved_at    timestamptz NOT NULL,
    run_id      bigint NOT NULL,
    as_of_date  date NOT NULL,
    PRIMARY KEY (model_key, moved_at)
);
INSERT INTO scoring.pointer_move SELECT model_key, moved_at, run_id, as_of_date FROM scoring.score_pointer;

-- A number in [0, 1) that depends on the text alone, on any machine and in any version.
CREATE FUNCTION scoring.draw(what text) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ('x' || left(encode(sha256(convert_to(what, 'UTF8')), 'hex'), 8))::bit(32)::bigint / 4294967296.0;

-- The tables joined here have just been filled, so that the planner takes them for small: its nested loops took minutes
-- for 100,000 leads where hashes take seconds.
CREATE FUNCTION scoring.follow_pointer() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    policy scoring.worklist_policy;
    value_per_probability double precision;
BEGIN
    INSERT INTO scoring.pointer_move VALUES (NEW.model_key, NEW.moved_at, NEW.run_id, NEW.as_of_date)
    ON CONFLICT DO NOTHING;
    SELECT * INTO policy FROM scoring.worklist_policy;

    INSERT INTO scoring.exploration
    SELECT
        NEW.model_key, lead_id, arm,
        CASE arm
            WHEN 'holdout' THEN policy.holdout_share
            WHEN 'explore' THEN policy.explore_share
            ELSE 1 - policy.holdout_share - policy.explore_share
        END,
        NEW.as_of_date
    FROM scoring.lead_score_published AS published
    CROSS JOIN LATERAL (SELECT scoring.draw('arm ' || NEW.model_key || ' ' || lead_id) AS u) AS drawn
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN u < policy.holdout_share THEN 'holdout'
            WHEN u < policy.holdout_share + policy.explore_share THEN 'explore'
            ELSE 'exploit'
        END AS arm
    ) AS chosen
    WHERE run_id = NEW.run_id AND probability IS NOT NULL
      AND NOT EXISTS (
          SELECT FROM scoring.exploration AS known
          WHERE known.model_key = NEW.model_key AND known.lead_id = published.lead_id
      );

    -- Leads without an amount count with the average amount, so that all are ordered on one scale.
    SELECT COALESCE(sum(expected_value) / NULLIF(sum(probability), 0), 1) INTO value_per_probability
    FROM scoring.lead_score_published
    WHERE run_id = NEW.run_id AND expected_value IS NOT NULL;

    DELETE FROM scoring.lead_queue WHERE model_key = NEW.model_key;
    INSERT INTO scoring.lead_queue
    WITH pool AS (  -- who can be dealt leads, in all and by team; '' is everybody
        SELECT
            pool,
            count(*) AS n,
            array_agg(owner_id ORDER BY owner_id) AS members,
            array_agg(is_present ORDER BY owner_id) AS are_present,
            count(*) FILTER (WHERE is_present) AS n_present,
            array_agg(owner_id ORDER BY owner_id) FILTER (WHERE is_present) AS present
        FROM scoring.owner
        CROSS JOIN LATERAL (VALUES (''), (team_id)) AS pools (pool)
        CROSS JOIN LATERAL (SELECT COALESCE(absent_until < NEW.as_of_date, true) AS is_present) AS presence
        WHERE is_active AND pool IS NOT NULL
        GROUP BY pool
    ),
    scored AS (
        SELECT
            published.*,
            touch.account_id,
            touch.last_outbound_at,
            touch.last_touch_at,
            exploration.arm,
            owner.is_active IS NOT TRUE AS is_routed,
            CASE WHEN owner.team_id IN (SELECT pool FROM pool) THEN owner.team_id ELSE '' END AS pool,
            COALESCE(published.expected_value, probability * value_per_probability) AS value,
            COALESCE(
                touch.last_outbound_at IS NOT NULL
                AND touch.last_touch_at < (NEW.as_of_date - policy.quiet_days)::timestamp AT TIME ZONE 'UTC',
                false
            ) AS is_quiet
        FROM scoring.lead_score_published AS published
        JOIN scoring.exploration USING (model_key, lead_id)
        LEFT JOIN scoring.lead_touch AS touch USING (lead_id)
        LEFT JOIN scoring.owner AS owner USING (owner_id)
        WHERE run_id = NEW.run_id AND probability IS NOT NULL
    )
    SELECT
        scored.model_key,
        scored.run_id,
        scored.lead_id,
        CASE
            WHEN NOT is_routed THEN scored.owner_id
            -- a lead stays with its first choice, and goes to a second one only while the first is away
            WHEN n_present = 0 OR are_present[first] THEN members[first]
            ELSE present[1 + floor(scoring.draw('second route ' || lead_id) * n_present)::integer]
        END,
        is_routed,
        scored.account_id,
        CASE WHEN arm <> 'exploit' THEN arm WHEN is_quiet THEN 'recycled' ELSE 'best' END,
        CASE
            WHEN arm = 'explore' THEN scoring.draw('day ' || NEW.as_of_date || ' ' || scored.lead_id) ELSE value
        END,
        value,
        scored.expected_value,
        last_outbound_at,
        last_touch_at
    FROM scored
    LEFT JOIN pool ON is_routed AND pool.pool = scored.pool
    LEFT JOIN LATERAL (SELECT 1 + floor(scoring.draw('route ' || lead_id) * n)::integer AS first) AS choice
      ON is_routed;
    RETURN NULL;
END
$$;

CREATE TRIGGER follow_pointer AFTER INSERT OR UPDATE ON scoring.score_pointer
FOR EACH ROW EXECUTE FUNCTION scoring.follow_pointer();

-- How many places each owner's list has today, by capacity and absence, and how many of each kind: shares of few places
-- are made right over the days by a draw per owner and day.
CREATE VIEW scoring.worklist_owner AS
SELECT
    pointer.model_key,
    pointer.run_id,
    pointer.as_of_date,
    owner.owner_id,
    places.n_places,
    floor(n_places * explore_share
          + scoring.draw('explore ' || owner.owner_id || ' ' || pointer.as_of_date))::integer AS n_explore,
    floor(n_places * recycle_share
          + scoring.draw('recycle ' || owner.owner_id || ' ' || pointer.as_of_date))::integer AS n_recycled,
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
) AS places;

-- People's word. It changes lists, never a number of the model.
CREATE TABLE sales.lead_override (
    lead_id       text PRIMARY KEY,
    position      integer CHECK (position >= 1),
    hidden_until  date,
    reason        text NOT NULL CHECK (reason <> ''),
    author        text NOT NULL DEFAULT session_user CHECK (author <> ''),
    expires_on    date NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (num_nonnulls(position, hidden_until) = 1)
);

CREATE FUNCTION sales.day_in_force() RETURNS date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN (SELECT COALESCE(max(as_of_date), current_date) FROM scoring.score_pointer);

CREATE TABLE sales.lead_feedback (
    feedback_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lead_id      text NOT NULL,
    is_useful    boolean NOT NULL,
    comment      text,
    author       text NOT NULL DEFAULT session_user CHECK (author <> ''),
    about_date   date NOT NULL DEFAULT sales.day_in_force(),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX lead_feedback_lead ON sales.lead_feedback (lead_id, about_date) WHERE NOT is_useful;

CREATE VIEW sales.worklist AS
SELECT
    today.model_key,
    today.owner_id,
    listed.place::integer AS place,
    listed.lead_id,
    listed.kind,
    listed.why,
    published.score,
    published.grade,
    published.probability,
    listed.expected_value,
    CASE WHEN listed.expected_value IS NOT NULL THEN published.currency END AS currency,
    published.trend,
    published.reason_1,
    published.reason_2,
    published.reason_3,
    listed.account_id,
    listed.is_routed,
    listed.last_outbound_at,
    published.status,
    today.as_of_date,
    published.valid_until,
    today.run_id
FROM scoring.worklist_owner AS today
CROSS JOIN LATERAL (
    WITH ready AS (  -- the best of each slot; more than there are places: the account cap takes some away
        SELECT found.*
        FROM unnest(ARRAY['best', 'recycled', 'explore']) AS wanted (slot)
        CROSS JOIN LATERAL (
            SELECT queue.*
            FROM scoring.lead_queue AS queue
            WHERE queue.model_key = today.model_key
              AND queue.owner_id = today.owner_id
              AND queue.slot = wanted.slot
              AND (queue.last_outbound_at < today.cooled_before) IS NOT FALSE
              AND NOT EXISTS (
                  SELECT FROM sales.lead_override AS said
                  WHERE said.lead_id = queue.lead_id AND said.expires_on >= today.as_of_date
                    AND (said.position IS NOT NULL OR said.hidden_until > today.as_of_date)
              )
              AND NOT EXISTS (
                  SELECT FROM sales.lead_feedback AS said
                  WHERE said.lead_id = queue.lead_id AND NOT said.is_useful
                    AND said.about_date > today.useless_since
              )
            ORDER BY queue.sort_key DESC, queue.lead_id
            LIMIT 4 * today.n_places + 20
        ) AS found
    ),
    pool AS (
        SELECT
            queue.*, 'put here' AS kind, said.position,
            format('put here by %s: %s', said.author, said.reason) AS why
        FROM sales.lead_override AS said
        JOIN scoring.lead_queue AS queue
          ON queue.lead_id = said.lead_id AND queue.model_key = today.model_key
         AND queue.owner_id = today.owner_id
        WHERE said.position IS NOT NULL AND said.expires_on >= today.as_of_date
        UNION ALL
        SELECT
            ready.*, slot, NULL,
            CASE
                WHEN slot = 'explore' THEN 'drawn at random, to learn what the model does not know'
                WHEN slot = 'recycled' THEN format(
                    'worth another try: quiet for %s days',
                    today.as_of_date - (last_touch_at AT TIME ZONE 'UTC')::date)
                WHEN expected_value IS NULL THEN 'high probability'
                ELSE 'high expected value'
            END
        FROM ready
    ),
    numbered AS (
        SELECT *, row_number() OVER (PARTITION BY kind ORDER BY position, sort_key DESC, lead_id) AS number
        FROM pool
    ),
    turns AS (  -- who gets a place before whom; what is drawn at random gets no more than its own places
        SELECT
            *,
            CASE
                WHEN kind = 'put here' THEN 0
                WHEN kind = 'explore' AND number <= today.n_explore THEN 1
                WHEN kind = 'recycled' AND number <= today.n_recycled THEN 2
                WHEN kind = 'best' THEN 3
                WHEN kind = 'recycled' THEN 4
            END AS turn
        FROM numbered
    ),
    counted AS (
        SELECT
            *, row_number() OVER (PARTITION BY account_id ORDER BY turn, number) AS number_of_account
        FROM turns
        WHERE turn IS NOT NULL
    ),
    chosen AS (
        SELECT * FROM counted
        WHERE turn = 0 OR account_id IS NULL OR number_of_account <= today.account_cap
        ORDER BY turn, number
        LIMIT today.n_places
    ),
    valued AS (
        SELECT
            *,
            row_number() OVER (PARTITION BY turn = 0 ORDER BY value DESC, lead_id) AS number_by_value,
            array_agg(position - number) FILTER (WHERE turn = 0) OVER () AS free_before
        FROM chosen
    )
    -- Leads put at a position stand there; the others take the free places in order of value: before the r-th free
    -- place lie as many taken ones as have position - number < r.
    SELECT
        *,
        row_number() OVER (
            ORDER BY
                COALESCE(position, number_by_value + (
                    SELECT count(*) FROM unnest(free_before) AS before (n) WHERE n < number_by_value
                )),
                turn > 0, number
        ) AS place
    FROM valued
) AS listed
JOIN scoring.lead_score_published AS published
  ON published.run_id = listed.run_id AND published.lead_id = listed.lead_id;

COMMENT ON VIEW sales.worklist IS
    'Version 1. Today''s list of each owner, best first; docs/guides/worklist.md.';

-- The same for one person: SET leadscore.owner_id = 'O17'.
CREATE VIEW sales.my_worklist AS
SELECT * FROM sales.worklist WHERE owner_id = current_setting('leadscore.owner_id', true);

-- What a tool that copies scores into a CRM reads.
CREATE VIEW sales.in_force AS
SELECT model_key, run_id, as_of_date, moved_at FROM scoring.score_pointer;

CREATE VIEW sales.salesforce_fields AS
SELECT
    model_key,
    lead_id AS "Id",
    status AS "Lead_Score_Status__c",
    score AS "Lead_Score__c",
    grade AS "Lead_Grade__c",
    trend AS "Lead_Score_Trend__c",
    reason_1 AS "Lead_Score_Reason_1__c",
    reason_2 AS "Lead_Score_Reason_2__c",
    reason_3 AS "Lead_Score_Reason_3__c",
    scored_at AS "Lead_Scored_At__c"
FROM scoring.lead_score;

CREATE VIEW sales.msdyn_predictivescore AS
SELECT
    model_key,
    lead_id AS msdyn_entityid,
    'lead' AS msdyn_entitytype,
    score::integer AS msdyn_score,
    array_position(ARRAY['A', 'B', 'C', 'D'], grade) - 1 AS msdyn_grade,
    COALESCE(array_position(ARRAY['rising', 'steady', 'falling'], trend) - 1, 3) AS msdyn_scoretrend,
    concat_ws('; ', reason_1, reason_2, reason_3) AS msdyn_scorereasons,
    scored_at AS msdyn_scoredon
FROM scoring.lead_score
WHERE score IS NOT NULL;

-- Leads of which something that is pushed differs from what was in force at a time; is_listed is false where there is
-- no row any more. Everything, when what was in force then is not kept.
CREATE FUNCTION sales.changed_leads(since timestamptz)
RETURNS TABLE (model_key text, lead_id text, is_listed boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH base AS (
        SELECT DISTINCT ON (model_key) model_key, run_id, as_of_date
        FROM scoring.pointer_move WHERE moved_at <= since
        ORDER BY model_key, moved_at DESC
    ),
    was AS (
        SELECT history.*
        FROM base
        JOIN scoring.lead_score_history AS history USING (model_key, run_id, as_of_date)
        WHERE (model_key, run_id) NOT IN (SELECT model_key, run_id FROM scoring.score_pointer)
    ),
    now AS (
        SELECT * FROM scoring.lead_score
        WHERE (model_key, run_id) NOT IN (SELECT model_key, run_id FROM base)
    )
    SELECT
        COALESCE(now.model_key, was.model_key), COALESCE(now.lead_id, was.lead_id), now.lead_id IS NOT NULL
    FROM now FULL JOIN was ON now.model_key = was.model_key AND now.lead_id = was.lead_id
    WHERE (now.status, now.score, now.grade, now.trend, now.reason_1, now.reason_2, now.reason_3)
        IS DISTINCT FROM (was.status, was.score, was.grade, was.trend, was.reason_1, was.reason_2, was.reason_3)
$$;

ALTER TABLE scoring.exclusion_rule OWNER TO score_writer;
ALTER TABLE scoring.worklist_policy OWNER TO score_writer;
ALTER TABLE scoring.owner OWNER TO score_writer;
ALTER TABLE scoring.lead_touch OWNER TO score_writer;
ALTER TABLE scoring.exploration OWNER TO score_writer;
ALTER TABLE scoring.lead_queue OWNER TO score_writer;
ALTER TABLE scoring.pointer_move OWNER TO score_writer;

REVOKE EXECUTE ON FUNCTION sales.changed_leads, sales.day_in_force FROM PUBLIC;
GRANT USAGE ON SCHEMA sales TO sales_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON sales.lead_override TO sales_writer;
GRANT SELECT, INSERT ON sales.lead_feedback TO sales_writer;
GRANT EXECUTE ON FUNCTION sales.day_in_force TO sales_writer;
GRANT SELECT ON sales.worklist, sales.my_worklist, sales.in_force, sales.salesforce_fields,
    sales.msdyn_predictivescore TO sales_reader;
GRANT EXECUTE ON FUNCTION sales.changed_leads TO sales_reader;
