-- For which account a mandate is given, a person's or a company's: whoever answers for it sees and ends it. Rows from before
-- have none until the authority, which alone opens them, has filled it in, and are nobody's to act by until then.
ALTER TABLE mandate ADD COLUMN principal BYTEA REFERENCES person (uid);
-- When its invitation was taken up; it is in force since whoever gave it has accepted who that is (`accepted_at`).
ALTER TABLE mandate ADD COLUMN asked_at BIGINT;
-- When the ledger held the entry of its beginning, and that of its end.
ALTER TABLE mandate ADD COLUMN accepted_logged_at BIGINT;
ALTER TABLE mandate ADD COLUMN ended_logged_at BIGINT;
-- What was taken up before that was asked of its giver stands, and what had ended has no entry of its own.
UPDATE mandate SET asked_at = accepted_at, accepted_logged_at = accepted_at WHERE accepted_at IS NOT NULL;
UPDATE mandate SET ended_logged_at = ended_at WHERE ended_at IS NOT NULL;
CREATE INDEX mandate_principal ON mandate (principal, issued_at);
CREATE INDEX mandate_unfilled ON mandate (id) WHERE principal IS NULL;
CREATE INDEX mandate_unlogged ON mandate (id)
    WHERE accepted_at IS NOT NULL AND (accepted_logged_at IS NULL OR (ended_at IS NOT NULL AND ended_logged_at IS NULL));
