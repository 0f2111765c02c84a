use sqlx::migrate::{MigrateError, Migrator};

use crate::{Db, Error, Postgres};

/// Whose tables a database holds beside those of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// A participant's node.
    Node,
    /// The authority.
    Authority,
}

static LEDGER_POSTGRES: Migrator = sqlx::migrate!("../../migrations/ledger/postgres");
static LEDGER_SQLITE: Migrator = sqlx::migrate!("../../migrations/ledger/sqlite");
static NODE_POSTGRES: Migrator = sqlx::migrate!("../../migrations/node/postgres");
static NODE_SQLITE: Migrator = sqlx::migrate!("../../migrations/node/sqlite");
static AUTHORITY_POSTGRES: Migrator = sqlx::migrate!("../../migrations/authority/postgres");
static AUTHORITY_SQLITE: Migrator = sqlx::migrate!("../../migrations/authority/sqlite");

/// Brings the schema up to date: the ledger's migrations, then the component's, each with its own table of applied
/// ones, so that their numbers never meet.
pub(crate) async fn migrate(db: &Db, component: Component) -> Result<(), Error> {
    let (postgres, sqlite, table) = match component {
        Component::Node => (&NODE_POSTGRES, &NODE_SQLITE, "migration_node"),
        Component::Authority => (&AUTHORITY_POSTGRES, &AUTHORITY_SQLITE, "migration_authority"),
    };
    let steps = [
        (&LEDGER_POSTGRES, &LEDGER_SQLITE, "migration_ledger"),
        (postgres, sqlite, table),
    ];
    for (postgres, sqlite, table) in steps {
        let done = match db {
            Db::Postgres(Postgres { pool, .. }) => named(postgres, table).run(pool).await,
            Db::Sqlite(file) => named(sqlite, table).run(&file.rw).await,
        };
        done.map_err(|e| match e {
            MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => Error::Database(e),
            e => Error::UnknownSchema(e),
        })?;
    }
    Ok(())
}

fn named(migrator: &Migrator, table: &'static str) -> Migrator {
    let mut migrator = Migrator::with_migrations(migrator.iter().cloned().collect());
    migrator.dangerous_set_table_name(table);
    migrator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_migrations_of_one_table_have_one_number() {
        for migrator in [
            &LEDGER_POSTGRES,
            &LEDGER_SQLITE,
            &NODE_POSTGRES,
            &NODE_SQLITE,
            &AUTHORITY_POSTGRES,
            &AUTHORITY_SQLITE,
        ] {
            let versions: Vec<i64> = migrator.iter().map(|one| one.version).collect();
            assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
        }
    }
}
