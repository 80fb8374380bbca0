-- Purpose: leads with what was known at their creation; title and size are taken back to their first value.
-- Grain: one row per lead, deleted and merged ones included. Key: lead_id.
CREATE OR REPLACE VIEW source.lead AS
WITH lead AS (
    SELECT * FROM crm.lead
),

first_value AS (
    SELECT DISTINCT ON (lead_id, field)
        lead_id,
        field,
        old_value
    FROM crm.lead_history
    WHERE field IN ('Title', 'NumberOfEmployees')
    ORDER BY lead_id, field, created_date, id
),

first_title AS (
    SELECT * FROM first_value WHERE field = 'Title'
),

first_size AS (
    SELECT * FROM first_value WHERE field = 'NumberOfEmployees'
),

final AS (
    SELECT
        lead.id AS lead_id,
        lead.created_date AS created_at,
        'second'::text AS created_precision,
        lead.owner_id,
        lead.last_modified_date AS updated_at,
        lead.matched_account_c AS account_id,
        NULL::text AS contact_id,
        lead.lead_source,
        CASE WHEN first_title.lead_id IS NULL THEN lead.title ELSE first_title.old_value END AS title,
        lead.industry,
        lead.country,
        CASE WHEN first_size.lead_id IS NULL THEN lead.number_of_employees::text ELSE first_size.old_value
        END::double precision AS employee_count,
        lead.annual_revenue::double precision AS annual_revenue,
        lower(nullif(split_part(lead.email, '@', 2), '')) AS email_domain,
        lead.description AS notes,
        lead.is_deleted,
        CASE WHEN lead.is_deleted THEN lead.system_modstamp END AS deleted_at,
        lead.master_record_id AS merged_into_id,
        jsonb_strip_nulls(
            jsonb_build_object(
                'budget', lead.budget_c,
                'preferred_language', lead.preferred_language_c,
                'campaign_id', lead.campaign_id
            )
        ) AS attrs
    FROM lead
    LEFT JOIN first_title ON lead.id = first_title.lead_id
    LEFT JOIN first_size ON lead.id = first_size.lead_id
)

SELECT * FROM final;
