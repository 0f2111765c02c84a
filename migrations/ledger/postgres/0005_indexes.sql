-- Whoever writes a log meanwhile would go on with the old buckets, where nothing is erased any more: its process stops.
LOCK TABLE ledger_head IN ACCESS EXCLUSIVE MODE;
UPDATE ledger_head SET epoch = epoch + 1, holder = gen_random_uuid();

-- Buckets of 2^13 entries: the pages that a batch touches are few, and stay in memory. Keys of 15 bytes: a row, and its
-- place in the index, take 8 bytes less than with 16. No two rows are alike by how they are made, so that the index holds
-- what a look-up goes by and no more.
ALTER TABLE handle_index RENAME TO handle_index_0002;
CREATE TABLE handle_index (
    log    INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    idx    BIGINT  NOT NULL,
    mac    BYTEA   NOT NULL
);
INSERT INTO handle_index (log, bucket, idx, mac)
SELECT log, idx >> 13, idx, substring(mac FROM 1 FOR 15) FROM handle_index_0002;
DROP TABLE handle_index_0002;
CREATE INDEX handle_index_mac ON handle_index (log, bucket, mac);

ALTER TABLE person_index RENAME TO person_index_0002;
CREATE TABLE person_index (
    log    INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    idx    BIGINT  NOT NULL,
    mac    BYTEA   NOT NULL
);
INSERT INTO person_index (log, bucket, idx, mac)
SELECT log, idx >> 13, idx, substring(mac FROM 1 FOR 15) FROM person_index_0002;
DROP TABLE person_index_0002;
CREATE INDEX person_index_mac ON person_index (log, bucket, mac);

UPDATE grant_secret SET mac = substring(mac FROM 1 FOR 15);
