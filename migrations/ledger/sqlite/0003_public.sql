-- The head of each log that anybody may see: the last one published, with its cosignatures. `at` is when its size was
-- published; a row never goes back.
CREATE TABLE ledger_checkpoint (
    log        INTEGER PRIMARY KEY,
    size       INTEGER NOT NULL,
    root       BLOB NOT NULL,
    checkpoint TEXT NOT NULL,
    at         INTEGER NOT NULL
);

-- The last head that this participant cosigned of each log of others. The replicas share it, so that no two of them
-- cosign two histories.
CREATE TABLE witness_state (
    origin     TEXT NOT NULL PRIMARY KEY,
    size       INTEGER NOT NULL,
    root       BLOB NOT NULL,
    checkpoint TEXT NOT NULL,
    at         INTEGER NOT NULL
) WITHOUT ROWID;
