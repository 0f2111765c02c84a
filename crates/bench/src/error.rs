/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No PostgreSQL server could be started.
    #[error("no PostgreSQL server starts: install one under /usr/lib/postgresql, or give --url")]
    Server(#[source] Option<std::io::Error>),
    /// The database given holds logs: what is measured in it would stay there.
    #[error("the database holds logs already: give an empty one")]
    NotEmpty,
    /// The loaded log does not verify: no figure of it means anything.
    #[error("the loaded log does not verify")]
    Unsound,
    /// An append was refused or failed.
    #[error("an append was not acknowledged as a release")]
    Refused,
    /// A file or a folder could not be used.
    #[error("a file of the measurement could not be used")]
    Io(#[from] std::io::Error),
    /// The ledger failed.
    #[error("the ledger failed")]
    Ledger(#[from] unefois_ledger::Error),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] unefois_store::Error),
    /// A proof or a key failed.
    #[error("the tree failed")]
    Tree(#[from] unefois_tlog::Error),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}
