-- replica.touch_lead: the one lead that a task or event belongs to. On conversion Salesforce moves them to the contact.
-- Of several leads that became one contact, the lead that lived at that time has it, else the first one after.
-- Grain: one row per task or event of a lead. Key: touch_id.
CREATE VIEW replica.touch_lead AS
WITH
touch AS (
    SELECT id AS touch_id, who_id, COALESCE(completed_date_time, created_date) AS touched_at FROM replica.task
    UNION ALL
    SELECT id, who_id, start_date_time FROM replica.event
),
candidate AS (
    SELECT touch.touch_id, lead.id AS lead_id, TRUE AS is_living, lead.created_date
    FROM touch
    INNER JOIN replica.lead AS lead ON lead.id = touch.who_id

    UNION ALL

    SELECT
        touch.touch_id,
        lead_contact.lead_id,
        touch.touched_at >= lead_contact.created_date AND touch.touched_at < lead_contact.converted_before,
        lead_contact.created_date
    FROM touch
    INNER JOIN replica.lead_contact AS lead_contact ON lead_contact.contact_id = touch.who_id
)
SELECT DISTINCT ON (touch_id) touch_id, lead_id
FROM candidate
ORDER BY touch_id, is_living DESC NULLS LAST, created_date, lead_id;
