-- The words of the page on which a person chose, in its language; grants made elsewhere have none.
CREATE TABLE grant_notice (
    grant_id BYTEA PRIMARY KEY REFERENCES person_grant (id),
    language TEXT NOT NULL,
    words TEXT NOT NULL
);
