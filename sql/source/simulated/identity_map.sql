-- Purpose: leads merged into another one.
-- Grain: one row per merged lead. Key: source_id.
CREATE OR REPLACE VIEW source.identity_map AS
WITH merged AS (
    SELECT * FROM crm.lead WHERE is_deleted AND master_record_id IS NOT NULL
),

final AS (
    SELECT
        id AS source_id,
        master_record_id AS canonical_id,
        system_modstamp AS valid_from
    FROM merged
)

SELECT * FROM final;
