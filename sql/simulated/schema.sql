-- Purpose: schema crm, shaped like a replicated CRM with its marketing tools; filled by flows/adapters/simulation_loader.py.
-- Columns marked "current" are overwritten in place: no view may hand them to features.
-- Event tables have no key on purpose: a replica may land a row twice.

CREATE SCHEMA IF NOT EXISTS crm;

CREATE TABLE IF NOT EXISTS crm.team (
    id text PRIMARY KEY,
    name text NOT NULL,
    territory text,
    _synced timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS crm.app_user (
    id text PRIMARY KEY,
    name text NOT NULL,
    team_id text,
    is_active boolean NOT NULL,
    daily_capacity_c integer,
    absent_until_c date,
    _synced timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS crm.campaign (
    id text PRIMARY KEY,
    name text NOT NULL,
    type text,
    start_date date,
    _synced timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS crm.account (
    id text PRIMARY KEY,
    name text,
    parent_id text,
    industry text,
    number_of_employees bigint,
    annual_revenue numeric,
    billing_country text,
    type text,
    is_deleted boolean NOT NULL,
    created_date timestamptz NOT NULL,
    _synced timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS crm.lead (
    id text PRIMARY KEY,
    first_name text,
    last_name text,
    company text,
    title text,                          -- current; its past is in lead_history
    email text,
    lead_source text,
    industry text,
    country text,
    number_of_employees bigint,          -- current; its past is in lead_history
    annual_revenue numeric,
    description text,
    campaign_id text,
    matched_account_c text,
    owner_id text NOT NULL,
    budget_c text,
    preferred_language_c text,
    status text NOT NULL,                -- current; its past is in lead_history
    rating text,                         -- current
    is_converted boolean NOT NULL,       -- current
    converted_date date,                 -- current, date only
    converted_opportunity_id text,       -- current
    lost_reason_c text,                  -- current
    last_activity_date date,             -- current
    has_opted_out_of_email boolean NOT NULL,
    master_record_id text,               -- the lead that a merge kept
    is_deleted boolean NOT NULL,
    created_date timestamptz NOT NULL,
    last_modified_date timestamptz NOT NULL,
    system_modstamp timestamptz NOT NULL, -- of a deleted row: when it was deleted
    _synced timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS crm.lead_history (
    id text PRIMARY KEY,
    lead_id text NOT NULL,
    field text NOT NULL,
    old_value text,
    new_value text,
    created_by_id text,
    created_date timestamptz NOT NULL,
    _synced timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS crm.opportunity (
    id text PRIMARY KEY,
    lead_id_c text NOT NULL,
    account_id text,
    amount numeric,
    currency_iso_code text,
    created_date timestamptz NOT NULL,
    _synced timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS crm.individual (
    lead_id text PRIMARY KEY,
    has_opted_out_profiling boolean NOT NULL,
    has_opted_out_processing boolean NOT NULL,
    should_forget_at timestamptz,
    _synced timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS crm.web_event (
    id text NOT NULL,
    lead_id text NOT NULL,
    event_type text NOT NULL,
    url text,
    duration_seconds double precision,
    campaign_id text,
    occurred_at timestamptz NOT NULL,
    _synced timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS crm.email_event (
    id text NOT NULL,
    lead_id text NOT NULL,
    event_type text NOT NULL,
    url text,
    is_machine boolean,
    campaign_id text,
    occurred_at timestamptz NOT NULL,
    _synced timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS crm.task (
    id text NOT NULL,
    who_id text NOT NULL,
    owner_id text,
    task_subtype text,
    direction text,
    status text,
    call_disposition text,
    call_duration_in_seconds double precision,
    activity_date date,                  -- the due date: not when it happened
    completed_date_time timestamptz,     -- when it happened; sometimes missing
    is_deleted boolean NOT NULL,
    _synced timestamptz NOT NULL
);
