-- What a consuming node was told of withdrawals, and what its back-office has to know of its grants.

-- Up to which record of an authority's withdrawal log this node was told all that concerns it.
CREATE TABLE consumer_feed (
    authority TEXT   NOT NULL PRIMARY KEY,
    epoch     INTEGER NOT NULL,
    seq       INTEGER NOT NULL
) WITHOUT ROWID;

-- The number of a tenant's last notice; given under this row's lock, so that numbers appear in the order of commits.
CREATE TABLE consumer_notice_head (
    tenant TEXT   NOT NULL PRIMARY KEY,
    seq    INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE consumer_notice (
    tenant TEXT     NOT NULL,
    seq    INTEGER   NOT NULL,
    handle BLOB     NOT NULL REFERENCES consumer_element (handle) ON DELETE CASCADE,
    kind   INTEGER  NOT NULL,
    at     INTEGER   NOT NULL,
    PRIMARY KEY (tenant, seq)
) WITHOUT ROWID;
CREATE INDEX consumer_notice_handle ON consumer_notice (handle);

-- When the next notice of a grant's end is due: a tenth of its life before, 30 days at most, then the end itself.
ALTER TABLE consumer_grant ADD COLUMN notice_at INTEGER;
UPDATE consumer_grant SET notice_at = ends_at - MIN(2592000000000, (ends_at - at) / 10);
CREATE INDEX consumer_grant_notice ON consumer_grant (notice_at) WHERE notice_at IS NOT NULL;
