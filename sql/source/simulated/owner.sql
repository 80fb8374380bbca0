-- Purpose: people who work leads, with team and capacity.
-- Grain: one row per owner. Key: owner_id.
CREATE OR REPLACE VIEW source.owner AS
WITH app_user AS (
    SELECT * FROM crm.app_user
),

team AS (
    SELECT * FROM crm.team
),

final AS (
    SELECT
        app_user.id AS owner_id,
        app_user.team_id,
        team.territory,
        app_user.is_active,
        app_user.daily_capacity_c AS daily_capacity,
        app_user.absent_until_c AS absent_until
    FROM app_user
    LEFT JOIN team ON app_user.team_id = team.id
)

SELECT * FROM final;
