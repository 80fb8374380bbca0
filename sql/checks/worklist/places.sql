-- No list is longer than its owner's places, numbered other than 1, 2, 3, ..., or of somebody who is away.
SELECT today.model_key, today.owner_id, today.n_places, count(*) AS n_listed, max(place) AS last_place
FROM scoring.worklist_owner AS today
JOIN sales.worklist AS listed USING (model_key, owner_id)
GROUP BY today.model_key, today.owner_id, today.n_places
HAVING count(*) > today.n_places OR max(place) <> count(*) OR count(DISTINCT place) <> count(*)
