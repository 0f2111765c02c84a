-- Under what an identity is found whatever its spelling: a keyed digest of birth name, first word of the first names and
-- year of birth. Rows from before have none until the authority, which alone opens them, has filled it in.
ALTER TABLE person_pivot ADD COLUMN near BLOB;
CREATE INDEX person_pivot_near ON person_pivot (near);
CREATE INDEX person_pivot_not_near ON person_pivot (person_uid) WHERE near IS NULL;
