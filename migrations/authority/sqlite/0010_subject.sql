-- Whom a grant is about, where that is not the person who gave it: sealed, as identities are.
CREATE TABLE grant_subject (
    grant_id BLOB NOT NULL PRIMARY KEY REFERENCES person_grant (id),
    sealed BLOB NOT NULL
);
