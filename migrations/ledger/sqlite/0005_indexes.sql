-- Buckets of 2^13 entries: the pages that a batch touches are few, and stay in memory. Keys of 15 bytes, as on
-- PostgreSQL, where that is 8 bytes a row and 8 in its index.
UPDATE handle_index SET bucket = idx >> 13, mac = substr(mac, 1, 15);
UPDATE person_index SET bucket = idx >> 13, mac = substr(mac, 1, 15);
UPDATE grant_secret SET mac = substr(mac, 1, 15);
