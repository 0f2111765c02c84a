//! `fetch` asks a consuming node for a justificatif; `verify` checks one again later, offline.

use std::path::PathBuf;

use clap::Args;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use unefois_jose::Thumbprint;
use unefois_mesh::status;
use unefois_proto::pb::backoffice::v1::FetchRequest;
use unefois_proto::pb::backoffice::v1::backoffice_service_client::BackofficeServiceClient;

use super::{read_text, runtime};
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::verify::AttestationFile;

/// `fetch`.
#[derive(Debug, Args)]
pub struct Fetch {
    /// The element's handle, as the back-office service lists it.
    handle: String,
    /// The node's back-office socket.
    #[arg(long, value_name = "SOCKET")]
    socket: PathBuf,
    /// Units to ask for; all that were granted where absent.
    #[arg(long = "unit", value_name = "UNIT")]
    units: Vec<String>,
    /// The signed directory, which goes into the file.
    #[arg(long, value_name = "FILE", requires = "out")]
    directory: Option<PathBuf>,
    /// Where to write the attestation with its proofs.
    #[arg(long, value_name = "FILE", requires = "directory")]
    out: Option<PathBuf>,
}

/// `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// A file that `fetch` wrote.
    file: PathBuf,
    /// Thumbprint of the key that signs directories.
    #[arg(long, value_name = "THUMBPRINT", allow_hyphen_values = true)]
    pin: Thumbprint,
}

/// Runs `fetch`.
pub fn run(fetch: &Fetch, console: Console) -> Result<(), Failure> {
    let request = FetchRequest {
        handle: fetch.handle.clone(),
        units: fetch.units.clone(),
        ..Default::default()
    };
    // The channel's own task needs the runtime too.
    let asked = async {
        BackofficeServiceClient::new(unix(fetch.socket.clone()))
            .fetch(request)
            .await
    };
    let answer = runtime()?
        .block_on(asked)
        .map_err(|status| refused(&status))?
        .into_inner();
    if let (Some(directory), Some(out)) = (&fetch.directory, &fetch.out) {
        let file = AttestationFile::new(&answer, read_text(directory)?, None);
        std::fs::write(out, file.to_json()).map_err(|e| {
            Failure::new(Kind::CannotWrite, format!("{} n'est pas écrit", out.display())).because(e)
        })?;
    }
    let units: serde_json::Map<String, serde_json::Value> = answer
        .units
        .iter()
        .map(|(unit, text)| (unit.clone(), text.as_str().into()))
        .collect();
    let value =
        serde_json::json!({ "request_id": answer.request_id, "absence": answer.absence, "units": units });
    console.data(&value, || match answer.absence {
        true => "absence certifiée".to_owned(),
        false => {
            let mut lines: Vec<String> = answer
                .units
                .iter()
                .map(|(unit, text)| format!("{unit} : {text}"))
                .collect();
            lines.sort();
            lines.join("\n")
        }
    })
}

/// Runs `verify`.
pub fn run_verify(verify: &Verify, console: Console) -> Result<(), Failure> {
    let text = read_text(&verify.file)?;
    let unread = |e: crate::verify::InvalidFile| {
        Failure::new(Kind::Data, "le fichier n'est pas une attestation").because(e)
    };
    let file = AttestationFile::parse(text.as_bytes()).map_err(unread)?;
    let report = file.verify(&verify.pin).map_err(unread)?;
    console.data(&report.to_json(), || report.to_string())?;
    match report.holds() {
        true => Ok(()),
        false => Err(Failure::new(Kind::No, "l'attestation n'est pas vérifiée")),
    }
}

/// A channel to a service on a Unix socket.
pub(crate) fn unix(path: PathBuf) -> Channel {
    let connect = move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    };
    Endpoint::from_static("http://backoffice").connect_with_connector_lazy(tower::service_fn(connect))
}

fn refused(status: &tonic::Status) -> Failure {
    match status::reason_of(status) {
        Some(reason) => {
            let kind = if reason.retryable() {
                Kind::TryAgain
            } else {
                Kind::Refused
            };
            Failure::new(kind, reason.text_fr())
                .because(unefois_core::in_line(status.message()))
                .reason(reason)
        }
        None => Failure::new(Kind::Unreachable, "le nœud ne répond pas")
            .because(unefois_core::in_line(status.message()))
            .next("vérifiez --socket et que le nœud est en service"),
    }
}
