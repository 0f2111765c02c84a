//! `withdraw`: what the authority's operator withdraws in an emergency, from the machine that holds its certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;
use unefois_core::subject_request::is_motive;
use unefois_core::{Clock, Micros, ParticipantId};
use unefois_mesh::{Connector, DirectoryFollower, HttpsClient, Identity, SystemClock, Target, Trust, status};

use super::runtime;
use crate::config::{Process, load, overrides};
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const MAX_BYTES: usize = 64 * 1024;
/// How often it is asked whether the withdrawal has taken effect.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// `withdraw`.
#[derive(Debug, Args)]
pub struct Withdraw {
    /// The authority's configuration file; required.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Why, on one line of up to 512 bytes; the authority's ledger commits to it. Required.
    #[arg(long, value_name = "TEXT", global = true)]
    reason: Option<String>,
    #[command(subcommand)]
    what: What,
}

/// What is withdrawn: what was minted until now, and of a signing key also what it signs later.
#[derive(Debug, Subcommand)]
enum What {
    /// Every token of a participant. Those that it is given later are good: have the directory leave it out as well.
    Client {
        /// Its name, urn:unefois:participant:SIRET.
        participant: ParticipantId,
    },
    /// Every token bound to a certificate. Those that it gets later are good: revoke the certificate as well.
    Certificate {
        /// SHA-256 of the certificate in DER: 64 hexadecimal digits, as `cert show` prints them at « sha-256 », with or without
        /// colons; or base64url.
        #[arg(value_name = "THUMBPRINT", allow_hyphen_values = true, value_parser = fingerprint)]
        x5t: String,
    },
    /// Every token signed by a key of the authority, also later: it is lost. Have the directory leave it out as well.
    SigningKey {
        /// Its thumbprint (RFC 7638).
        #[arg(value_name = "THUMBPRINT", allow_hyphen_values = true, value_parser = digest)]
        kid: String,
        /// The directory has left it out already, and the authority no longer holds it.
        #[arg(long)]
        unlisted: bool,
    },
    /// Every token and refresh token, after a restored backup, where producers that know withdrawals that it has lost will
    /// not come back: /readyz?verbose names them. Consumers then ask people again.
    Lost {
        /// A producer that is done without; all that are waited for are to be named.
        #[arg(long = "without", value_name = "PARTICIPANT", required = true)]
        without: Vec<ParticipantId>,
    },
    /// Every token. Those minted later are good.
    All,
}

#[derive(Deserialize)]
struct Recorded {
    epoch: u64,
    seq: u64,
    at_us: i64,
    effective_at_us: Option<i64>,
}

#[derive(Deserialize)]
struct Refused {
    error_description: String,
}

/// Reads a SHA-256 digest as it is typed.
fn digest(text: &str) -> Result<String, &'static str> {
    match URL_SAFE_NO_PAD.decode(text) {
        Ok(bytes) if bytes.len() == 32 => Ok(text.to_owned()),
        _ => Err("43 characters of base64url, a SHA-256 digest"),
    }
}

/// Reads the SHA-256 digest of a certificate as programs print it.
fn fingerprint(text: &str) -> Result<String, &'static str> {
    let wrong =
        "64 hexadecimal digits, with or without colons, or 43 characters of base64url: a SHA-256 digest";
    if let Ok(base64url) = digest(text) {
        return Ok(base64url);
    }
    let pairs: Vec<&str> = match text.contains(':') {
        true => text.split(':').collect(),
        false => {
            let pairs = text.as_bytes().chunks(2).map(str::from_utf8);
            pairs.collect::<Result<_, _>>().map_err(|_| wrong)?
        }
    };
    let byte = |pair: &str| {
        let digits = pair.len() == 2 && pair.bytes().all(|c| c.is_ascii_hexdigit());
        digits.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
    };
    let bytes: Option<Vec<u8>> = pairs.into_iter().map(byte).collect();
    let bytes = bytes.filter(|bytes| bytes.len() == 32).ok_or(wrong)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Runs `withdraw …`: returns once the withdrawal is proved to hold everywhere.
