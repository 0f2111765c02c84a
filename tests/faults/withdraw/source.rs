//! What is behind the producer: an API that takes its time, so that a release is decided at any moment around a
//! withdrawal.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_mesh::SystemRandom;

use super::chance::Chance;

/// Half of the answers come at once, the others within this.
const SLOW: Duration = Duration::from_millis(300);

/// What the ministry holds of the one person, as its API writes it.
const ENROLLED: &str = r#"{
  "data": {
    "identite": { "nom_naissance": "DUBOIS", "prenom": "Angela", "date_naissance": "1962-08-24" },
    "admissions": [
      {
        "date_debut": "2026-09-01",
        "date_fin": "2027-08-31",
        "est_inscrit": true,
        "regime_formation": { "libelle": "formation continue", "code": "RF5" },
        "code_cog_insee_commune": "92023",
        "etablissement_etudes": { "uai": "0922605G", "nom": "Institut d'études appliquées de Clamart" }
      }
    ]
  },
  "links": {},
  "meta": {}
}"#;

/// The variable that has a node produce from it, on this port. The datatype is one that is never closed, at no hour.
pub(crate) fn configured(port: u16) -> (String, String) {
    let produce = format!(
        r#"[{{ datatype = "mesr/statut-etudiant@1", http = {{ url = "http://127.0.0.1:{port}/statut" }} }}]"#
    );
    ("UNEFOIS__PRODUCER__PRODUCE".to_owned(), produce)
}

/// Serves it until `over`.
pub(crate) async fn open(
    at: SocketAddr,
    tasks: &TaskTracker,
    over: &CancellationToken,
) -> anyhow::Result<()> {
    let ended = over.clone();
    let answer = move || {
        let ended = ended.clone();
        async move {
            // Which call gets which wait is nobody's to repeat: they come as the processes are scheduled.
            let mut chance = Chance::drawn(&SystemRandom::new());
            if chance.one_in(2) {
                pause(chance.below(SLOW), &ended).await;
            }
            ([(header::CONTENT_TYPE, "application/json")], ENROLLED)
        }
    };
    let router = Router::new().route("/statut", get(answer));
    let (listener, over) = (TcpListener::bind(at).await?, over.clone());
    tasks.spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(over.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "the source ended");
        }
    });
    Ok(())
}

/// Lets some time pass, or the rest of the run.
pub(crate) async fn pause(time: Duration, over: &CancellationToken) {
    // Over or not, it is time.
    let _over = tokio::time::timeout(time, over.cancelled()).await.is_ok();
}
