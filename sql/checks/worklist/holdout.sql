-- The hold-out is on a list only where a person put it there, and every lead that is listed has its propensity logged.
SELECT listed.model_key, listed.lead_id, listed.kind, exploration.arm
FROM sales.worklist AS listed
LEFT JOIN scoring.exploration USING (model_key, lead_id)
WHERE exploration.arm IS NULL OR (exploration.arm = 'holdout' AND listed.kind <> 'put here')
