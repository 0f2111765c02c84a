//! The dictionary of what entries repeat: SIRETs, datatypes, démarches, habilitations, holders, legal bases.

use std::collections::{BTreeSet, HashMap};

use unefois_core::{DatatypeRev, DemarcheId, Entry, HabilitationId, HolderId, LegalBasis, ParticipantId};

use crate::{Db, Error, Postgres, on, read};

/// How many names a process keeps at hand; beyond, it forgets them all and reads again what it meets.
const KEPT: usize = 65_536;

/// The number of what has no number: no name has it.
pub(crate) const UNKNOWN: i32 = 0;

/// The fields of an entry that the database holds by number, in the order of their columns.
pub(crate) const FIELDS: usize = 8;

/// Numbers of names that this process has met.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, i32>);

impl Names {
    /// Reads the numbers of every name in `entries`, and gives one to each that has none, in a short transaction of its
    /// own: a number that no entry uses harms nothing, and no batch waits for another's names.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Replaced`].
    pub async fn learn<'a>(
        &mut self,
        db: &Db,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Result<(), Error> {
        let mut missing = self.missing(entries);
        if missing.is_empty() {
            return Ok(());
        }
        self.read(db, &missing).await?;
        missing.retain(|name| !self.0.contains_key(name));
        if missing.is_empty() {
            return Ok(());
        }
        insert(db, &missing).await?;
        self.read(db, &missing).await
    }

    /// Reads the numbers of every name in `entries` that has one.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn find<'a>(
        &mut self,
        db: &Db,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Result<(), Error> {
        let missing = self.missing(entries);
        self.read(db, &missing).await
    }

    /// The number of `name`; 0 where none is known.
    pub(crate) fn id(&self, name: &str) -> i32 {
        self.0.get(name).copied().unwrap_or(UNKNOWN)
    }

    fn missing<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) -> BTreeSet<String> {
        let mut missing = BTreeSet::new();
        if self.0.len() > KEPT {
            self.0.clear();
        }
        for entry in entries {
            each_name(entry, |_, name| {
                if !self.0.contains_key(name) {
                    missing.insert(name.to_owned());
                }
            });
        }
        missing
    }

    async fn read(&mut self, db: &Db, names: &BTreeSet<String>) -> Result<(), Error> {
        if names.is_empty() {
            return Ok(());
        }
        match db {
            Db::Postgres(Postgres { pool, .. }) => {
                const SQL: &str = "SELECT name, id FROM ledger_name WHERE name = ANY($1)";
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let found = sqlx::query_as(SQL).bind(names).fetch_all(pool).await?;
                self.0.extend::<Vec<(String, i32)>>(found);
            }
            Db::Sqlite(_) => {
                for name in names {
                    if let Some(id) = name_id(db, name).await? {
                        self.0.insert(name.clone(), id);
                    }
                }
            }
        }
        Ok(())
    }
}

/// In the order of the set, so that two replicas never wait for each other in a circle.
async fn insert(db: &Db, names: &BTreeSet<String>) -> Result<(), Error> {
    match db {
        Db::Postgres(Postgres { pool, .. }) => {
            // As durable as a batch, though the batch's own commit comes later: the number is kept at hand, and one that
            // the server forgot in a crash would stand for another name.
            const SQL: &str = "INSERT INTO ledger_name (name) SELECT name FROM UNNEST($1::text[]) AS new (name) \
                 ON CONFLICT (name) DO NOTHING";
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            sqlx::query(SQL).bind(names).execute(pool).await?;
        }
        Db::Sqlite(_) => {
            const SQL: &str = "INSERT INTO ledger_name (name) VALUES ($1) ON CONFLICT (name) DO NOTHING";
            let mut tx = db.begin().await?;
            for name in names {
                on!(&mut tx, c => sqlx::query(SQL).bind(name.as_str()).execute(c).await.map(drop)?);
            }
            tx.commit().await?;
        }
    }
    Ok(())
}

/// The number of one name, if it has one.
///
/// # Errors
/// [`Error::Database`].
pub async fn name_id(db: &Db, name: &str) -> Result<Option<i32>, Error> {
    const SQL: &str = "SELECT id FROM ledger_name WHERE name = $1";
    Ok(read!(db, pool => sqlx::query_scalar::<_, i32>(SQL).bind(name).fetch_optional(pool).await?))
}

/// Calls `f` with the place of each named field that the entry has, and its name.
pub(crate) fn each_name(entry: &Entry, mut f: impl FnMut(usize, &str)) {
    let siret = |id: &Option<ParticipantId>| id.as_ref().map(ParticipantId::siret);
    if let Some(siret) = siret(&entry.requester) {
        f(0, siret.as_str());
    }
    if let Some(siret) = siret(&entry.provider) {
        f(1, siret.as_str());
    }
    if let Some(name) = entry.holder.as_ref().map(HolderId::as_str) {
        f(2, name);
    }
    if let Some(siret) = siret(&entry.publisher) {
        f(3, siret.as_str());
    }
    if let Some(name) = entry.datatype.as_ref().map(DatatypeRev::to_string) {
        f(4, &name);
    }
    if let Some(name) = entry.demarche.as_ref().map(DemarcheId::as_str) {
        f(5, name);
    }
    if let Some(name) = entry.habilitation.as_ref().map(HabilitationId::as_str) {
        f(6, name);
    }
    if let Some(name) = entry.legal_basis.as_ref().map(LegalBasis::to_string) {
        f(7, &name);
    }
}
