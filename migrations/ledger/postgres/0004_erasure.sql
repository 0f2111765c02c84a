-- How far each log has lost what its entries' legal basis stopped allowing before all entries do: every entry below
-- `proactive` that names CRPA-L114-8-II has neither secret nor index rows any more.
CREATE TABLE ledger_erasure (
    log       INTEGER NOT NULL PRIMARY KEY,
    proactive BIGINT  NOT NULL
);
