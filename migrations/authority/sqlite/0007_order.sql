-- Why the operator ordered a withdrawal, until and after the ledger holds the entry that commits to it.
CREATE TABLE revocation_order (
    seq INTEGER NOT NULL PRIMARY KEY REFERENCES revocation_record (seq),
    reason TEXT NOT NULL,
    logged_at INTEGER
);
