-- Purpose: every stage a lead entered, rebuilt from the change log.
-- Grain: one row per stage change. Key: lead_id, entered_at.
CREATE OR REPLACE VIEW source.stage_history AS
WITH status_change AS (
    SELECT * FROM crm.lead_history WHERE field = 'Status'
),

final AS (
    SELECT
        lead_id,
        new_value AS stage,
        created_date AS entered_at,
        _synced AS ingested_at,
        created_by_id AS changed_by
    FROM status_change
)

SELECT * FROM final;
