//! Many leaves at once with their columns, for who verifies them all: packed by the database, read without a step per
//! value.

use std::ops::Range;

use futures_util::TryStreamExt as _;
use sqlx::postgres::PgPoolCopyExt as _;
use sqlx::{PgPool, Row as _, SqlitePool};
use uuid::Uuid;

use crate::entry::Columns;
use crate::{Db, Error, Postgres, to_i64};

/// Leaves as they are stored, in order.
#[derive(Debug, Default)]
pub struct Page {
    bytes: Vec<u8>,
    rows: Vec<(u64, Columns, Range<usize>)>,
}

impl Page {
    /// Each leaf's place, columns and bytes.
    pub fn rows(&self) -> impl Iterator<Item = (u64, &Columns, &[u8])> {
        self.rows
            .iter()
            .map(|(idx, columns, place)| (*idx, columns, &self.bytes[place.clone()]))
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The stored leaves from `start` up to but not including `end`.
///
/// # Errors
/// [`Error::Database`]; [`Error::Corrupt`] for a column that is not of its type.
pub async fn entry_page(db: &Db, log: i32, start: u64, end: u64) -> Result<Page, Error> {
    let range = (to_i64(start)?, to_i64(end)?);
    match db {
        Db::Postgres(Postgres { pool, .. }) => postgres(pool, log, range).await,
        Db::Sqlite(sqlite) => packed(sqlite.readers(), log, range).await,
    }
}

const CORRUPT: Error = Error::Corrupt("ledger_entry");

async fn postgres(pool: &PgPool, log: i32, (start, end): (i64, i64)) -> Result<Page, Error> {
    let sql = format!(
        "COPY (SELECT idx, event, outcome, at, leaf, units, exchange_id, peer, other, requester, provider, holder, \
         publisher, datatype, demarche, habilitation, legal_basis, reason, capacity, acr, entry FROM ledger_entry \
         WHERE log = {log} AND idx >= {start} AND idx < {end} ORDER BY idx) TO STDOUT (FORMAT binary)"
    );
    let mut bytes = Vec::new();
    let mut stream = pool.copy_out_raw(&sql).await?;
    while let Some(part) = stream.try_next().await? {
        bytes.extend_from_slice(&part);
    }
    let mut rows = Vec::new();
    let mut copy = Copy {
        bytes: &bytes,
        place: 0,
    };
    copy.header()?;
    while copy.row()? {
        let idx = copy.number(i64::from_be_bytes)?.ok_or(CORRUPT)?;
        let columns = Columns {
            event: copy.number(i16::from_be_bytes)?.ok_or(CORRUPT)?,
            outcome: copy.number(i16::from_be_bytes)?,
            at: copy.number(i64::from_be_bytes)?.ok_or(CORRUPT)?,
            leaf: copy.number(i64::from_be_bytes)?.ok_or(CORRUPT)?,
            units: copy.number(i64::from_be_bytes)?.ok_or(CORRUPT)?,
            exchange_id: copy.number(Uuid::from_bytes)?,
            peer: copy.number(i32::from_be_bytes)?,
            other: copy.number(i32::from_be_bytes)?,
            requester: copy.number(i32::from_be_bytes)?,
            provider: copy.number(i32::from_be_bytes)?,
            holder: copy.number(i32::from_be_bytes)?,
            publisher: copy.number(i32::from_be_bytes)?,
            datatype: copy.number(i32::from_be_bytes)?,
            demarche: copy.number(i32::from_be_bytes)?,
            habilitation: copy.number(i32::from_be_bytes)?,
            legal_basis: copy.number(i32::from_be_bytes)?,
            reason: copy.number(i16::from_be_bytes)?,
            capacity: copy.number(i16::from_be_bytes)?,
            acr: copy.number(i16::from_be_bytes)?,
        };
        let entry = copy.field()?.ok_or(CORRUPT)?;
        rows.push((u64::try_from(idx).map_err(|_| CORRUPT)?, columns, entry));
    }
    Ok(Page { bytes, rows })
}

/// PostgreSQL's binary COPY (its manual, « COPY », « Binary Format »).
struct Copy<'a> {
    bytes: &'a [u8],
    place: usize,
}

impl Copy<'_> {
    fn header(&mut self) -> Result<(), Error> {
        const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
        if !self.bytes.starts_with(SIGNATURE) {
            return Err(CORRUPT);
        }
        self.place = SIGNATURE.len();
        self.take::<4>()?;
        let extension = u32::from_be_bytes(self.take()?);
        self.place += usize::try_from(extension).map_err(|_| CORRUPT)?;
        Ok(())
    }

