//! A log as its database holds it, for whoever reads the database beside the process that writes it.

use unefois_store::Db;
use unefois_store::entry::entry_range;
use unefois_tlog::{Checkpoint, Hash, Receipt, SignedCheckpoint, VerifierKey};

use crate::Error;
use crate::read::{LogView, tree_at};

/// The stored head of a log, seen to be signed and to be the root of what is stored.
#[derive(Clone, Debug)]
pub struct StoredLog {
    db: Db,
    view: LogView,
    head: Checkpoint,
}

impl StoredLog {
    /// The log whose heads `key` signs; `None` if the database holds no entry of it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if what is stored does not make the stored head; [`Error::Proof`] if that is not signed by
    /// `key`; [`Error::Store`].
    pub async fn open(db: Db, key: &VerifierKey) -> Result<Option<Self>, Error> {
        let Some(view) = LogView::stored(&db, key.name().as_str()).await? else {
            return Ok(None);
        };
        let head = view.checkpoint.verify(key)?.clone();
        if (head.size, head.root) != (view.tree.size(), view.tree.root()) {
            return Err(Error::Corrupt("the stored checkpoint is of another head"));
        }
        Ok(Some(Self { db, view, head }))
    }

    /// What the log says of itself.
    pub const fn head(&self) -> &Checkpoint {
        &self.head
    }

    /// The same as the log signed it.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.view.checkpoint
    }

    /// The proof of entry `index` under this head, the entry's bytes in it.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Store`], [`Error::Corrupt`], [`Error::Proof`].
    pub async fn receipt(&self, index: u64) -> Result<Receipt, Error> {
        let receipt = self.view.proof(&self.db, index).await?;
        let rows = entry_range(&self.db, self.view.log, index, index + 1).await?;
        let (_, entry) = rows
            .into_iter()
            .next()
            .ok_or(Error::Corrupt("an entry is missing"))?;
        Ok(receipt.with_extra(entry)?)
    }

    /// The root that the log had at `size`, by what is stored: [`StoredLog::consistency`] proves it.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Store`], [`Error::Corrupt`].
    pub async fn root_at(&self, size: u64) -> Result<Hash, Error> {
        if size > self.head.size {
            return Err(Error::OutOfRange);
        }
        let tree = tree_at(&self.db, self.view.log, size, Some(&self.view.tree)).await?;
        Ok(tree.root())
    }

    /// The proof that the log of size `new` starts with that of size `old`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Store`], [`Error::Proof`].
    pub async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        self.view.consistency(&self.db, old, new).await
    }
}
