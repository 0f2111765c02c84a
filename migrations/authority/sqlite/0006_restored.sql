-- That this database went back: while a row has no end, nothing is minted or withdrawn and no lease is given, since
-- producers may know withdrawals that are lost here. One row for each time, named by how it was found.
CREATE TABLE revocation_restored (
    cause TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    -- Where the log of withdrawals ended then.
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    ended_at INTEGER
);
-- A backup from before this table that was restored by itself.
INSERT INTO revocation_restored (cause, at, epoch, seq)
SELECT 'restored ' || restored.at, restored.at, COALESCE(head.epoch, 0), COALESCE(head.seq, 0)
FROM (SELECT MAX(restored_at) AS at FROM ledger_head) restored
LEFT JOIN revocation_head head ON head.id = 1
WHERE restored.at IS NOT NULL;
-- Where the log goes on beyond records that are lost for good: the head before the next record.
CREATE TABLE revocation_gap (
    seq INTEGER NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL,
    chain BLOB NOT NULL
);
