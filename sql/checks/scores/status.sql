-- Status is a known word, and says whether there is a score: a missing score is a status, never a 0.
SELECT lead_id, status, tier, score, probability
FROM candidate
WHERE status NOT IN
      ('scored', 'insufficient_data', 'excluded', 'opted_out', 'too_young', 'closed', 'kept_last_on_error')
   OR status IN ('scored', 'kept_last_on_error') AND score IS NULL
   OR status IN ('excluded', 'opted_out', 'too_young', 'closed') AND score IS NOT NULL
   OR (score IS NULL) <> (probability IS NULL)
   OR (tier <> 'rule' AND score IS NULL)
   OR tier NOT IN ('own_model', 'pooled_prior', 'rule')
   OR (tier = 'rule' AND (score IS NOT NULL OR status <> 'insufficient_data'))
   OR (status = 'insufficient_data' AND score IS NOT NULL) <> (tier = 'pooled_prior')
