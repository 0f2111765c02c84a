-- Requests that a link leads to: each stays until it is answered or given back, or its time is over.
CREATE TABLE link_request (
    uri_hash BYTEA PRIMARY KEY,
    client TEXT NOT NULL,
    body TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
-- The link that a browser opened the request by: one answer ends it for all.
ALTER TABLE interaction ADD COLUMN link_hash BYTEA;
