-- For which démarche a grant is (not known of earlier ones), and whether it rests on proactive information.
ALTER TABLE person_grant ADD COLUMN demarche TEXT;
ALTER TABLE person_grant ADD COLUMN proactive BOOLEAN NOT NULL DEFAULT FALSE;
-- What people object to: everything that is fetched without being asked for, or what one body fetches, or for one démarche
-- of it. A row goes when its time is over, or when it was lifted.
CREATE TABLE opposition (
    id BYTEA PRIMARY KEY,
    person_uid BYTEA NOT NULL REFERENCES person (uid),
    client TEXT,
    demarche TEXT,
    since BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    lifted_at BIGINT,
    -- What the ledger does not hold yet of it, and since when.
    unlogged TEXT,
    changed_at BIGINT NOT NULL
);
CREATE INDEX opposition_person ON opposition (person_uid);
