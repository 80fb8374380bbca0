-- Schemas, roles, and which source is installed.
-- Roles belong to the whole server: another database of it may have made them already, or may be making them now.

CREATE SCHEMA source;
CREATE SCHEMA scoring;
CREATE SCHEMA sales;

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['crm_reader', 'score_writer', 'sales_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE insufficient_privilege USING MESSAGE = format(
                        '%I may not create roles; let an administrator run: CREATE ROLE %I NOLOGIN; GRANT %I TO %I',
                        current_user, role_name, role_name, current_user);
            END;
        END IF;
        -- The pipeline logs in as the owner and acts as one role at a time by SET ROLE.
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            BEGIN
                EXECUTE format('GRANT %I TO %I', role_name, current_user);
            EXCEPTION
                WHEN unique_violation OR internal_error THEN NULL;  -- granted by a concurrent session
                WHEN insufficient_privilege THEN
                    IF NOT pg_has_role(current_user, role_name, 'USAGE') THEN
                        RAISE insufficient_privilege USING MESSAGE = format(
                            '%I is no member of %I; let an administrator run: GRANT %I TO %I',
                            current_user, role_name, role_name, current_user);
                    END IF;
            END;
        END IF;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA source TO crm_reader;
GRANT USAGE, CREATE ON SCHEMA scoring TO score_writer;
GRANT USAGE ON SCHEMA sales TO sales_reader;

CREATE TABLE leadscore.source (
    is_only_row   boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    adapter       text NOT NULL,
    checksum      text NOT NULL,
    clock         date,
    installed_at  timestamptz NOT NULL DEFAULT now()
);
