-- What is in hand has a worker: its index then need not be written again when a delivery goes from claimed to
-- submitting.
DROP INDEX delivery_in_hand;
CREATE INDEX delivery_in_hand ON delivery (campaign_id, worker_id) WHERE worker_id IS NOT NULL;
