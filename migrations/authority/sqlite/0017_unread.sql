-- Since when an identity that lacks the digest of 0015 is known not to open: what its person objects to holds under the exact
-- identity alone from then on, and for nobody else.
ALTER TABLE person_pivot ADD COLUMN unread_at INTEGER;
