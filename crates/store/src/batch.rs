//! A whole batch at once, where nothing stands in its way: on PostgreSQL one statement that is its own transaction, on
//! SQLite one round of statements.
//!
//! It presumes that every claim is free and that the head is where its writer left it. The write itself checks both:
//! where one does not hold nothing is written, and the caller judges claim by claim.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use unefois_tlog::Tile;

use crate::claim::{Claim, ClaimKey, bind_claims, script_claims};
use crate::entry::{EntryRow, bind_entries, insert_entries, script_entries, unnest_entries};
use crate::head::Head;
use crate::index::{Index, Mac, SecretRow, bind_index, bind_secrets, script_index, script_secrets};
use crate::rows::{Script, SqliteQuery};
use crate::{Db, Error, Postgres, Sqlite, to_i64};

/// The rows of one batch.
#[derive(Debug)]
pub struct Rows<'a> {
    /// New claims, their keys in order.
    pub claims: Vec<(&'a ClaimKey, &'a Claim)>,
    /// Its leaves, whose names were learned before.
    pub entries: Vec<&'a EntryRow>,
    /// The tiles that they complete.
    pub tiles: &'a [Tile],
    /// Which handles they are about.
    pub handles: Vec<(Mac, u64)>,
    /// Which persons.
    pub persons: Vec<(Mac, u64)>,
    /// What opens their commitments.
    pub secrets: Vec<SecretRow>,
    /// The log's size before.
    pub size: u64,
    /// Its head after.
    pub next: &'a Head,
}

/// Writes a batch durably if every claim is free and the log's head is still that of `rows.size` in the epoch of
/// `rows.next`; `false` if not, and then nothing is written.
///
/// # Errors
/// After [`Error::Database`] nobody knows whether the batch took effect. [`Error::Range`], [`Error::Unnamed`],
/// [`Error::Replaced`]: it did not.
pub async fn batch_try(db: &Db, rows: &Rows<'_>) -> Result<bool, Error> {
    match db {
        Db::Postgres(postgres) => try_postgres(postgres, rows).await,
        Db::Sqlite(sqlite) => try_sqlite(sqlite, rows).await,
    }
}

/// What PostgreSQL says of the division that follows a claim not won, or a head not moved.
const DIVISION_BY_ZERO: &str = "22012";

async fn try_postgres(postgres: &Postgres, rows: &Rows<'_>) -> Result<bool, Error> {
    // A key is inserted under its lock alone, taken without waiting, as `claim_lock` does: who holds it may be stuck.
    // The last SELECT fails the statement, and so undoes all of it, unless each claim was won and the head moved.
    const SQL: &str = concat!(
        "WITH claimed AS (INSERT INTO claim (key, client, request_id, request_hash, payload_mac, live, at) \
         SELECT k, c, r, h, m, n, a FROM (SELECT unnest($32::bytea[]) AS k, unnest($33::text[]) AS c, \
         unnest($34::uuid[]) AS r, unnest($35::bytea[]) AS h, unnest($36::bytea[]) AS m, unnest($37::int[]) AS n, \
         unnest($38::bigint[]) AS a, unnest($31::bigint[]) AS l) AS t WHERE pg_try_advisory_xact_lock(l) \
         ON CONFLICT (key) DO NOTHING RETURNING 1), \
         moved AS (UPDATE ledger_head SET size = $25, root = $26, at = $27, view_epoch = $28, view_seq = $29, \
         checkpoint = $30 WHERE log = $22 AND epoch = $23 AND size = $24 RETURNING 1), \
         leaves AS (",
        insert_entries!(),
        " SELECT $22, ",
        unnest_entries!(),
        "), \
         tiles AS (INSERT INTO ledger_tile (log, level, idx, hashes) \
         SELECT $22, unnest($49::smallint[]), unnest($50::bigint[]), unnest($51::bytea[])), \
         handles AS (INSERT INTO handle_index (log, bucket, mac, idx) \
         SELECT $22, unnest($39::int[]), unnest($40::bytea[]), unnest($41::bigint[])), \
         persons AS (INSERT INTO person_index (log, bucket, mac, idx) \
         SELECT $22, unnest($42::int[]), unnest($43::bytea[]), unnest($44::bigint[])), \
         secrets AS (INSERT INTO grant_secret (month, unit, log, mac, secret) SELECT unnest($45::int[]), \
         unnest($46::int[]), $22, unnest($47::bytea[]), unnest($48::bytea[]) ON CONFLICT DO NOTHING) \
         SELECT 1 / CASE WHEN (SELECT COUNT(*) FROM claimed) = cardinality($31) AND (SELECT COUNT(*) FROM moved) = 1 \
         THEN 1 ELSE 0 END"
    );
    let next = rows.next;
    let locks: Vec<i64> = rows.claims.iter().map(|(key, _)| key.lock()).collect();
    let query = bind_entries(sqlx::query(SQL), &rows.entries)?
        .bind(next.log)
        .bind(to_i64(next.epoch)?)
        .bind(to_i64(rows.size)?)
        .bind(to_i64(next.size)?)
        .bind(next.root.as_bytes().to_vec())
        .bind(next.at.get())
        .bind(to_i64(next.view.epoch)?)
        .bind(to_i64(next.view.seq)?)
        .bind(next.checkpoint.as_str())
        .bind(locks);
    let query = bind_claims(query, &rows.claims);
    let query = bind_index(query, &rows.handles)?;
    let query = bind_index(query, &rows.persons)?;
    let query = bind_secrets(query, &rows.secrets);
    let levels: Vec<i16> = rows.tiles.iter().map(|tile| tile.id().level().into()).collect();
    let places: Result<Vec<i64>, _> = rows.tiles.iter().map(|tile| to_i64(tile.id().index())).collect();
    let hashes: Vec<Vec<u8>> = rows.tiles.iter().map(Tile::to_bytes).collect();
    let query = query.bind(levels).bind(places?).bind(hashes);
    let mut writer = postgres.writer.lock().await;
    let mut conn = writer.take().await?;
    let written = match query.execute(&mut conn).await {
        Ok(_) => true,
        Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some(DIVISION_BY_ZERO) => {
            // The server tells of the failure before it undoes the statement: until it is ready again it holds the
            // locks of keys that the caller is about to ask for.
            conn.ping().await?;
            false
        }
        Err(e) => return Err(e.into()),
    };
    writer.keep(conn);
    Ok(written)
}

