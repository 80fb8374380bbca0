-- Purpose: schema truth, the hidden parameters of simulated leads. No pipeline reads it; backtests compare with it.
-- The formula and its derivation are in simulator/truth.py; a test holds both to the same numbers.

CREATE SCHEMA IF NOT EXISTS truth;
REVOKE ALL ON SCHEMA truth FROM PUBLIC;

CREATE TABLE IF NOT EXISTS truth.lead (
    lead_id text PRIMARY KEY,
    created_at timestamptz NOT NULL,
    p_convert double precision NOT NULL,   -- chance to convert eventually
    delay_mu double precision NOT NULL,    -- log days from creation to conversion
    delay_sigma double precision NOT NULL,
    loss_mu double precision NOT NULL,     -- log days from creation to loss, for those who never convert
    loss_sigma double precision NOT NULL,
    never_lost double precision NOT NULL,  -- share of those that nobody ever closes
    outcome text,                          -- outcomes after the clock included
    outcome_at timestamptz,
    closed_at timestamptz                  -- outcome, deletion or merge; null: never
);

-- P(Z > x) of a standard normal for 0 <= x <= 12; Hart (1968) as given by West (2005).
CREATE OR REPLACE FUNCTION truth.positive_tail(x double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT exp(-0.5 * x * x) * CASE WHEN x < 7.07106781186547 THEN
        ((((((3.52624965998911e-02 * x + 0.700383064443688) * x + 6.37396220353165) * x + 33.912866078383) * x
            + 112.079291497871) * x + 221.213596169931) * x + 220.206867912376)
        / (((((((8.83883476483184e-02 * x + 1.75566716318264) * x + 16.064177579207) * x + 86.7807322029461) * x
            + 296.564248779674) * x + 637.333633378831) * x + 793.826512519948) * x + 440.413735824752)
    ELSE
        1 / ((x + 1 / (x + 2 / (x + 3 / (x + 4 / (x + 0.65))))) * 2.506628274631)
    END
$$;

-- P(T > age) of a log-normal time.
CREATE OR REPLACE FUNCTION truth.survival(age_days double precision, mu double precision, sigma double precision)
RETURNS double precision LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN x < 0 THEN 1 - truth.positive_tail(-x) ELSE truth.positive_tail(x) END
    FROM (SELECT least(greatest((ln(greatest(age_days, 1e-9)) - mu) / sigma, -12), 12) AS x) AS standardised
$$;

-- Probability to convert in [as_of, as_of + horizon_days) for the leads open at midnight UTC of as_of, or for one of them.
CREATE OR REPLACE FUNCTION truth.conversion_probability(as_of date, horizon_days integer, only_lead_id text DEFAULT NULL)
RETURNS TABLE (lead_id text, probability double precision) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH open_lead AS (
        SELECT
            lead.*,
            extract(epoch FROM as_of::timestamp AT TIME ZONE 'UTC' - lead.created_at)::double precision / 86400 AS age_days
        FROM truth.lead
        WHERE lead.created_at < as_of::timestamp AT TIME ZONE 'UTC'
            AND (lead.closed_at IS NULL OR lead.closed_at >= as_of::timestamp AT TIME ZONE 'UTC')
            AND (only_lead_id IS NULL OR lead.lead_id = only_lead_id)
    ),
    survived AS (
        SELECT
            open_lead.*,
            truth.survival(age_days, delay_mu, delay_sigma) AS waiting,
            truth.survival(age_days + horizon_days, delay_mu, delay_sigma) AS later,
            truth.survival(age_days, loss_mu, loss_sigma) AS kept
        FROM open_lead
    )
    SELECT
        survived.lead_id,
        p_convert * (waiting - later)
            / (p_convert * waiting + (1 - p_convert) * (never_lost + (1 - never_lost) * kept)) AS probability
    FROM survived
$$;
