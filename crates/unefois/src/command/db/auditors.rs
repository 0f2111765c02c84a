//! `db grant-auditor|snapshot|dictionary`: the logs for those who read SQL.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unefois_mesh::status;
use unefois_store::Db;
use unefois_store::audit::{GrantError, RoleName, SnapshotError, audit_grant, audit_snapshot, dictionary};

use crate::command::runtime;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// `db grant-auditor`.
#[derive(Debug, Args)]
pub struct GrantAuditor {
    /// The database: postgres://…, as the owner of its tables.
    #[arg(long, value_name = "URL")]
    database: String,
    /// The role that may read the views of schema `audit`, and nothing else; made where there is none.
    #[arg(long, value_name = "NAME")]
    role: RoleName,
}

/// `db snapshot`.
#[derive(Debug, Args)]
pub struct Snapshot {
    /// The database: postgres://… or sqlite:PATH. Its process may run.
    #[arg(long, value_name = "URL")]
    database: String,
    /// The SQLite file to make.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Runs `db grant-auditor`.
pub(super) fn grant(asked: &GrantAuditor, console: Console) -> Result<(), Failure> {
    let granted = runtime()?.block_on(audit_grant(&asked.database, &asked.role));
    granted.map_err(|error| {
        let failure = Failure::new(Kind::Refused, "le rôle n'est pas accordé").because(&error);
        match &error {
            GrantError::NotPostgres => Failure::new(Kind::Usage, "SQLite n'a pas de rôles")
                .next("donnez aux auditeurs un fichier : unefois db snapshot"),
            GrantError::Mighty => failure.next(
                "choisissez un rôle sans autre droit, ou un nom nouveau ; ni PUBLIC ni les droits par défaut n'ouvrent de table",
            ),
            GrantError::Database(_) => {
                failure.next("donnez l'adresse du propriétaire des tables, avec le droit de créer des rôles")
            }
        }
    })?;
    let role = asked.role.to_string();
    console.data(&json!({ "role": role, "schema": "audit" }), || {
        format!("{role} lit le schéma audit, et rien d'autre ; son mot de passe : \\password {role}")
    })
}

/// Runs `db snapshot`.
pub(super) fn snapshot(asked: &Snapshot, console: Console) -> Result<(), Failure> {
    let to = asked.to.display().to_string();
    runtime()?.block_on(async {
        let unread = |e: &(dyn std::error::Error + 'static)| {
            let failure = Failure::new(Kind::NoInput, "la base n'est pas lue").because(status::chain(e));
            failure.next("vérifiez l'adresse de la base")
        };
        let db = Db::open_for_reading(&asked.database)
            .await
            .map_err(|e| unread(&e))?;
        let copied = audit_snapshot(&db, &asked.to, |done, total| {
            if done < total {
                console.say(&format!("{done} / {total}"));
            }
        })
        .await;
        db.close().await;
        copied.map_err(|error| match &error {
            SnapshotError::Exists => {
                Failure::new(Kind::Exists, format!("{to} existe déjà")).next("choisissez un autre nom")
            }
            SnapshotError::Read(e) => unread(e),
            SnapshotError::File(_) | SnapshotError::Write(_) => {
                Failure::new(Kind::CannotWrite, format!("{to} n'est pas écrit")).because(&error)
            }
        })
    })?;
    console.data(&json!({ "file": to }), || {
        format!("{to} : vues audit_entry, audit_exchange…, en lecture seule")
    })
}

/// Runs `db dictionary`.
pub(super) fn explain(console: Console) -> Result<(), Failure> {
    let text = dictionary();
    console.data(&json!({ "dictionary": text }), || text.trim_end().to_owned())
}
