-- A request id, and what a producer has yet to be told, are one tenant's: two tenants may use one id, and neither learns
-- that the other did. Until now a node served one participant, which its grants name.
CREATE TABLE consumer_request_of (
    tenant     TEXT NOT NULL,
    request_id BLOB NOT NULL,
    handle     BLOB NOT NULL,
    attempts   INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    sealed     BLOB NOT NULL,
    PRIMARY KEY (tenant, request_id)
) WITHOUT ROWID;
INSERT INTO consumer_request_of (tenant, request_id, handle, attempts, at, sealed)
    SELECT g.tenant, r.request_id, r.handle, r.attempts, r.at, r.sealed
    FROM consumer_request r, (SELECT tenant FROM consumer_grant LIMIT 1) g;
DROP TABLE consumer_request;
ALTER TABLE consumer_request_of RENAME TO consumer_request;

CREATE TABLE consumer_acknowledgement_of (
    tenant   TEXT NOT NULL,
    provider TEXT NOT NULL,
    leaf     BLOB NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (tenant, provider, leaf)
) WITHOUT ROWID;
INSERT INTO consumer_acknowledgement_of (tenant, provider, leaf, at)
    SELECT g.tenant, a.provider, a.leaf, a.at
    FROM consumer_acknowledgement a, (SELECT tenant FROM consumer_grant LIMIT 1) g;
DROP TABLE consumer_acknowledgement;
ALTER TABLE consumer_acknowledgement_of RENAME TO consumer_acknowledgement;
