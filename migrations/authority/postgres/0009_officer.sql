-- Officers: whom a provider of professionals names, of one body (SIRET) each. They have no identity of a person's and are
-- in no relation to accounts of people. What a page shows of them is sealed.
CREATE TABLE officer (
    uid BYTEA PRIMARY KEY,
    iss TEXT NOT NULL,
    sub TEXT NOT NULL,
    siret TEXT NOT NULL,
    profile BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    UNIQUE (iss, sub, siret)
);
-- A session is nobody's, a person's or an officer's.
ALTER TABLE session ADD COLUMN officer_uid BYTEA REFERENCES officer (uid);
ALTER TABLE session ADD COLUMN officer_assurance TEXT;
-- What a login was begun for: less does not do.
ALTER TABLE login_attempt ADD COLUMN wanted TEXT NOT NULL DEFAULT 'eidas1';
