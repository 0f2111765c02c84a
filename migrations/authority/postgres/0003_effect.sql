-- When a withdrawal had taken effect, and the proof: what the entry effective commits to. One row a record, written once.
CREATE TABLE revocation_effect (
    seq BIGINT NOT NULL PRIMARY KEY REFERENCES revocation_record (seq),
    effective_at BIGINT NOT NULL,
    effect BYTEA NOT NULL,
    -- When the ledger held the entry effective.
    logged_at BIGINT
);
CREATE INDEX revocation_effect_unlogged ON revocation_effect (seq) WHERE logged_at IS NULL;
-- The longest lease that may be in force, in milliseconds: what the next holder of the epoch waits for.
ALTER TABLE revocation_head ADD COLUMN lease_ms BIGINT NOT NULL DEFAULT 60000;
-- Acknowledgements are kept in the proofs that rest on them.
DROP TABLE revocation_lease;
