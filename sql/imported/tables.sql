-- Tables that `leadscore import` fills; the views of sql/source/imported read them. Running this again changes nothing.
CREATE SCHEMA IF NOT EXISTS imported;

CREATE TABLE IF NOT EXISTS imported.lead (
    lead_id           text PRIMARY KEY,
    created_at        timestamptz NOT NULL,
    created_precision text NOT NULL,
    owner_id          text,
    updated_at        timestamptz NOT NULL,
    account_id        text,
    contact_id        text,
    lead_source       text,
    title             text,
    industry          text,
    country           text,
    employee_count    float8,
    annual_revenue    float8,
    email_domain      text,
    notes             text,
    is_deleted        boolean,
    deleted_at        timestamptz,
    merged_into_id    text,
    attrs             jsonb
);

CREATE TABLE IF NOT EXISTS imported.outcome (
    lead_id           text NOT NULL,
    outcome           text NOT NULL,
    outcome_at        timestamptz NOT NULL,
    outcome_precision text NOT NULL,
    ingested_at       timestamptz,
    opportunity_id    text,
    amount            numeric,
    currency          text,
    lost_reason       text
);

CREATE TABLE IF NOT EXISTS imported.activity (
    activity_id        text NOT NULL,
    lead_id            text NOT NULL,
    occurred_at        timestamptz NOT NULL,
    occurred_precision text NOT NULL,
    ingested_at        timestamptz,
    activity_type      text NOT NULL,
    direction          text,
    channel            text,
    outcome            text,
    duration_seconds   float8,
    actor_id           text,
    is_bot             boolean,
    campaign_id        text,
    url_class          text,
    PRIMARY KEY (activity_id, lead_id)
);

CREATE TABLE IF NOT EXISTS imported.consent (
    lead_id              text PRIMARY KEY,
    opted_out_email      boolean,
    opted_out_profiling  boolean,
    opted_out_processing boolean,
    erase_requested_at   timestamptz
);

-- What was imported last, as `leadscore import` reported it: one row.
CREATE TABLE IF NOT EXISTS imported.load (
    is_only_row boolean PRIMARY KEY DEFAULT TRUE CHECK (is_only_row),
    mapping     text NOT NULL,
    report      jsonb NOT NULL,
    imported_at timestamptz NOT NULL DEFAULT NOW()
);
