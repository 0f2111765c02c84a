-- Everything but the authority's ledger. Instants are microseconds UTC; secrets that open something (session, code,
-- refresh token, state, request_uri) are stored as SHA-256 only.

CREATE TABLE person (
    uid BYTEA PRIMARY KEY,
    created_at BIGINT NOT NULL
);

-- Who the identity provider says it is; several may be one person.
CREATE TABLE person_identity (
    iss TEXT NOT NULL,
    sub TEXT NOT NULL,
    person_uid BYTEA NOT NULL REFERENCES person (uid),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (iss, sub)
);

-- Every identity a person ever had: a keyed digest to find it, and itself sealed.
CREATE TABLE person_pivot (
    person_uid BYTEA NOT NULL REFERENCES person (uid),
    digest BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (person_uid, digest)
);
CREATE INDEX person_pivot_digest ON person_pivot (digest);

CREATE TABLE session (
    id_hash BYTEA PRIMARY KEY,
    person_uid BYTEA REFERENCES person (uid),
    idp_iss TEXT,
    acr TEXT,
    auth_time BIGINT,
    pivot_digest BYTEA,
    id_token BYTEA,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);

CREATE TABLE login_attempt (
    state_hash BYTEA PRIMARY KEY,
    session_hash BYTEA NOT NULL,
    issuer TEXT NOT NULL,
    nonce TEXT NOT NULL,
    next TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE pushed_request (
    uri_hash BYTEA PRIMARY KEY,
    client TEXT NOT NULL,
    body TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- A pushed request that a browser has opened and whose person has not chosen yet.
CREATE TABLE interaction (
    id BYTEA PRIMARY KEY,
    session_hash BYTEA NOT NULL,
    body TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE subject_try (
    dossier_hash BYTEA NOT NULL,
    day BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    PRIMARY KEY (dossier_hash, day)
);

CREATE TABLE person_grant (
    id BYTEA PRIMARY KEY,
    person_uid BYTEA NOT NULL REFERENCES person (uid),
    client TEXT NOT NULL,
    act_client TEXT,
    capacity TEXT NOT NULL,
    acr TEXT NOT NULL,
    auth_time BIGINT NOT NULL,
    idp_iss TEXT NOT NULL,
    pivot_digest BYTEA NOT NULL,
    subject_unbound TEXT,
    granted_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);
CREATE INDEX person_grant_person ON person_grant (person_uid, granted_at);

-- One handle at one producer. It is withdrawn by the record (epoch, seq) of the withdrawal log.
CREATE TABLE grant_element (
    handle BYTEA PRIMARY KEY,
    grant_id BYTEA NOT NULL REFERENCES person_grant (id),
    position BIGINT NOT NULL,
    details TEXT NOT NULL,
    left_out TEXT NOT NULL,
    withdrawn_at BIGINT,
    withdrawn_by TEXT,
    withdrawn_epoch BIGINT,
    withdrawn_seq BIGINT,
    -- When the ledger held the entry `withdrawn`.
    withdrawn_logged_at BIGINT
);
CREATE INDEX grant_element_unlogged ON grant_element (withdrawn_at)
    WHERE withdrawn_at IS NOT NULL AND withdrawn_logged_at IS NULL;
CREATE INDEX grant_element_grant ON grant_element (grant_id, position);

CREATE TABLE authorization_code (
    code_hash BYTEA PRIMARY KEY,
    grant_id BYTEA NOT NULL REFERENCES person_grant (id),
    client TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    challenge BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);

CREATE TABLE refresh_token (
    token_hash BYTEA PRIMARY KEY,
    grant_id BYTEA NOT NULL REFERENCES person_grant (id),
    client TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- One row. The sequence never restarts; whoever does not hold the epoch writes nothing.
CREATE TABLE revocation_head (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    chain BYTEA NOT NULL,
    heartbeat_at BIGINT NOT NULL
);

CREATE TABLE revocation_record (
    seq BIGINT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    kind TEXT NOT NULL,
    record_key TEXT NOT NULL,
    at BIGINT NOT NULL
);

-- What each producing process has last acknowledged; one row a start of it.
CREATE TABLE revocation_lease (
    participant TEXT NOT NULL,
    origin TEXT NOT NULL,
    boot BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    checkpoint TEXT NOT NULL,
    acknowledged_at BIGINT NOT NULL,
    PRIMARY KEY (participant, origin, boot)
);
