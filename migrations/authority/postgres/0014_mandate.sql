-- A mandate: whom somebody lets act, for a company (whose certified officer gives it) or for themselves. Who, for whom and
-- for what is sealed. An invitation is what the holder takes it up with, once: its hash is all that is kept.
CREATE TABLE mandate (
    id BYTEA PRIMARY KEY,
    mandator BYTEA NOT NULL,
    holder BYTEA REFERENCES person (uid),
    invitation BYTEA UNIQUE,
    sealed BYTEA NOT NULL,
    issued_at BIGINT NOT NULL,
    invited_until BIGINT NOT NULL,
    accepted_at BIGINT,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX mandate_mandator ON mandate (mandator, issued_at);
CREATE INDEX mandate_holder ON mandate (holder, issued_at);
-- Since when an officer counts as certified for a company: what mandates rest on. It ends with a login of the same officer
-- that is not certified.
CREATE TABLE officer_certificate (
    officer BYTEA PRIMARY KEY,
    certified_at BIGINT NOT NULL,
    ended_at BIGINT
);
-- What a grant under a mandate rests on: it ends with it.
ALTER TABLE grant_subject ADD COLUMN mandate BYTEA REFERENCES mandate (id);
CREATE INDEX grant_subject_mandate ON grant_subject (mandate);
