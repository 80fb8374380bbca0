-- replica.lead_contact: which contact a converted lead became, merges of contacts followed to the surviving one.
-- Grain: one row per converted lead and each id its contact has had. Key: lead_id, contact_id.
CREATE VIEW replica.lead_contact AS
WITH RECURSIVE
converted AS (
    SELECT
        lead.id AS lead_id,
        lead.converted_contact_id,
        lead.created_date,
        (lead.converted_date + 1)::timestamp AT TIME ZONE 'UTC' AS converted_before
    FROM replica.lead AS lead
    WHERE lead.is_converted AND lead.converted_contact_id IS NOT NULL
),
reachable AS (
    SELECT lead_id, converted_contact_id AS contact_id, created_date, converted_before, 0 AS step_count FROM converted

    UNION

    SELECT reachable.lead_id, contact.master_record_id, created_date, converted_before, step_count + 1
    FROM reachable
    INNER JOIN replica.contact AS contact ON contact.id = reachable.contact_id
    WHERE contact.master_record_id IS NOT NULL AND step_count < 8   -- contacts merged in a circle must end
)
SELECT DISTINCT lead_id, contact_id, created_date, converted_before
FROM reachable;
