-- For which démarche a grant is (not known of earlier ones), and whether it rests on proactive information.
ALTER TABLE person_grant ADD COLUMN demarche TEXT;
ALTER TABLE person_grant ADD COLUMN proactive INTEGER NOT NULL DEFAULT 0;
-- What people object to: everything that is fetched without being asked for, or what one body fetches, or for one démarche
-- of it. A row goes when its time is over, or when it was lifted.
CREATE TABLE opposition (
    id BLOB PRIMARY KEY,
    person_uid BLOB NOT NULL REFERENCES person (uid),
    client TEXT,
    demarche TEXT,
    since INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    lifted_at INTEGER,
    -- What the ledger does not hold yet of it, and since when.
    unlogged TEXT,
    changed_at INTEGER NOT NULL
);
CREATE INDEX opposition_person ON opposition (person_uid);
