-- What a producing administration has stopped answering, by its own decision.
CREATE TABLE suspension (
    id       BYTEA   NOT NULL PRIMARY KEY,
    -- 1 a participant, 2 a datatype in one revision or in any, 3 a habilitation; `key` is its name.
    kind     SMALLINT NOT NULL,
    key      TEXT     NOT NULL,
    reason   TEXT     NOT NULL,
    began_at BIGINT   NOT NULL,
    ends_at  BIGINT   NOT NULL,
    -- Ended before its time.
    ended_at   BIGINT,
    ended_why  TEXT
);

-- Which log says of which suspension that it began, or was ended, from which moment on.
CREATE TABLE suspension_logged (
    suspension BYTEA   NOT NULL REFERENCES suspension (id) ON DELETE CASCADE,
    origin     TEXT     NOT NULL,
    -- 1 began, 2 was ended
    what       SMALLINT NOT NULL,
    PRIMARY KEY (suspension, origin, what)
);
