-- source.stage_history: no mapping brings stages yet, so the view is empty.
CREATE OR REPLACE VIEW source.stage_history AS
SELECT
    NULL::text AS lead_id, NULL::text AS stage, NULL::timestamptz AS entered_at, NULL::timestamptz AS ingested_at,
    NULL::text AS changed_by
WHERE FALSE;
