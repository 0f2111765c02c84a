//! What is behind the producer: an API that takes its time, so that a release is decided at any moment around a
//! withdrawal. It is a process of its own, beside the producer, wherever that is.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::http::header;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use unefois_mesh::SystemRandom;

use super::chance::Chance;
use super::stage::loopback;

/// Half of the answers come at once, the others within this.
const SLOW: Duration = Duration::from_millis(300);

/// What it says once it does.
const SERVES: &str = "serves\n";

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

/// `faults source`: the API, until its standard input closes.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    port: u16,
}

/// The process; it ends where this is dropped.
#[derive(Debug)]
pub(crate) struct Source {
    child: Child,
}

impl Source {
    /// Starts it on this port, with what comes `before` its command; it serves when this returns.
    pub(crate) fn start(before: &[OsString], port: u16) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.into_os_string();
        let words: Vec<&OsString> = before.iter().chain([&program]).collect();
        let (first, others) = words.split_first().context("a program")?;
        let mut child = Command::new(first)
            .args(others)
            .args(["source", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (said, mut line) = (child.stdout.take().context("it speaks")?, String::new());
        let source = Self { child };
        BufReader::new(said).read_line(&mut line)?;
        ensure!(line == SERVES, "the source does not serve");
        Ok(source)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It ends by itself.
        let _ = self.child.wait();
    }
}

/// Serves it.
pub(crate) async fn serve(serve: &Serve) -> anyhow::Result<bool> {
    let over = CancellationToken::new();
    let (ended, closed) = (over.clone(), over.clone());
    std::thread::spawn(move || {
        // Whatever comes, and however it ends.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        closed.cancel();
    });
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
    let listener = TcpListener::bind(loopback(serve.port)).await?;
    std::io::stdout().write_all(SERVES.as_bytes())?;
    std::io::stdout().flush()?;
    tokio::select! {
        () = over.cancelled() => {}
        served = axum::serve(listener, router).into_future() => served?,
    }
    Ok(true)
}

/// Lets some time pass, or the rest of the run.
pub(crate) async fn pause(time: Duration, over: &CancellationToken) {
    // Over or not, it is time.
    let _over = tokio::time::timeout(time, over.cancelled()).await.is_ok();
}
