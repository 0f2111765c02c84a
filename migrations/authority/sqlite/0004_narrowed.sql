-- The element that stands in the place of one whose person narrowed it.
ALTER TABLE grant_element ADD COLUMN followed_by BLOB REFERENCES grant_element (handle);
