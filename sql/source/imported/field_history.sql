-- source.field_history: an export holds values of one day only, so the view is empty.
CREATE OR REPLACE VIEW source.field_history AS
SELECT
    NULL::text AS entity, NULL::text AS entity_id, NULL::text AS field, NULL::text AS value,
    NULL::timestamptz AS valid_from, NULL::timestamptz AS valid_to
WHERE FALSE;
