-- replica.address_contact: whose an e-mail address is. E-mail events know no contact, and joined on addresses alone
-- they would fan out. The contact whose first address it is comes before others, a living one before a removed one.
-- Grain: one row per address. Key: address, in lower case.
CREATE VIEW replica.address_contact AS
WITH
address AS (
    SELECT id, LOWER(TRIM(property_email)) AS address, TRUE AS is_first, is_removed, property_createdate
    FROM replica.contact

    UNION ALL

    SELECT contact.id, LOWER(TRIM(other.address)), FALSE, contact.is_removed, contact.property_createdate
    FROM replica.contact AS contact
    CROSS JOIN LATERAL REGEXP_SPLIT_TO_TABLE(contact.property_hs_additional_emails, ';') AS other (address)
)
SELECT DISTINCT ON (address) address, id AS contact_id
FROM address
WHERE address <> ''
ORDER BY address, is_first DESC, is_removed, property_createdate, id;