pub fn run(withdraw: &Withdraw, console: Console) -> Result<(), Failure> {
    let missing = |option: &str| {
        Failure::new(Kind::Usage, format!("il manque {option}")).next("tapez : unefois withdraw --help")
    };
    let config = withdraw
        .config
        .as_deref()
        .ok_or_else(|| missing("--config FILE"))?;
    let reason = withdraw
        .reason
        .as_deref()
        .ok_or_else(|| missing("--reason TEXT"))?;
    if !is_motive(reason) {
        return Err(Failure::new(
            Kind::Usage,
            "--reason : une ligne de 1 à 512 octets",
        ));
    }
    let authority = Caller::open(config)?;
    let (kind, key) = match &withdraw.what {
        What::Lost { without } => return lost(&authority, without, reason, console),
        What::Client { participant } => ("client", participant.to_string()),
        What::Certificate { x5t } => ("client_cert", x5t.clone()),
        What::SigningKey { kid, .. } => ("signing_key", kid.clone()),
        What::All => ("all_before", String::new()),
    };
    let unlisted = matches!(withdraw.what, What::SigningKey { unlisted: true, .. });
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("kind", kind), ("key", key.as_str()), ("reason", reason)])
        .extend_pairs(unlisted.then_some(("unlisted", "true")))
        .finish();
    runtime()?.block_on(async {
        let recorded = authority.call(Method::POST, "/as/withdrawals", body).await?;
        let recorded_at = Micros::new(recorded.at_us);
        console.say(&format!(
            "{} {} ; {}",
            console.pick("retrait enregistré à", "withdrawal recorded at"),
            recorded_at.to_rfc3339(),
            console.pick("attente de sa prise d'effet", "waiting until it has taken effect"),
        ));
        let effective_at = authority.effective(recorded.seq).await.map_err(|failure| Failure {
            next: Some(format!(
                "le retrait {} est enregistré et vaut déjà pour l'autorité ; relancez la commande pour attendre une prise d'effet",
                recorded.seq
            )),
            ..failure
        })?;
        let value = serde_json::json!({
            "epoch": recorded.epoch,
            "seq": recorded.seq,
            "recorded_at": recorded_at.to_rfc3339(),
            "effective_at": effective_at.to_rfc3339(),
        });
        console.data(&value, || {
            let took = effective_at.ms_since(recorded_at);
            let effective = console.pick("retrait effectif à", "withdrawal effective at");
            format!("{effective} {} ({took} ms)", effective_at.to_rfc3339())
        })
    })
}

/// Goes on without what these participants know. The authority starts again, so nothing is waited for here.
fn lost(
    authority: &Caller,
    without: &[ParticipantId],
    reason: &str,
    console: Console,
) -> Result<(), Failure> {
    let named: Vec<String> = without.iter().map(ToString::to_string).collect();
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("without", named.join(" ").as_str()), ("reason", reason)])
        .finish();
    let recorded = runtime()?.block_on(authority.call(Method::POST, "/as/recovery", body))?;
    let value = serde_json::json!({
        "epoch": recorded.epoch,
        "seq": recorded.seq,
        "recorded_at": Micros::new(recorded.at_us).to_rfc3339(),
    });
    console.data(&value, || {
        let ended = console.pick(
            "tous les jetons d'avant sont retirés ; l'autorité redémarre et reprend après la place",
            "every token from before is withdrawn; the authority starts again and goes on after the place",
        );
        format!("{ended} ({}, {})", recorded.epoch, recorded.seq)
    })
}

/// The authority that runs, as its own certificate reaches it.
struct Caller {
    client: HttpsClient,
    target: Target,
}

