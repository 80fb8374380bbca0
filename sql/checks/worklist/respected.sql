-- What people hid, and what was touched within the cool-down, is on no list.
SELECT listed.model_key, listed.lead_id, listed.last_outbound_at, said.hidden_until
FROM sales.worklist AS listed
JOIN scoring.worklist_owner AS today USING (model_key, owner_id)
LEFT JOIN sales.lead_override AS said ON said.lead_id = listed.lead_id AND said.expires_on >= today.as_of_date
WHERE listed.kind <> 'put here'
  AND (listed.last_outbound_at >= today.cooled_before OR said.hidden_until > today.as_of_date)
