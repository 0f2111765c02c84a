-- The newest start of each log that holds a lease, so that a new epoch does not take an older one's word for it.
CREATE TABLE producer_start (
    participant TEXT NOT NULL,
    origin TEXT NOT NULL,
    boot BIGINT NOT NULL,
    PRIMARY KEY (participant, origin)
);