async fn try_sqlite(sqlite: &Sqlite, rows: &Rows<'_>) -> Result<bool, Error> {
    sqlite.check_file()?;
    let mut tx = sqlite.rw.begin_with("BEGIN IMMEDIATE").await?;
    // A key that is held fails its statement, which is executed with others, maybe later ones.
    match write_sqlite(&mut tx, rows).await {
        Ok(true) => {
            tx.commit().await?;
            Ok(true)
        }
        Ok(false) => Ok(false),
        Err(Error::Database(sqlx::Error::Database(e))) if e.is_unique_violation() => Ok(false),
        Err(e) => Err(e),
    }
}

/// Writes everything before the commit; `false` if the head is not where its writer left it.
async fn write_sqlite(conn: &mut SqliteConnection, rows: &Rows<'_>) -> Result<bool, Error> {
    const HEAD: &str = "UPDATE ledger_head SET size = ?, root = ?, at = ?, view_epoch = ?, view_seq = ?, checkpoint = ? \
         WHERE log = ? AND epoch = ? AND size = ? RETURNING 1;";
    const TILE: &str = "INSERT INTO ledger_tile (log, level, idx, hashes) VALUES";
    let (log, next) = (rows.next.log, rows.next);
    let mut script = Script::default();
    script_claims(conn, &mut script, "", &rows.claims).await?;
    script_entries(conn, &mut script, log, &rows.entries).await?;
    let tiles: Vec<(i16, i64, Vec<u8>)> = rows
        .tiles
        .iter()
        .map(|tile| {
            Ok((
                tile.id().level().into(),
                to_i64(tile.id().index())?,
                tile.to_bytes(),
            ))
        })
        .collect::<Result<_, Error>>()?;
    let bind = |query: SqliteQuery, (level, idx, hashes): &(i16, i64, Vec<u8>)| {
        query.bind(log).bind(*level).bind(*idx).bind(hashes.clone())
    };
    script.insert(conn, (TILE, ""), 4, &tiles, bind).await?;
    script_index(conn, &mut script, Index::Handle, log, &rows.handles).await?;
    script_index(conn, &mut script, Index::Person, log, &rows.persons).await?;
    script_secrets(conn, &mut script, log, &rows.secrets).await?;
    let (epoch, old, new) = (to_i64(next.epoch)?, to_i64(rows.size)?, to_i64(next.size)?);
    let (view_epoch, view_seq) = (to_i64(next.view.epoch)?, to_i64(next.view.seq)?);
    script.add(HEAD, |query| {
        query
            .bind(new)
            .bind(next.root.as_bytes().to_vec())
            .bind(next.at.get())
            .bind(view_epoch)
            .bind(view_seq)
            .bind(next.checkpoint.clone())
            .bind(log)
            .bind(epoch)
            .bind(old)
    });
    Ok(script.returned(conn).await? > 0)
}
