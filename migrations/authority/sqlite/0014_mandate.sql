-- A mandate: whom somebody lets act, for a company (whose certified officer gives it) or for themselves. Who, for whom and
-- for what is sealed. An invitation is what the holder takes it up with, once: its hash is all that is kept.
CREATE TABLE mandate (
    id BLOB PRIMARY KEY,
    mandator BLOB NOT NULL,
    holder BLOB REFERENCES person (uid),
    invitation BLOB UNIQUE,
    sealed BLOB NOT NULL,
    issued_at INTEGER NOT NULL,
    invited_until INTEGER NOT NULL,
    accepted_at INTEGER,
    expires_at INTEGER NOT NULL,
    ended_at INTEGER
);
CREATE INDEX mandate_mandator ON mandate (mandator, issued_at);
CREATE INDEX mandate_holder ON mandate (holder, issued_at);
-- Since when an officer counts as certified for a company: what mandates rest on. It ends with a login of the same officer
-- that is not certified.
CREATE TABLE officer_certificate (
    officer BLOB PRIMARY KEY,
    certified_at INTEGER NOT NULL,
    ended_at INTEGER
);
-- What a grant under a mandate rests on: it ends with it.
ALTER TABLE grant_subject ADD COLUMN mandate BLOB REFERENCES mandate (id);
CREATE INDEX grant_subject_mandate ON grant_subject (mandate);
