-- Who the identity provider says it is: its subject with one identity leads to one account; several may be one person.
-- A subject whose identity changes leads to another account, until a desk joins the two. Only an identity that a
-- provider of people gave (people) lets another subject join the account.
CREATE TABLE person_identity_by_pivot (
    iss TEXT NOT NULL,
    sub TEXT NOT NULL,
    pivot_digest BLOB NOT NULL,
    people INTEGER NOT NULL,
    person_uid BLOB NOT NULL REFERENCES person (uid),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (iss, sub, pivot_digest)
);
-- Whose provider it was is not known any more: the next login tells.
INSERT INTO person_identity_by_pivot (iss, sub, pivot_digest, people, person_uid, created_at)
    SELECT i.iss, i.sub, p.digest, 0, i.person_uid, i.created_at
    FROM person_identity i JOIN person_pivot p ON p.person_uid = i.person_uid;
DROP TABLE person_identity;
ALTER TABLE person_identity_by_pivot RENAME TO person_identity;
CREATE INDEX person_identity_pivot ON person_identity (pivot_digest);
DROP INDEX person_pivot_digest;
