-- One row a log, the only row of a log that is ever updated. `holder` is drawn by the process that writes the log;
-- `epoch` grows each time a process takes it, so that an older writer writes nothing.
CREATE TABLE ledger_head (
    log        INTEGER PRIMARY KEY,
    origin     TEXT NOT NULL UNIQUE,
    epoch      INTEGER NOT NULL,
    holder     BLOB NOT NULL,
    size       INTEGER NOT NULL,
    root       BLOB NOT NULL,
    at         INTEGER NOT NULL,
    view_epoch INTEGER NOT NULL,
    view_seq   INTEGER NOT NULL,
    checkpoint TEXT NOT NULL
);

-- The leaves. Every column but `entry` is derived from it, so that a search is only a faster reading.
CREATE TABLE ledger_entry (
    log         INTEGER NOT NULL,
    idx         INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    leaf        INTEGER NOT NULL,
    exchange_id BLOB,
    event       INTEGER NOT NULL,
    outcome     INTEGER,
    reason      INTEGER,
    requester   TEXT,
    provider    TEXT,
    datatype    TEXT,
    demarche    TEXT,
    entry       BLOB NOT NULL,
    PRIMARY KEY (log, idx)
);

-- Full tiles only: the right edge is rebuilt from the last entries and tiles.
CREATE TABLE ledger_tile (
    log    INTEGER NOT NULL,
    level  INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (log, level, idx)
);

-- Which request holds a handle (key: the handle), or one use of a standing one (key: handle, request id). The
-- replicas of a participant share these rows, whatever log they write.
CREATE TABLE claim (
    key          BLOB NOT NULL PRIMARY KEY,
    client       TEXT NOT NULL,
    request_id   BLOB NOT NULL,
    request_hash BLOB NOT NULL,
    payload_mac  BLOB,
    live         INTEGER NOT NULL,
    at           INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE claim_count (
    handle BLOB NOT NULL PRIMARY KEY,
    uses   INTEGER NOT NULL,
    at     INTEGER NOT NULL
) WITHOUT ROWID;

-- Erasable, beside the log. The bucket is idx >> 16, so that inserts stay at the right edge.
CREATE TABLE handle_index (
    log    INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    mac    BLOB NOT NULL,
    idx    INTEGER NOT NULL,
    PRIMARY KEY (log, bucket, mac, idx)
) WITHOUT ROWID;

CREATE TABLE person_index (
    log    INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    mac    BLOB NOT NULL,
    idx    INTEGER NOT NULL,
    PRIMARY KEY (log, bucket, mac, idx)
) WITHOUT ROWID;

-- What opens the commitments of one handle in one month (year * 12 + month - 1). Each log keeps its own row (0: kept
-- for no log), so that two replicas never wait for each other.
CREATE TABLE grant_secret (
    month  INTEGER NOT NULL,
    mac    BLOB NOT NULL,
    log    INTEGER NOT NULL,
    secret BLOB NOT NULL,
    PRIMARY KEY (month, mac, log)
) WITHOUT ROWID;

-- What `evidence_commit` of an entry commits to, with its salt.
CREATE TABLE ledger_evidence (
    log  INTEGER NOT NULL,
    idx  INTEGER NOT NULL,
    salt BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (log, idx)
);

-- The last head seen of each peer's log.
CREATE TABLE peer_state (
    origin     TEXT NOT NULL PRIMARY KEY,
    size       INTEGER NOT NULL,
    root       BLOB NOT NULL,
    checkpoint TEXT NOT NULL,
    at         INTEGER NOT NULL
) WITHOUT ROWID;

-- Leaf hashes of entries that a peer says it received and logged.
CREATE TABLE peer_receipt (
    leaf BLOB NOT NULL,
    peer TEXT NOT NULL,
    at   INTEGER NOT NULL,
    PRIMARY KEY (leaf, peer)
) WITHOUT ROWID;
