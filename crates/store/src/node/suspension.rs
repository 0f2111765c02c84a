//! What a producer has stopped answering, by its own decision: written by its operator, followed by its replicas.

use unefois_core::Micros;

use crate::{Db, Error, Tx, on, read, to_array};

/// A suspension's name: 16 random bytes.
pub type SuspensionId = [u8; 16];

/// What is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
pub enum SuspensionKind {
    /// A participant, whether it asks for itself or for another.
    Peer = 1,
    /// A datatype, in one revision or in any.
    Datatype = 2,
    /// A habilitation.
    Habilitation = 3,
}

/// A suspension, under way or over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspensionRow {
    /// Its name.
    pub id: SuspensionId,
    /// What is suspended.
    pub kind: SuspensionKind,
    /// Its name, as the directory or the catalogue has it.
    pub key: String,
    /// Why, in the operator's words.
    pub reason: String,
    /// Since when.
    pub began_at: Micros,
    /// Until when, excluded.
    pub ends_at: Micros,
    /// When it was ended before its time, and why.
    pub ended: Option<(Micros, String)>,
}

impl SuspensionRow {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: Micros) -> bool {
        self.ended.is_none() && now < self.ends_at
    }
}

/// What a log says of a suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
pub enum Said {
    /// It began.
    Began = 1,
    /// It was ended before its time.
    Ended = 2,
}

type Row = (
    Vec<u8>,
    i16,
    String,
    String,
    i64,
    i64,
    Option<i64>,
    Option<String>,
);

fn row((id, kind, key, reason, began_at, ends_at, ended_at, ended_why): Row) -> Result<SuspensionRow, Error> {
    let kinds = [
        SuspensionKind::Peer,
        SuspensionKind::Datatype,
        SuspensionKind::Habilitation,
    ];
    let kind = kinds.into_iter().find(|known| *known as i16 == kind);
    Ok(SuspensionRow {
        id: to_array(id, "suspension.id")?,
        kind: kind.ok_or(Error::Corrupt("suspension.kind"))?,
        key,
        reason,
        began_at: Micros::new(began_at),
        ends_at: Micros::new(ends_at),
        ended: ended_at.map(|at| (Micros::new(at), ended_why.unwrap_or_default())),
    })
}

/// Keeps a suspension.
///
/// # Errors
/// [`Error::Database`].
pub async fn suspension_insert(tx: &mut Tx, suspension: &SuspensionRow) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO suspension (id, kind, key, reason, began_at, ends_at) \
         VALUES ($1, $2, $3, $4, $5, $6)";
    on!(tx, c => sqlx::query(SQL).bind(&suspension.id[..]).bind(suspension.kind as i16).bind(&suspension.key)
        .bind(&suspension.reason).bind(suspension.began_at.get()).bind(suspension.ends_at.get())
        .execute(c).await.map(drop)?);
    Ok(())
}

/// Ends a suspension before its time; whether it was under way.
///
/// # Errors
/// [`Error::Database`].
pub async fn suspension_end(tx: &mut Tx, id: &SuspensionId, at: Micros, why: &str) -> Result<bool, Error> {
    const SQL: &str = "UPDATE suspension SET ended_at = $2, ended_why = $3 \
         WHERE id = $1 AND ended_at IS NULL AND ends_at > $2";
    let ended = on!(tx, c => sqlx::query(SQL).bind(&id[..]).bind(at.get()).bind(why)
        .execute(c).await?.rows_affected());
    Ok(ended == 1)
}

/// Those that have not reached their end at `now`, ended before it or not, the oldest first.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn suspensions(db: &Db, now: Micros) -> Result<Vec<SuspensionRow>, Error> {
    const SQL: &str = "SELECT id, kind, key, reason, began_at, ends_at, ended_at, ended_why FROM suspension \
         WHERE ends_at > $1 ORDER BY began_at, id";
    let rows = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL).bind(now.get()).fetch_all(pool).await?
    });
    rows.into_iter().map(row).collect()
}

/// What the log of this origin has not said yet, the oldest first, at most 100.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn suspensions_unsaid(db: &Db, origin: &str) -> Result<Vec<(SuspensionRow, Said)>, Error> {
    const SQL: &str = "SELECT id, kind, key, reason, began_at, ends_at, ended_at, ended_why, w.what \
         FROM suspension CROSS JOIN (SELECT 1 AS what UNION ALL SELECT 2) AS w \
         WHERE (w.what = 1 OR ended_at IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM suspension_logged \
         WHERE suspension_logged.suspension = suspension.id AND origin = $1 AND suspension_logged.what = w.what) \
         ORDER BY began_at, id, w.what LIMIT 100";
    type Unsaid = (
        Vec<u8>,
        i16,
        String,
        String,
        i64,
        i64,
        Option<i64>,
        Option<String>,
        i32,
    );
    let rows = read!(db, pool => {
        sqlx::query_as::<_, Unsaid>(SQL).bind(origin).fetch_all(pool).await?
    });
    let read = rows
        .into_iter()
        .map(|(id, kind, key, reason, began, ends, ended, why, what)| {
            let said = match what {
                1 => Said::Began,
                _ => Said::Ended,
            };
            Ok((row((id, kind, key, reason, began, ends, ended, why))?, said))
        });
    read.collect()
}

/// Notes that the log of this origin has said it.
///
/// # Errors
/// [`Error::Database`].
pub async fn suspension_said(tx: &mut Tx, id: &SuspensionId, origin: &str, said: Said) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO suspension_logged (suspension, origin, what) VALUES ($1, $2, $3) \
         ON CONFLICT (suspension, origin, what) DO NOTHING";
    on!(tx, c => sqlx::query(SQL).bind(&id[..]).bind(origin).bind(said as i16).execute(c).await.map(drop)?);
    Ok(())
}
