-- No account takes more places of a list than it may, but for leads that people put there.
SELECT model_key, owner_id, account_id, count(*) AS n_listed
FROM sales.worklist
CROSS JOIN scoring.worklist_policy
WHERE account_id IS NOT NULL AND kind <> 'put here'
GROUP BY model_key, owner_id, account_id, account_cap
HAVING count(*) > account_cap
