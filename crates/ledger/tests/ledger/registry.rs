//! A directory of logs, and what else a process lends its log to be shown and witnessed.

use std::sync::Arc;

use unefois_core::directory::{
    AuthorityRow, Bilingual, DirectoryDocument, Jwk, KeyStatus, LogRow, ParticipantKind, ParticipantRow,
    SignatureChecked, TlsKey, Unverified,
};
use unefois_core::{Clock, Directory, Micros, ParticipantId, Sha256};
use unefois_ledger::{Registry, Surroundings};
use unefois_mesh::{Connector, Identity, Trust};
use unefois_tlog::VerifierKey;

use crate::pki::Ca;
use crate::scene::{Scene, consumer, producer, stranger};

/// How long the directory counts.
pub(crate) const EXPIRES_MS: i64 = 7 * 86_400_000;

pub(crate) struct Lent {
    pub(crate) clock: Arc<dyn Clock>,
    connector: Connector,
    directory: Arc<Directory>,
}

impl Lent {
    /// A directory in which these logs are the producer's.
    pub(crate) fn new(scene: &Scene, logs: &[&VerifierKey]) -> Self {
        let clock = Arc::clone(&scene.clock) as Arc<dyn Clock>;
        let ca = Ca::new(clock.now());
        let trust = Arc::new(Trust::from_pem(&ca.cert, &ca.crl).expect("trust"));
        let identity = Arc::new(Identity::new(ca.issue(&producer()).credential()));
        Self {
            connector: Connector::new(trust, Arc::new(|_| Ok(())), identity, Arc::clone(&clock)),
            directory: Arc::new(directory(clock.now(), logs)),
            clock,
        }
    }

    pub(crate) fn lend(&self) -> Surroundings<'_> {
        let directory = Arc::clone(&self.directory);
        Surroundings {
            connector: &self.connector,
            registry: Registry::new(move || Arc::clone(&directory), |directory| directory),
        }
    }
}

fn directory(now: Micros, logs: &[&VerifierKey]) -> Directory {
    let row = |id: ParticipantId, logs: Vec<LogRow>| ParticipantRow {
        id,
        name: Bilingual {
            fr: "Essai".to_owned(),
            en: "Test".to_owned(),
        },
        kind: ParticipantKind::Administration,
        mesh: vec!["localhost:1".to_owned()],
        public_url: None,
        dpo: "dpo@example.test".to_owned(),
        redirect_uris: Vec::new(),
        tls: vec![TlsKey {
            spki_sha256: Sha256::of(id.to_string().as_bytes()),
            status: KeyStatus::Current,
        }],
        seal_keys: Vec::new(),
        pivot_keys: Vec::new(),
        logs,
        habilitation_keys: Vec::new(),
        publishers: Vec::new(),
    };
    let logs = logs.iter().map(|key| LogRow {
        origin: key.name().to_string(),
        vkey: key.to_string(),
    });
    // Nothing here is verified with it.
    let jwk = Jwk::from_sec1(&[4; 65]).expect("a point's form");
    let document = DirectoryDocument {
        version: 1,
        prev: None,
        issued_at: now,
        next_update: now.plus_ms(EXPIRES_MS),
        expires: now.plus_ms(EXPIRES_MS),
        next_directory_key: None,
        lease_ms: 1_000,
        catalogue_hash: Sha256::of(b"catalogue"),
        authority: AuthorityRow {
            participant: stranger(),
            issuer: "https://autorite.example".to_owned(),
            portal: "https://autorite.example".to_owned(),
            token_keys: vec![jwk.clone()],
            withdrawal_keys: vec![jwk],
            subject_keys: vec![],
            identity_providers: Vec::new(),
        },
        auditors: Vec::new(),
        habilitations: Vec::new(),
        quotas: Vec::new(),
        closed_windows: Vec::new(),
        participants: vec![
            row(stranger(), Vec::new()),
            row(consumer(), Vec::new()),
            row(producer(), logs.collect()),
        ],
    };
    let payload = serde_json::to_vec(&document).expect("JSON");
    let parsed = Unverified::parse(&payload).expect("a directory");
    parsed
        .accept(&SignatureChecked::over(&payload), Vec::new())
        .expect("these bytes")
}
