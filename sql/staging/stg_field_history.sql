-- stg_field_history: values of fields over time, as known at $1 (as_of): what ended later is still open. Fields of leads
-- that the leak court denies are left out.
-- Grain: one row per (entity, entity_id, field, valid_from) where problem is null.
WITH
field_history AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY entity, entity_id, field, valid_from
            ORDER BY valid_to DESC NULLS FIRST, value
        ) AS copy_number
    FROM source.field_history
    WHERE ((valid_from < $1::timestamptz) IS NOT FALSE OR NOT ISFINITE(valid_from))
        AND (entity IS DISTINCT FROM 'lead' OR field IS NULL
            OR field NOT IN (SELECT column_name FROM leadscore.denied_column))
)
SELECT
    NULLIF(entity, '')::text AS entity,
    NULLIF(entity_id, '')::text AS entity_id,
    NULLIF(field, '')::text AS field,
    value::text AS value,
    CASE WHEN ISFINITE(valid_from) THEN valid_from END AS valid_from,
    CASE WHEN ISFINITE(valid_to) AND valid_to < $1::timestamptz THEN valid_to END AS valid_to,
    CASE
        WHEN COALESCE(entity_id, '') = '' THEN 'entity_id is missing'
        WHEN COALESCE(field, '') = '' THEN 'field is missing'
        WHEN NOT ISFINITE(valid_from) THEN 'valid_from is infinite'
        WHEN copy_number > 1 THEN 'the field has another value from this time on'
    END AS problem
FROM field_history;
