-- Rows and newest times of every source view; arrival is given where the view keeps it. Grain: one row per view.
SELECT 'lead' AS view, COUNT(*) AS n_rows, MAX(created_at) FILTER (WHERE ISFINITE(created_at)) AS newest,
    MAX(updated_at) FILTER (WHERE ISFINITE(updated_at)) AS newest_arrival
FROM source.lead
UNION ALL
SELECT 'activity', COUNT(*), MAX(occurred_at) FILTER (WHERE ISFINITE(occurred_at)),
    MAX(ingested_at) FILTER (WHERE ISFINITE(ingested_at))
FROM source.activity
UNION ALL
SELECT 'stage_history', COUNT(*), MAX(entered_at) FILTER (WHERE ISFINITE(entered_at)),
    MAX(ingested_at) FILTER (WHERE ISFINITE(ingested_at))
FROM source.stage_history
UNION ALL
SELECT 'outcome', COUNT(*), MAX(outcome_at) FILTER (WHERE ISFINITE(outcome_at)),
    MAX(ingested_at) FILTER (WHERE ISFINITE(ingested_at))
FROM source.outcome
UNION ALL
SELECT 'field_history', COUNT(*), MAX(valid_from) FILTER (WHERE ISFINITE(valid_from)), NULL FROM source.field_history
UNION ALL
SELECT 'account', COUNT(*), NULL, NULL FROM source.account
UNION ALL
SELECT 'owner', COUNT(*), NULL, NULL FROM source.owner
UNION ALL
SELECT 'consent', COUNT(*), NULL, NULL FROM source.consent
UNION ALL
SELECT 'identity_map', COUNT(*), MAX(valid_from) FILTER (WHERE ISFINITE(valid_from)), NULL FROM source.identity_map;
