-- What is listed has a number of the run in force, and its number is the model's.
SELECT listed.model_key, listed.lead_id, listed.status, listed.probability
FROM sales.worklist AS listed
LEFT JOIN scoring.lead_score AS score USING (model_key, lead_id, run_id)
WHERE score.probability IS NULL OR listed.probability <> score.probability OR listed.score <> score.score
