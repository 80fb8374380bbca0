-- Status is a known word, and says whether there is a score: a missing score is a status, never a 0.
SELECT lead_id, status, score, probability
FROM candidate
WHERE status NOT IN
      ('scored', 'insufficient_data', 'excluded', 'opted_out', 'too_young', 'closed', 'kept_last_on_error')
   OR (status IN ('scored', 'kept_last_on_error')) <> (score IS NOT NULL)
   OR (score IS NULL) <> (probability IS NULL)