    /// Begins the next row; `false` at the end.
    fn row(&mut self) -> Result<bool, Error> {
        match i16::from_be_bytes(self.take()?) {
            21 => Ok(true),
            -1 => Ok(false),
            _ => Err(CORRUPT),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let taken = self.bytes.get(self.place..).and_then(|rest| rest.first_chunk());
        self.place += N;
        taken.copied().ok_or(CORRUPT)
    }

    /// Where the next field's bytes are; `None` for NULL.
    fn field(&mut self) -> Result<Option<Range<usize>>, Error> {
        let Ok(length) = usize::try_from(i32::from_be_bytes(self.take()?)) else {
            return Ok(None);
        };
        let start = self.place;
        self.place += length;
        match self.place <= self.bytes.len() {
            true => Ok(Some(start..self.place)),
            false => Err(CORRUPT),
        }
    }

    fn number<const N: usize, T>(&mut self, of: impl Fn([u8; N]) -> T) -> Result<Option<T>, Error> {
        let Some(field) = self.field()? else {
            return Ok(None);
        };
        let bytes = self.bytes.get(field).and_then(|bytes| bytes.try_into().ok());
        bytes.map(of).map(Some).ok_or(CORRUPT)
    }
}

/// The numbers of a row come as one text: each value that SQLite hands over costs more than its digits.
async fn packed(pool: &SqlitePool, log: i32, (start, end): (i64, i64)) -> Result<Page, Error> {
    const SQL: &str = "SELECT idx, exchange_id, entry, printf('%s %s %s %s %s %s %s %s %s %s %s %s %s %s %s %s %s %s', event, \
         outcome, at, leaf, units, peer, other, requester, provider, holder, publisher, datatype, demarche, habilitation, \
         legal_basis, reason, capacity, acr) FROM ledger_entry WHERE log = $1 AND idx >= $2 AND idx < $3 ORDER BY idx";
    let mut page = Page::default();
    let mut stream = sqlx::query(SQL).bind(log).bind(start).bind(end).fetch(pool);
    while let Some(row) = stream.try_next().await? {
        let idx: i64 = row.try_get(0)?;
        let exchange_id: Option<Uuid> = row.try_get(1)?;
        let entry: &[u8] = row.try_get(2)?;
        let text: &str = row.try_get(3)?;
        let mut numbers = Numbers(text.split(' '));
        let columns = Columns {
            event: numbers.next()?.ok_or(CORRUPT)?,
            outcome: numbers.next()?,
            at: numbers.next()?.ok_or(CORRUPT)?,
            leaf: numbers.next()?.ok_or(CORRUPT)?,
            units: numbers.next()?.ok_or(CORRUPT)?,
            exchange_id,
            peer: numbers.next()?,
            other: numbers.next()?,
            requester: numbers.next()?,
            provider: numbers.next()?,
            holder: numbers.next()?,
            publisher: numbers.next()?,
            datatype: numbers.next()?,
            demarche: numbers.next()?,
            habilitation: numbers.next()?,
            legal_basis: numbers.next()?,
            reason: numbers.next()?,
            capacity: numbers.next()?,
            acr: numbers.next()?,
        };
        let place = page.bytes.len()..page.bytes.len() + entry.len();
        page.bytes.extend_from_slice(entry);
        page.rows
            .push((u64::try_from(idx).map_err(|_| CORRUPT)?, columns, place));
    }
    drop(stream);
    Ok(page)
}

struct Numbers<'a>(std::str::Split<'a, char>);

impl Numbers<'_> {
    /// The next one; `None` for NULL.
    fn next<T: std::str::FromStr>(&mut self) -> Result<Option<T>, Error> {
        match self.0.next() {
            Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| CORRUPT),
            None => Err(CORRUPT),
        }
    }
}
