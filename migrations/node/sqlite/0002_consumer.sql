-- What a consuming node holds for its back-office. Names that point at a person (state, session, grant, file, handle)
-- are MACs under a key outside the database; everything else personal is sealed with AES-256-GCM under another.

-- Pushed requests that wait for their browser. A row serves once.
CREATE TABLE consumer_pending (
    state      BLOB NOT NULL PRIMARY KEY,
    tenant     TEXT NOT NULL,
    session    BLOB NOT NULL,
    sealed     BLOB NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE consumer_grant (
    mac     BLOB NOT NULL PRIMARY KEY,
    tenant  TEXT NOT NULL,
    dossier BLOB NOT NULL,
    at      INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    sealed  BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX consumer_grant_page ON consumer_grant (tenant, at, mac);

-- One element of a grant, at one producer. `request_id` is the request that a one-shot element served.
CREATE TABLE consumer_element (
    handle     BLOB NOT NULL PRIMARY KEY,
    grant_mac  BLOB NOT NULL REFERENCES consumer_grant (mac) ON DELETE CASCADE,
    place      INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    request_id BLOB,
    sealed     BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX consumer_element_grant ON consumer_element (grant_mac, place);

-- What a request id stands for, so that a retry is the same request.
CREATE TABLE consumer_request (
    request_id BLOB NOT NULL PRIMARY KEY,
    handle     BLOB NOT NULL,
    attempts   INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    sealed     BLOB NOT NULL
) WITHOUT ROWID;

-- Leaf hashes of producers' entries that this node has logged as received and not yet told them.
CREATE TABLE consumer_acknowledgement (
    provider TEXT NOT NULL,
    leaf     BLOB NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (provider, leaf)
) WITHOUT ROWID;
