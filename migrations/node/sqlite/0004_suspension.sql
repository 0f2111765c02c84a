-- What a producing administration has stopped answering, by its own decision.
CREATE TABLE suspension (
    id       BLOB   NOT NULL PRIMARY KEY,
    -- 1 a participant, 2 a datatype in one revision or in any, 3 a habilitation; `key` is its name.
    kind     INTEGER NOT NULL,
    key      TEXT     NOT NULL,
    reason   TEXT     NOT NULL,
    began_at INTEGER   NOT NULL,
    ends_at  INTEGER   NOT NULL,
    -- Ended before its time.
    ended_at   INTEGER,
    ended_why  TEXT
) WITHOUT ROWID;

-- Which log says of which suspension that it began, or was ended, from which moment on.
CREATE TABLE suspension_logged (
    suspension BLOB   NOT NULL REFERENCES suspension (id) ON DELETE CASCADE,
    origin     TEXT     NOT NULL,
    -- 1 began, 2 was ended
    what       INTEGER NOT NULL,
    PRIMARY KEY (suspension, origin, what)
) WITHOUT ROWID;
