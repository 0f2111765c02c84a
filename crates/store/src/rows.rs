//! Many rows in one statement on SQLite, whose statements are cached by their text: only a few texts are made.

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Sqlite};

use crate::Error;

/// How many rows one statement may have; SQLite takes 32,766 parameters.
const SIZES: [usize; 4] = [256, 32, 4, 1];

pub(crate) type SqliteQuery<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Executes `head (…), (…) tail` over `rows`, each of `columns` parameters that `bind` adds; the rows affected.
pub(crate) async fn insert<T>(
    conn: &mut SqliteConnection,
    (head, tail): (&'static str, &'static str),
    columns: usize,
    rows: &[T],
    bind: impl for<'q> Fn(SqliteQuery<'q>, &T) -> SqliteQuery<'q>,
) -> Result<u64, Error> {
    let mut affected = 0;
    for chunk in chunks(rows) {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let sql = format!("{head} {} {tail}", vec![row; chunk.len()].join(", "));
        let query = chunk.iter().fold(sqlx::query(AssertSqlSafe(sql)), &bind);
        affected += query.execute(&mut *conn).await?.rows_affected();
    }
    Ok(affected)
}

/// Cuts `rows` into pieces of the few sizes above.
pub(crate) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_have_few_sizes_and_lose_nothing() {
        let rows: Vec<u32> = (0..1_000).collect();
        for len in [0, 1, 3, 4, 5, 31, 300, 1_000] {
            let cut: Vec<&[u32]> = chunks(&rows[..len]).collect();
            assert!(cut.iter().all(|chunk| SIZES.contains(&chunk.len())));
            assert_eq!(cut.concat(), rows[..len]);
        }
    }
}
