-- Buckets of 2^13 entries: the pages that a batch touches are few, and stay in memory. No two rows are alike by how
-- they are made, so that the index holds what a look-up goes by and no more.
ALTER TABLE handle_index DROP CONSTRAINT handle_index_pkey;
UPDATE handle_index SET bucket = idx >> 13;
CREATE INDEX handle_index_mac ON handle_index (bucket, mac);

ALTER TABLE person_index DROP CONSTRAINT person_index_pkey;
UPDATE person_index SET bucket = idx >> 13;
CREATE INDEX person_index_mac ON person_index (bucket, mac);
