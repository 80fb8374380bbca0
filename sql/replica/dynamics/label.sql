-- replica.label: what the numbers of option sets mean, in one language: English where it is installed.
-- Grain: one row per table, attribute and number. Key: entity, attribute, code.
CREATE VIEW replica.label AS
SELECT DISTINCT ON (objecttypecode, attributename, attributevalue)
    objecttypecode AS entity,
    attributename AS attribute,
    attributevalue AS code,
    value AS label
FROM replica.stringmap
WHERE NOT is_removed
ORDER BY objecttypecode, attributename, attributevalue, langid = 1033 DESC NULLS LAST, langid;