impl Caller {
    fn open(config: &Path) -> Result<Self, Failure> {
        let file = |e: &(dyn std::error::Error + 'static)| {
            Failure::new(Kind::NoInput, "un fichier de la configuration n'est pas accepté")
                .because(status::chain(e))
        };
        let read: Process<unefois_authority::Config> = load(config, &overrides(std::env::vars_os()))?;
        let role = read.role;
        let identity = Identity::load(role.tls.chain, role.tls.key).map_err(|e| file(&e))?;
        let trust = Trust::load(role.tls.authorities, role.tls.crls).map_err(|e| file(&e))?;
        let address: Uri = role.authority.mesh_url.parse().map_err(|e| file(&e))?;
        let at = address
            .authority()
            .cloned()
            .ok_or_else(|| Failure::new(Kind::Configuration, "authority.mesh_url n'a pas d'adresse"))?;
        let target = Target {
            peer: role.authority.participant,
            authority: at,
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let directory = Arc::new(DirectoryFollower::load(role.directory).map_err(|e| file(&e))?);
        let gate = directory.gate(Arc::clone(&clock));
        let connector = Connector::new(Arc::new(trust), gate, Arc::new(identity), clock);
        Ok(Self {
            client: connector.https(&target),
            target,
        })
    }

    async fn call(&self, method: Method, path: &str, form: String) -> Result<Recorded, Failure> {
        let url = format!("https://{}{path}", self.target.authority);
        let url: Uri = url.parse().map_err(|e| {
            Failure::new(Kind::Configuration, "authority.mesh_url n'est pas une adresse").because(e)
        })?;
        let mut headers = HeaderMap::new();
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let answer = self
            .client
            .request(method, &url, headers, form.into(), DEADLINE, MAX_BYTES)
            .await
            .map_err(|e| {
                Failure::new(Kind::Unreachable, "l'autorité ne répond pas")
                    .because(status::chain(&e))
                    .next("vérifiez qu'elle est en service, et authority.mesh_url")
            })?;
        let broken = || Failure::new(Kind::Protocol, "la réponse de l'autorité n'est pas lue");
        if matches!(answer.status, StatusCode::OK | StatusCode::CREATED) {
            return serde_json::from_slice(&answer.body).map_err(|e| broken().because(e));
        }
        let refused: Refused = serde_json::from_slice(&answer.body).map_err(|e| broken().because(e))?;
        let kind = match answer.status.is_server_error() {
            true => Kind::TryAgain,
            false => Kind::Refused,
        };
        let said = unefois_core::in_line(&refused.error_description);
        Err(Failure::new(kind, "l'autorité refuse le retrait").because(said))
    }

    /// Waits until the record has taken effect: a lease at most, while the authority runs.
    async fn effective(&self, seq: u64) -> Result<Micros, Failure> {
        let path = format!("/as/withdrawals/{seq}");
        let mut every = tokio::time::interval(ASK_EVERY);
        loop {
            every.tick().await;
            let recorded = self.call(Method::GET, &path, String::new()).await?;
            if let Some(at) = recorded.effective_at_us {
                return Ok(Micros::new(at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_as_it_is_printed_and_nothing_else_is_one() {
        let bytes: Vec<u8> = (0..32).map(|n| n * 8 + 3).collect();
        let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (hex, colons) = (pairs.concat(), pairs.join(":"));
        let base64url = URL_SAFE_NO_PAD.encode(&bytes);
        for good in [
            &hex,
            &hex.to_uppercase(),
            &colons,
            &colons.to_uppercase(),
            &base64url,
        ] {
            assert_eq!(fingerprint(good).as_ref(), Ok(&base64url), "{good}");
        }
        for wrong in [
            "",
            ":",
            &hex[..62],
            &hex[1..],
            &format!("{hex}00"),
            &hex.replacen('3', "g", 1),
            &hex.replacen("03", "+3", 1),
            &format!("{colons}:"),
            &colons.replacen(':', "", 1),
            &colons.replacen(':', "::", 1),
            &colons.replace(':', "-"),
            &"é".repeat(32),
            &format!("{base64url}="),
        ] {
            assert!(fingerprint(wrong).is_err(), "{wrong}");
        }
    }
}
