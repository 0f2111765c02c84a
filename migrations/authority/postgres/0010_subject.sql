-- Whom a grant is about, where that is not the person who gave it: sealed, as identities are.
CREATE TABLE grant_subject (
    grant_id BYTEA NOT NULL PRIMARY KEY REFERENCES person_grant (id),
    sealed BYTEA NOT NULL
);
