-- Buckets of 2^13 entries: the pages that a batch touches are few, and stay in memory.
UPDATE handle_index SET bucket = idx >> 13;
UPDATE person_index SET bucket = idx >> 13;
