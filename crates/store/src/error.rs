/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL names neither PostgreSQL nor SQLite, or is malformed.
    #[error("a database is postgres://… or sqlite:…")]
    Url(#[source] Option<sqlx::Error>),
    /// The server is older than this program can rest on.
    #[error("PostgreSQL 15 or later is needed, this one is {0}")]
    Version(i32),
    /// The server could lose what it acknowledged.
    #[error("PostgreSQL runs with {0}=off: what it acknowledges could be lost")]
    NotDurable(&'static str),
    /// The server is a standby, which may be behind and can be promoted: nothing is decided from it.
    #[error("this PostgreSQL is a standby in recovery: give the address of the primary")]
    Recovery,
    /// A synchronous standby is required, and there is none.
    #[error("PostgreSQL has no synchronous standby ([database] synchronous_standby): {0}")]
    Standby(&'static str),
    /// The database holds no log of this program.
    #[error("the database holds no log")]
    NoLog,
    /// Another process has this SQLite file open.
    #[error("another process uses this database")]
    Locked,
    /// The lock file beside the SQLite file cannot be made or opened.
    #[error("the lock file beside the database cannot be used")]
    LockFile(#[source] std::io::Error),
    /// The SQLite file is no longer the one that was opened: it was deleted or replaced.
    #[error("the database file was replaced under this process")]
    Replaced,
    /// The schema is newer than this program, or an applied migration was edited.
    #[error("the database's schema is not one that this program knows")]
    UnknownSchema(#[source] sqlx::migrate::MigrateError),
    /// An entry was to be stored whose names were not learned.
    #[error("an entry was to be stored before its names")]
    Unnamed,
    /// A number does not fit the column it is for.
    #[error("a number is too large for the database")]
    Range,
    /// A stored value is not one that this program writes.
    #[error("the database holds an impossible value in {0}")]
    Corrupt(&'static str),
    /// The database failed; where this came from a commit, whether it took effect is unknown.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}
