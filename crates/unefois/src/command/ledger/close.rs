//! `ledger close`: the end of a log that cannot go on.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unefois_core::Clock as _;
use unefois_mesh::SystemClock;
use unefois_store::Db;
use unefois_store::head::head_close;
use unefois_tlog::SignerKey;
use zeroize::Zeroizing;

use crate::command::{read_text, runtime};
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// `ledger close`.
#[derive(Debug, Args)]
pub struct Close {
    /// The database: postgres://… or sqlite:PATH.
    #[arg(long, value_name = "URL")]
    database: String,
    /// File of the log's signing key: its name says which log is closed.
    #[arg(long, value_name = "FILE")]
    signer: PathBuf,
}

/// Runs `ledger close`.
pub(super) fn run(close: &Close, console: Console) -> Result<(), Failure> {
    let text = Zeroizing::new(read_text(&close.signer)?);
    let signer = SignerKey::from_text(text.trim()).map_err(|e| {
        Failure::new(Kind::Data, "--signer n'est pas la clé d'un registre")
            .because(e)
            .next("donnez le fichier de [ledger] signer")
    })?;
    let origin = signer.verifier().name().as_str();
    let closed = runtime()?.block_on(closed(&close.database, origin))?;
    if !closed {
        return Err(Failure::new(
            Kind::No,
            format!("{origin} n'est pas dans cette base, ou est déjà fermé"),
        )
        .next(format!("tapez : unefois db status --database {}", close.database)));
    }
    console.data(&json!({ "origin": origin, "closed": true }), || {
        format!(
            "{origin} est fermé pour toujours ; ses entrées restent lisibles.\nÀ faire : une clé du numéro suivant \
             (unefois key generate ledger --origin …), l'inscrire à l'annuaire, la donner à [ledger] signer, et \
             retirer l'ancre de l'ancien registre"
        )
    })
}

async fn closed(url: &str, origin: &str) -> Result<bool, Failure> {
    let unopened = |e: unefois_store::Error| match e {
        unefois_store::Error::Locked => {
            Failure::new(Kind::TryAgain, "un processus se sert de cette base").next("arrêtez-le")
        }
        e => Failure::new(Kind::NoInput, "la base n'est pas ouverte")
            .because(e)
            .next("vérifiez l'adresse de la base"),
    };
    let (db, _) = Db::open_existing(url).await.map_err(unopened)?;
    let closed = async {
        let mut tx = db.begin().await?;
        let closed = head_close(&mut tx, origin, SystemClock.now()).await?;
        tx.commit().await?;
        Ok(closed)
    };
    let closed: Result<bool, unefois_store::Error> = closed.await;
    db.close().await;
    closed.map_err(|e| Failure::new(Kind::CannotWrite, "le registre n'est pas fermé").because(e))
}
