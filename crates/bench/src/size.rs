//! Bytes a stored entry, once claims are purged.

use crate::Error;
use crate::report::{Bar, Report, float, of_u64};
use crate::sql::Sql;

/// Measures the tables of a log of `count` entries.
pub(crate) async fn size(sql: &mut Sql, count: u64, report: &mut Report) -> Result<(), Error> {
    let (core, all) = match sql {
        Sql::Postgres(_) => {
            const CORE: &str = "SELECT SUM(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' \
                 AND (relname LIKE 'ledger_entry_p%' OR relname IN ('ledger_tile', 'ledger_head', 'ledger_name'))";
            const ALL: &str = "SELECT SUM(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' \
                 AND relnamespace = 'public'::regnamespace";
            (sql.number(CORE).await?, sql.number(ALL).await?)
        }
        Sql::Sqlite(_) => {
            const CORE: &str = "SELECT SUM(pgsize) FROM dbstat WHERE aggregate = TRUE AND (name LIKE 'ledger_entry%' \
                 OR name IN ('ledger_tile', 'ledger_head', 'ledger_name', 'sqlite_autoindex_ledger_entry_1', \
                 'sqlite_autoindex_ledger_tile_1'))";
            const ALL: &str = "SELECT SUM(pgsize) FROM dbstat WHERE aggregate = TRUE";
            (sql.number(CORE).await?, sql.number(ALL).await?)
        }
    };
    let (most_core, most_all) = match sql {
        Sql::Postgres(_) => (650.0, 1_000.0),
        Sql::Sqlite(_) => (580.0, 820.0),
    };
    let an_entry = |bytes: i64| float(bytes) / of_u64(count.max(1));
    report.add(
        "bytes_core",
        "octets par entrée : registre",
        an_entry(core),
        "o",
        Some(Bar::AtMost(most_core)),
    );
    report.add(
        "bytes_all",
        "octets par entrée : tout, après purge",
        an_entry(all),
        "o",
        Some(Bar::AtMost(most_all)),
    );
    Ok(())
}
