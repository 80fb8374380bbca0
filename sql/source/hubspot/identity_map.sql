-- source.identity_map over HubSpot: contacts merged into another one. The calculated list has the time of each merge,
-- "id:milliseconds;id:milliseconds"; the plain list has ids only, and the removal of the merged record dates them.
-- Grain: one row per merged contact and list. Key: source_id, canonical_id.
CREATE OR REPLACE VIEW source.identity_map AS
WITH
timed AS (
    SELECT
        SPLIT_PART(pair, ':', 1) AS source_id,
        id AS canonical_id,
        TO_TIMESTAMP(NULLIF(SPLIT_PART(pair, ':', 2), '')::bigint / 1000.0) AS valid_from
    FROM replica.contact
    CROSS JOIN LATERAL REGEXP_SPLIT_TO_TABLE(property_hs_calculated_merged_vids, ';') AS pair
    WHERE pair ~ '^\d+:\d+$' AND SPLIT_PART(pair, ':', 1) <> id
),
untimed AS (
    SELECT
        merged_id AS source_id,
        winner.id AS canonical_id,
        COALESCE(loser.removed_at, winner.property_lastmodifieddate, winner.property_createdate) AS valid_from
    FROM replica.contact AS winner
    CROSS JOIN LATERAL REGEXP_SPLIT_TO_TABLE(winner.property_hs_merged_object_ids, ';') AS merged_id
    LEFT JOIN replica.contact AS loser ON loser.id = merged_id
    WHERE merged_id <> '' AND merged_id <> winner.id
)
SELECT source_id, canonical_id, valid_from FROM timed

UNION ALL

SELECT source_id, canonical_id, valid_from
FROM untimed
WHERE NOT EXISTS (
    SELECT 1 FROM timed WHERE timed.source_id = untimed.source_id AND timed.canonical_id = untimed.canonical_id
);
