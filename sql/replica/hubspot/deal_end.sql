-- replica.deal_end: when a contact's deals were won or lost, by the stage they entered. A stage is won if its pipeline
-- says so, lost if its probability is 0. Deals that were deleted or merged into another one do not count.
-- Grain: one row per contact, deal and entry into a closing stage.
CREATE VIEW replica.deal_end AS
SELECT
    deal_contact.contact_id,
    deal.deal_id,
    stage.closed_won AS is_won,
    entry.date_entered AS ended_at,
    entry.arrived_at,
    deal.property_amount AS amount,
    deal.property_deal_currency_code AS currency,
    deal.property_closed_lost_reason AS lost_reason
FROM replica.deal AS deal
INNER JOIN (SELECT DISTINCT deal_id, contact_id FROM replica.deal_contact WHERE NOT is_removed) AS deal_contact
    ON deal_contact.deal_id = deal.deal_id
INNER JOIN replica.deal_stage AS entry ON entry.deal_id = deal.deal_id
INNER JOIN replica.deal_pipeline_stage AS stage ON stage.stage_id = entry.value
WHERE (stage.closed_won OR stage.probability = 0)
    AND NOT COALESCE(deal.is_deleted, FALSE) AND NOT deal.is_removed
    AND NOT EXISTS (SELECT 1 FROM replica.merged_deal AS merged WHERE merged.merged_deal_id = deal.deal_id);
