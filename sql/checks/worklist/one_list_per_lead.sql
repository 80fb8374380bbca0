-- No lead is on two lists of a model, or twice on one.
SELECT model_key, lead_id, count(*) AS n_listed
FROM sales.worklist
GROUP BY model_key, lead_id
HAVING count(*) > 1
