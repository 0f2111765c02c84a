-- The element that stands in the place of one whose person narrowed it.
ALTER TABLE grant_element ADD COLUMN followed_by BYTEA REFERENCES grant_element (handle);
