-- A request id, and what a producer has yet to be told, are one tenant's: two tenants may use one id, and neither learns
-- that the other did. Until now a node served one participant, which its grants name.
ALTER TABLE consumer_request ADD COLUMN tenant TEXT;
UPDATE consumer_request SET tenant = (SELECT g.tenant FROM consumer_grant g LIMIT 1);
DELETE FROM consumer_request WHERE tenant IS NULL;
ALTER TABLE consumer_request
    ALTER COLUMN tenant SET NOT NULL,
    DROP CONSTRAINT consumer_request_pkey,
    ADD PRIMARY KEY (tenant, request_id);

ALTER TABLE consumer_acknowledgement ADD COLUMN tenant TEXT;
UPDATE consumer_acknowledgement SET tenant = (SELECT g.tenant FROM consumer_grant g LIMIT 1);
DELETE FROM consumer_acknowledgement WHERE tenant IS NULL;
ALTER TABLE consumer_acknowledgement
    ALTER COLUMN tenant SET NOT NULL,
    DROP CONSTRAINT consumer_acknowledgement_pkey,
    ADD PRIMARY KEY (tenant, provider, leaf);
