//! A role that reads the views of PostgreSQL, and nothing else.

use std::fmt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::definitions;
use super::view::{Dialect, VIEWS};

/// The name of a role: a lower-case letter or `_`, then up to 62 of `a-z 0-9 _`; not one of PostgreSQL's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleName(String);

/// The text is not the name of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is named by 1 to 63 of a-z 0-9 _, beginning with no digit and not with pg_")]
pub struct InvalidRoleName;

impl FromStr for RoleName {
    type Err = InvalidRoleName;

    fn from_str(text: &str) -> Result<Self, InvalidRoleName> {
        let known = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        let begins = text.bytes().next().is_some_and(|c| !c.is_ascii_digit());
        match begins && text.len() <= 63 && text.bytes().all(known) && !text.starts_with("pg_") {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidRoleName),
        }
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a role was not granted the views.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The database is none of PostgreSQL's: SQLite knows no roles.
    #[error("only PostgreSQL has roles")]
    NotPostgres,
    /// The role may do more than read the views: it owns, reads, writes or inherits something else, by a right of its
    /// own, of `PUBLIC`, or that default privileges will give it.
    #[error("the role may do more than read the views")]
    Mighty,
    /// The database failed, or does not let this user make schemas or roles.
    #[error("the database refused")]
    Database(#[from] sqlx::Error),
}

/// Whether a role may touch what is none of the views, whoever the right was given to: a role, a column, `PUBLIC`; or will,
/// by default privileges.
const MORE: &str = "SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname NOT IN ('audit', 'pg_catalog', 'information_schema') AND CASE \
     WHEN c.relkind IN ('r', 'p', 'v', 'm', 'f') THEN \
     has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') \
     OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES') \
     WHEN c.relkind = 'S' THEN has_sequence_privilege(r.oid, c.oid, 'USAGE, SELECT, UPDATE') ELSE false END) \
     OR EXISTS (SELECT 1 FROM pg_default_acl d, aclexplode(d.defaclacl) a \
     WHERE a.grantee = r.oid OR (a.grantee = 0 AND d.defaclobjtype IN ('r', 'S'))) \
     FROM pg_roles r WHERE r.rolname = $1";

/// Makes the views of schema `audit` anew and lets `role` read them; the role is made, without a password, where there is
/// none. All of it is one transaction; who had been granted the views before keeps them.
///
/// # Errors
/// [`GrantError`]: nothing is changed.
pub async fn audit_grant(url: &str, role: &RoleName) -> Result<(), GrantError> {
    if !url.starts_with("postgres:") && !url.starts_with("postgresql:") {
        return Err(GrantError::NotPostgres);
    }
    let options: PgConnectOptions = url.parse()?;
    let mut conn = PgConnection::connect_with(&options.application_name("unefois-db")).await?;
    let mut tx = conn.begin().await?;
    const READERS: &str = "SELECT r.rolname FROM pg_namespace n, aclexplode(n.nspacl) a, pg_roles r \
         WHERE n.nspname = 'audit' AND r.oid = a.grantee AND a.privilege_type = 'USAGE' AND a.grantee <> n.nspowner";
    let mut readers: Vec<String> = sqlx::query_scalar(READERS).fetch_all(&mut *tx).await?;
    const EXISTS: &str = "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls \
         OR EXISTS (SELECT 1 FROM pg_auth_members m WHERE m.member = r.oid) \
         OR EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname NOT IN ('audit', 'pg_catalog', 'information_schema') AND c.relkind IN ('r', 'p', 'v', 'm', 'S') \
         AND (c.relowner = r.oid OR EXISTS (SELECT 1 FROM aclexplode(c.relacl) a WHERE a.grantee = r.oid))) \
         FROM pg_roles r WHERE rolname = $1";
    let mighty: Option<bool> = sqlx::query_scalar(EXISTS)
        .bind(&role.0)
        .fetch_optional(&mut *tx)
        .await?;
    let mut sql = String::new();
    match mighty {
        Some(true) => return Err(GrantError::Mighty),
        Some(false) => {}
        None => sql += &format!("CREATE ROLE \"{role}\" LOGIN;\n"),
    }
    if !readers.contains(&role.0) {
        readers.push(role.0.clone());
    }
    sql += "CREATE SCHEMA IF NOT EXISTS audit;\n";
    for view in VIEWS.iter().rev() {
        sql += &format!("DROP VIEW IF EXISTS audit.{};\n", view.name);
    }
    sql += "COMMENT ON SCHEMA audit IS 'Ce que lisent les auditeurs : les registres, en mots, sans rien qui désigne une personne.';\n";
    sql += &definitions(Dialect::Postgres);
    for reader in readers {
        let reader = reader.replace('"', "\"\"");
        sql += &format!("GRANT USAGE ON SCHEMA audit TO \"{reader}\";\n");
        for view in VIEWS {
            sql += &format!("GRANT SELECT ON audit.{} TO \"{reader}\";\n", view.name);
        }
    }
    sql += &format!("ALTER ROLE \"{role}\" SET default_transaction_read_only = on;\n");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    if sqlx::query_scalar(MORE).bind(&role.0).fetch_one(&mut *tx).await? {
        return Err(GrantError::Mighty);
    }
    tx.commit().await?;
    conn.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_a_plain_name() {
        for text in [
            "",
            "1a",
            "A",
            "a-b",
            "a\"b",
            "pg_read_all_data",
            "é",
            &"a".repeat(64),
        ] {
            assert_eq!(text.parse::<RoleName>(), Err(InvalidRoleName), "{text}");
        }
        for text in ["auditeur", "_a1"] {
            assert_eq!(text.parse::<RoleName>().unwrap().to_string(), text);
        }
    }
}
