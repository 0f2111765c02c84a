-- Everything but the authority's ledger. Instants are microseconds UTC; secrets that open something (session, code,
-- refresh token, state, request_uri) are stored as SHA-256 only.

CREATE TABLE person (
    uid BLOB PRIMARY KEY,
    created_at INTEGER NOT NULL
);

-- Who the identity provider says it is; several may be one person.
CREATE TABLE person_identity (
    iss TEXT NOT NULL,
    sub TEXT NOT NULL,
    person_uid BLOB NOT NULL REFERENCES person (uid),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (iss, sub)
);

-- Every identity a person ever had: a keyed digest to find it, and itself sealed.
CREATE TABLE person_pivot (
    person_uid BLOB NOT NULL REFERENCES person (uid),
    digest BLOB NOT NULL,
    sealed BLOB NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (person_uid, digest)
);
CREATE INDEX person_pivot_digest ON person_pivot (digest);

CREATE TABLE session (
    id_hash BLOB PRIMARY KEY,
    person_uid BLOB REFERENCES person (uid),
    idp_iss TEXT,
    acr TEXT,
    auth_time INTEGER,
    pivot_digest BLOB,
    id_token BLOB,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
);

CREATE TABLE login_attempt (
    state_hash BLOB PRIMARY KEY,
    session_hash BLOB NOT NULL,
    issuer TEXT NOT NULL,
    nonce TEXT NOT NULL,
    next TEXT NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE TABLE pushed_request (
    uri_hash BLOB PRIMARY KEY,
    client TEXT NOT NULL,
    body TEXT NOT NULL,
    expires_at INTEGER NOT NULL
);

-- A pushed request that a browser has opened and whose person has not chosen yet.
CREATE TABLE interaction (
    id BLOB PRIMARY KEY,
    session_hash BLOB NOT NULL,
    body TEXT NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE TABLE subject_try (
    dossier_hash BLOB NOT NULL,
    day INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    PRIMARY KEY (dossier_hash, day)
);

CREATE TABLE person_grant (
    id BLOB PRIMARY KEY,
    person_uid BLOB NOT NULL REFERENCES person (uid),
    client TEXT NOT NULL,
    act_client TEXT,
    capacity TEXT NOT NULL,
    acr TEXT NOT NULL,
    auth_time INTEGER NOT NULL,
    idp_iss TEXT NOT NULL,
    pivot_digest BLOB NOT NULL,
    subject_unbound TEXT,
    granted_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL
);
CREATE INDEX person_grant_person ON person_grant (person_uid, granted_at);

-- One handle at one producer. It is withdrawn by the record (epoch, seq) of the withdrawal log.
CREATE TABLE grant_element (
    handle BLOB PRIMARY KEY,
    grant_id BLOB NOT NULL REFERENCES person_grant (id),
    position INTEGER NOT NULL,
    details TEXT NOT NULL,
    left_out TEXT NOT NULL,
    withdrawn_at INTEGER,
    withdrawn_by TEXT,
    withdrawn_epoch INTEGER,
    withdrawn_seq INTEGER,
    -- When the ledger held the entry `withdrawn`.
    withdrawn_logged_at INTEGER
);
CREATE INDEX grant_element_unlogged ON grant_element (withdrawn_at)
    WHERE withdrawn_at IS NOT NULL AND withdrawn_logged_at IS NULL;
CREATE INDEX grant_element_grant ON grant_element (grant_id, position);

CREATE TABLE authorization_code (
    code_hash BLOB PRIMARY KEY,
    grant_id BLOB NOT NULL REFERENCES person_grant (id),
    client TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    challenge BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
);

CREATE TABLE refresh_token (
    token_hash BLOB PRIMARY KEY,
    grant_id BLOB NOT NULL REFERENCES person_grant (id),
    client TEXT NOT NULL,
    expires_at INTEGER NOT NULL
);

-- One row. The sequence never restarts; whoever does not hold the epoch writes nothing.
CREATE TABLE revocation_head (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    chain BLOB NOT NULL,
    heartbeat_at INTEGER NOT NULL
);

CREATE TABLE revocation_record (
    seq INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    record_key TEXT NOT NULL,
    at INTEGER NOT NULL
);

-- What each producing process has last acknowledged; one row a start of it.
CREATE TABLE revocation_lease (
    participant TEXT NOT NULL,
    origin TEXT NOT NULL,
    boot INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    checkpoint TEXT NOT NULL,
    acknowledged_at INTEGER NOT NULL,
    PRIMARY KEY (participant, origin, boot)
);
