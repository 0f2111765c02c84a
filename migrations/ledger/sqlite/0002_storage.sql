-- One dictionary for what entries repeat: SIRETs, datatypes, démarches, habilitations, holders, legal bases. A name is
-- written before the batch that needs it and never changes; 0 is no name.
CREATE TABLE ledger_name (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- When a log was closed, and when a restored backup was noticed; NULL: never.
ALTER TABLE ledger_head ADD COLUMN closed_at INTEGER;
ALTER TABLE ledger_head ADD COLUMN restored_at INTEGER;

ALTER TABLE ledger_entry RENAME TO ledger_entry_0001;

-- The leaves. Every column but `entry` is derived from it, so that a search is only a faster reading. `peer` is the
-- other end as the log's owner sees it: of requester and provider the one that is not the owner, and the requester
-- where neither is (at the authority); `other` is the provider there, and NULL at a node.
CREATE TABLE ledger_entry (
    log          INTEGER NOT NULL,
    event        INTEGER NOT NULL,
    outcome      INTEGER,
    idx          INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    leaf         INTEGER NOT NULL,
    units        INTEGER NOT NULL,
    exchange_id  BLOB,
    peer         INTEGER,
    other        INTEGER,
    requester    INTEGER,
    provider     INTEGER,
    holder       INTEGER,
    publisher    INTEGER,
    datatype     INTEGER,
    demarche     INTEGER,
    habilitation INTEGER,
    legal_basis  INTEGER,
    reason       INTEGER,
    capacity     INTEGER,
    acr          INTEGER,
    entry        BLOB NOT NULL,
    PRIMARY KEY (log, idx)
);
CREATE INDEX ledger_entry_peer ON ledger_entry (log, peer, idx) WHERE peer IS NOT NULL;
CREATE INDEX ledger_entry_other ON ledger_entry (log, other, idx) WHERE other IS NOT NULL;

-- Fields of an entry, from 1: each is one length byte and that many bytes, after the version. The place of a byte in
-- this literal is its value.
CREATE TEMPORARY TABLE bytes AS SELECT X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF' AS every;
CREATE TEMPORARY TABLE field AS
WITH RECURSIVE field (log, idx, n, place, length) AS (
    SELECT log, idx, 1, 2, instr(every, substr(entry, 2, 1)) - 1 FROM ledger_entry_0001, bytes
    UNION ALL
    SELECT f.log, f.idx, n + 1, place + 1 + length, instr(every, substr(entry, place + 1 + length, 1)) - 1
    FROM field f JOIN ledger_entry_0001 e ON e.log = f.log AND e.idx = f.idx, bytes
    WHERE n < 15
)
SELECT f.log, f.idx, n, substr(entry, place + 1, length) AS value
FROM field f JOIN ledger_entry_0001 e ON e.log = f.log AND e.idx = f.idx
WHERE n IN (7, 8, 11, 12, 13, 14, 15) AND length > 0;
CREATE UNIQUE INDEX temp.field_place ON field (log, idx, n);

CREATE TEMPORARY TABLE moved AS
SELECT log, idx, requester, provider, datatype, demarche,
    (SELECT CAST(value AS TEXT) FROM field f WHERE f.log = e.log AND f.idx = e.idx AND n = 7) AS holder,
    (SELECT CAST(value AS TEXT) FROM field f WHERE f.log = e.log AND f.idx = e.idx AND n = 8) AS publisher,
    (SELECT CAST(value AS TEXT) FROM field f WHERE f.log = e.log AND f.idx = e.idx AND n = 11) AS habilitation,
    (SELECT CAST(value AS TEXT) FROM field f WHERE f.log = e.log AND f.idx = e.idx AND n = 12) AS legal_basis,
    (SELECT instr(every, value) - 1 FROM bytes, field f WHERE f.log = e.log AND f.idx = e.idx AND n = 13) AS capacity,
    (SELECT instr(every, value) - 1 FROM bytes, field f WHERE f.log = e.log AND f.idx = e.idx AND n = 14) AS acr,
    COALESCE((SELECT (instr(every, substr(value, 1, 1)) - 1 << 56) | (instr(every, substr(value, 2, 1)) - 1 << 48)
        | (instr(every, substr(value, 3, 1)) - 1 << 40) | (instr(every, substr(value, 4, 1)) - 1 << 32)
        | (instr(every, substr(value, 5, 1)) - 1 << 24) | (instr(every, substr(value, 6, 1)) - 1 << 16)
        | (instr(every, substr(value, 7, 1)) - 1 << 8) | (instr(every, substr(value, 8, 1)) - 1)
        FROM bytes, field f WHERE f.log = e.log AND f.idx = e.idx AND n = 15), 0) AS units
FROM ledger_entry_0001 e;
CREATE UNIQUE INDEX temp.moved_place ON moved (log, idx);

INSERT INTO ledger_name (name)
SELECT name FROM (
    SELECT requester AS name FROM moved UNION SELECT provider FROM moved UNION SELECT holder FROM moved
    UNION SELECT publisher FROM moved UNION SELECT datatype FROM moved UNION SELECT demarche FROM moved
    UNION SELECT habilitation FROM moved UNION SELECT legal_basis FROM moved
) WHERE name IS NOT NULL ORDER BY name;

INSERT INTO ledger_entry (log, event, outcome, idx, at, leaf, units, exchange_id, peer, other, requester, provider,
    holder, publisher, datatype, demarche, habilitation, legal_basis, reason, capacity, acr, entry)
SELECT e.log, e.event, e.outcome, e.idx, e.at, e.leaf, m.units, e.exchange_id,
    CASE WHEN m.requester = own.siret THEN provider.id ELSE requester.id END,
    CASE WHEN m.requester = own.siret OR m.provider = own.siret THEN NULL ELSE provider.id END,
    requester.id, provider.id, holder.id, publisher.id, datatype.id, demarche.id, habilitation.id, legal_basis.id,
    e.reason, m.capacity, m.acr, e.entry
FROM ledger_entry_0001 e
JOIN moved m ON m.log = e.log AND m.idx = e.idx
JOIN (SELECT log, CASE WHEN origin LIKE 'urn:unefois:participant:%/%' THEN substr(origin, 25, 14) END AS siret
    FROM ledger_head) own ON own.log = e.log
LEFT JOIN ledger_name requester ON requester.name = m.requester
LEFT JOIN ledger_name provider ON provider.name = m.provider
LEFT JOIN ledger_name holder ON holder.name = m.holder
LEFT JOIN ledger_name publisher ON publisher.name = m.publisher
LEFT JOIN ledger_name datatype ON datatype.name = m.datatype
LEFT JOIN ledger_name demarche ON demarche.name = m.demarche
LEFT JOIN ledger_name habilitation ON habilitation.name = m.habilitation
LEFT JOIN ledger_name legal_basis ON legal_basis.name = m.legal_basis
ORDER BY e.log, e.idx;

DROP TABLE field;
DROP TABLE moved;
DROP TABLE bytes;
DROP TABLE ledger_entry_0001;

-- The first 16 bytes of an HMAC tell handles and persons apart as well as all 32.
ALTER TABLE handle_index RENAME TO handle_index_0001;
CREATE TABLE handle_index (
    log    INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    mac    BLOB NOT NULL,
    PRIMARY KEY (log, bucket, mac, idx)
) WITHOUT ROWID;
INSERT INTO handle_index (log, bucket, idx, mac) SELECT log, bucket, idx, substr(mac, 1, 16) FROM handle_index_0001;
DROP TABLE handle_index_0001;

ALTER TABLE person_index RENAME TO person_index_0001;
CREATE TABLE person_index (
    log    INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    mac    BLOB NOT NULL,
    PRIMARY KEY (log, bucket, mac, idx)
) WITHOUT ROWID;
INSERT INTO person_index (log, bucket, idx, mac) SELECT log, bucket, idx, substr(mac, 1, 16) FROM person_index_0001;
DROP TABLE person_index_0001;

-- `unit` is the handle's own first two bytes, when it was drawn, so that secrets of handles drawn together lie together;
-- -1 where it was not kept.
ALTER TABLE grant_secret RENAME TO grant_secret_0001;
CREATE TABLE grant_secret (
    month  INTEGER NOT NULL,
    unit   INTEGER NOT NULL,
    log    INTEGER NOT NULL,
    mac    BLOB NOT NULL,
    secret BLOB NOT NULL,
    PRIMARY KEY (month, unit, mac, log)
) WITHOUT ROWID;
INSERT INTO grant_secret (month, unit, log, mac, secret)
SELECT month, -1, log, substr(mac, 1, 16), secret FROM grant_secret_0001;
DROP TABLE grant_secret_0001;
