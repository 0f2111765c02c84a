//! Who reads, what it trusts, and how it reaches a participant's logs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tonic::transport::Channel;
use unefois_auditor::Error;
use unefois_core::{Clock, ParticipantId, Reason};
use unefois_mesh::{
    Connector, DirectoryConfig, DirectoryFollower, Edition, Identity, Peer, SystemClock, Target, Trust,
};
use unefois_tlog::{Origin, VerifierKey};

use crate::failure::{Failure, Kind};

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Who reads, and what it trusts.
#[derive(Debug, Args)]
pub struct Reader {
    /// The auditor's certificate, PEM.
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,
    /// Its key, PEM.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The certificate authorities of the mesh, PEM.
    #[arg(long, value_name = "FILE")]
    pub authorities: PathBuf,
    /// Their revocation lists, PEM.
    #[arg(long, value_name = "FILE")]
    pub crls: PathBuf,
    /// The signed directory.
    #[arg(long, value_name = "FILE")]
    pub directory: PathBuf,
    /// The compiled catalogue that it names.
    #[arg(long, value_name = "FILE")]
    pub catalogue: PathBuf,
    /// Thumbprint of the key that signs directories.
    #[arg(long, value_name = "THUMBPRINT", allow_hyphen_values = true)]
    pub pin: String,
}

/// A reader with its files read: it may call.
pub struct Session {
    connector: Connector,
    edition: Arc<Edition>,
    name: String,
}

/// One log of a participant, and where its replicas answer.
#[derive(Clone, Debug)]
pub struct Log {
    /// Whose.
    pub participant: ParticipantId,
    /// The origin of its heads.
    pub origin: Origin,
    /// The key that signs them.
    pub key: VerifierKey,
    targets: Vec<Target>,
}

impl Reader {
    /// Reads the files.
    ///
    /// # Errors
    /// One is missing or not accepted.
    pub fn open(&self) -> Result<Session, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let file = |e: &dyn std::fmt::Display| {
            Failure::new(Kind::NoInput, "un fichier n'est pas accepté").because(e)
        };
        let identity = Identity::load(self.cert.clone(), self.key.clone()).map_err(|e| file(&e))?;
        let trust = Trust::load(self.authorities.clone(), self.crls.clone()).map_err(|e| file(&e))?;
        let config = DirectoryConfig {
            file: self.directory.clone(),
            catalogue: self.catalogue.clone(),
            key: self.pin.clone(),
            next_key: None,
        };
        let directory = Arc::new(DirectoryFollower::load(config).map_err(|e| file(&e))?);
        let gate = directory.gate(Arc::clone(&clock));
        let leaf = CertificateDer::from_pem_file(&self.cert).map_err(|e| file(&e))?;
        let own = Peer::from_der(&leaf).map_err(|e| file(&e))?;
        Ok(Session {
            name: own.id.to_string(),
            connector: Connector::new(Arc::new(trust), gate, Arc::new(identity), clock),
            edition: directory.edition(),
        })
    }
}

impl Session {
    /// Who reads, by their certificate.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory and the catalogue that it reads by.
    pub fn edition(&self) -> &Edition {
        &self.edition
    }

    /// Where the directory says that the logs of a participant are read: at its own addresses, and at those of the
    /// publishers that host it.
    fn places(&self, participant: &ParticipantId) -> Vec<(ParticipantId, &String)> {
        let directory = &self.edition.directory;
        let row = directory.participant(participant);
        let publishers = row.into_iter().flat_map(|row| &row.publishers);
        let keepers = row
            .into_iter()
            .chain(publishers.filter_map(|id| directory.participant(id)));
        keepers
            .flat_map(|keeper| keeper.mesh.iter().map(|address| (keeper.id, address)))
            .collect()
    }

    /// Whether a participant has a log that can be read.
    pub fn reads(&self, participant: &ParticipantId) -> bool {
        let row = self.edition.directory.participant(participant);
        row.is_some_and(|row| !row.logs.is_empty()) && !self.places(participant).is_empty()
    }

    /// Every log of `participant`.
    ///
    /// # Errors
    /// The directory gives it no log or no address.
    pub fn logs(&self, participant: &ParticipantId) -> Result<Vec<Log>, Failure> {
        let unknown = || {
            Failure::new(
                Kind::Data,
                "ce participant n'a ni adresse ni registre dans l'annuaire",
            )
        };
        let malformed = |e: &dyn std::fmt::Display| {
            Failure::new(Kind::Data, "l'annuaire nomme mal ce participant").because(e)
        };
        let row = self.edition.directory.participant(participant);
        let row = row.filter(|_| self.reads(participant)).ok_or_else(unknown)?;
        let target = |(peer, address): (ParticipantId, &String)| {
            Ok(Target {
                peer,
                authority: address.parse().map_err(|e| malformed(&e))?,
            })
        };
        let places = self.places(participant).into_iter();
        let targets: Vec<Target> = places.map(target).collect::<Result<_, Failure>>()?;
        let log = |log: &unefois_core::directory::LogRow| {
            Ok(Log {
                participant: *participant,
                origin: log.origin.parse().map_err(|e| malformed(&e))?,
                key: log.vkey.parse().map_err(|e| malformed(&e))?,
                targets: targets.clone(),
            })
        };
        row.logs.iter().map(log).collect()
    }

    /// What `read` makes of `log`, at the first replica that serves it: each serves its own log and does not know the
    /// others'. `read` is called anew for each replica.
    ///
    /// # Errors
    /// None serves it, or what one served does not hold.
    pub async fn read<T>(
        &self,
        log: &Log,
        mut read: impl AsyncFnMut(Channel) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let mut last = None;
        for target in &log.targets {
            match read(self.connector.channel(target, DEADLINE)).await {
                Ok(done) => return Ok(done),
                Err(error) if error.unread() => last = Some(error),
                Err(error) => return Err(failure(&error)),
            }
        }
        let nowhere = || Failure::new(Kind::Data, "ce participant n'a pas d'adresse dans l'annuaire");
        Err(last.map_or_else(nowhere, |error| failure(&error)))
    }
}

fn failure(error: &Error) -> Failure {
    let reason = match error {
        Error::Call(status) => unefois_mesh::status::reason_of(status),
        _ => None,
    };
    if let Some(reason) = reason.filter(|reason| !reason.retryable()) {
        let next = match reason {
            Reason::InvalidRequest => {
                "le registre n'a pas cette place, cette taille ou cette page ; vérifiez la demande"
            }
            _ => "présentez un certificat d'auditeur que l'annuaire nomme",
        };
        return Failure::new(Kind::Refused, reason.text_fr())
            .because(error)
            .reason(reason)
            .next(next);
    }
    let kind = if error.unread() {
        Kind::Unreachable
    } else {
        Kind::No
    };
    let failure = Failure::new(kind, "le registre n'est pas vérifié").because(error);
    match kind {
        Kind::Unreachable => {
            failure.next("vérifiez l'adresse du participant, le certificat d'auditeur et --crls")
        }
        _ => failure.next("gardez cette tête et demandez au participant son explication"),
    }
}
