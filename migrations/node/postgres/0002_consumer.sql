-- What a consuming node holds for its back-office. Names that point at a person (state, session, grant, file, handle)
-- are MACs under a key outside the database; everything else personal is sealed with AES-256-GCM under another.

-- Pushed requests that wait for their browser. A row serves once.
CREATE TABLE consumer_pending (
    state      BYTEA  NOT NULL PRIMARY KEY,
    tenant     TEXT   NOT NULL,
    session    BYTEA  NOT NULL,
    sealed     BYTEA  NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE consumer_grant (
    mac     BYTEA  NOT NULL PRIMARY KEY,
    tenant  TEXT   NOT NULL,
    dossier BYTEA  NOT NULL,
    at      BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    sealed  BYTEA  NOT NULL
);
CREATE INDEX consumer_grant_page ON consumer_grant (tenant, at, mac);

-- One element of a grant, at one producer. `request_id` is the request that a one-shot element served.
CREATE TABLE consumer_element (
    handle     BYTEA    NOT NULL PRIMARY KEY,
    grant_mac  BYTEA    NOT NULL REFERENCES consumer_grant (mac) ON DELETE CASCADE,
    place      SMALLINT NOT NULL,
    state      SMALLINT NOT NULL,
    request_id UUID,
    sealed     BYTEA    NOT NULL
);
CREATE INDEX consumer_element_grant ON consumer_element (grant_mac, place);

-- What a request id stands for, so that a retry is the same request.
CREATE TABLE consumer_request (
    request_id UUID    NOT NULL PRIMARY KEY,
    handle     BYTEA   NOT NULL,
    attempts   INTEGER NOT NULL,
    at         BIGINT  NOT NULL,
    sealed     BYTEA   NOT NULL
);

-- Leaf hashes of producers' entries that this node has logged as received and not yet told them.
CREATE TABLE consumer_acknowledgement (
    provider TEXT   NOT NULL,
    leaf     BYTEA  NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (provider, leaf)
);
