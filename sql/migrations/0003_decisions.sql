-- Every decision about who is champion, with all it was based on. A decision is written before anything moves, so that
-- after a crash the next command knows what was under way: flows/promotion.py.

CREATE TABLE scoring.decision (
    decision_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_key        text NOT NULL,
    as_of_date       date NOT NULL,
    decided_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind             text NOT NULL CHECK (kind IN ('nightly', 'search', 'by_hand', 'roll_back')),
    verdict          text NOT NULL CHECK (verdict IN ('promote', 'shadow', 'refuse')),
    -- pending: waits for its scores; in_force: in force, the registry has to follow; done: it has;
    -- shadow: the challenger is being watched; refused; abandoned: it never came into force
    state            text NOT NULL
                     CHECK (state IN ('pending', 'in_force', 'done', 'shadow', 'refused', 'abandoned')),
    cause            text NOT NULL,
    reasons          jsonb NOT NULL DEFAULT '[]',
    champion_before  text,
    challenger       text,
    champion_after   text,
    recipe           jsonb NOT NULL DEFAULT '{}',
    is_new_recipe    boolean NOT NULL DEFAULT false,
    checks           jsonb NOT NULL DEFAULT '{}',
    inputs           jsonb NOT NULL DEFAULT '{}',
    mlflow_run_id    text,
    finished_at      timestamptz
);

CREATE INDEX decision_newest ON scoring.decision (model_key, decision_id DESC);

-- One promotion at a time is under way, and one challenger at a time runs in the shadow.
CREATE UNIQUE INDEX decision_one_under_way
    ON scoring.decision (model_key) WHERE state IN ('pending', 'in_force');
CREATE UNIQUE INDEX decision_one_shadow ON scoring.decision (model_key) WHERE state = 'shadow';

-- Evidence on a pair of models as labels arrive: the champion against the one it replaced, and against a challenger in the
-- shadow. One row per pair; the newest week counted is in the state.
CREATE TABLE scoring.model_pair (
    model_key      text NOT NULL,
    purpose        text NOT NULL CHECK (purpose IN ('roll_back', 'shadow')),
    in_use         text NOT NULL,
    other          text NOT NULL,
    since          date NOT NULL,
    state          jsonb NOT NULL DEFAULT '{}',
    e_value        double precision NOT NULL DEFAULT 1,
    changed_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model_key, purpose)
);

ALTER TABLE scoring.decision OWNER TO score_writer;
ALTER TABLE scoring.model_pair OWNER TO score_writer;
