//! The bodies that a publisher's node hosts: what each is configured with, and the log that is written for it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use unefois_core::{Clock, ParticipantId};
use unefois_ledger::Ledger;
use unefois_mesh::SystemRandom;
use unefois_store::Db;

use crate::build::{self, StartError};
use crate::config::{self, Config, Database, LedgerKeys};

/// `[[tenant]]`: a body that this node hosts as its publisher, and that asks for justificatifs in its own name. Its
/// back-office comes to `[consumer] listen` with a certificate of that body, which alone says whose it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantConfig {
    /// The participant. Its row of the directory names this node's participant among its publishers, and lists its ledger;
    /// as long as it does not, what this tenant asks is refused, and the others go on.
    pub participant: ParticipantId,
    /// As `[ledger] signer`, for this tenant's ledger: no other is signed with it.
    pub signer: PathBuf,
    /// As `[ledger] anchor`, for this tenant's ledger.
    #[serde(default)]
    pub anchor: Option<PathBuf>,
}

impl TenantConfig {
    /// The keys of its log, whose secret and safeguards are the node's `own`.
    fn keys(&self, own: &LedgerKeys) -> LedgerKeys {
        LedgerKeys {
            signer: self.signer.clone(),
            anchor: self.anchor.clone(),
            ..own.clone()
        }
    }
}

impl Config {
    /// Whose logs this node writes: its own participant's, then those of the bodies that it hosts.
    pub fn participants(&self) -> impl Iterator<Item = ParticipantId> {
        let hosted = self.tenants.iter().map(|tenant| tenant.participant);
        std::iter::once(self.node.participant).chain(hosted)
    }

    /// The keys of the log that this node writes for `participant`; `None` where it writes none.
    pub fn ledger_of(&self, participant: &ParticipantId) -> Option<LedgerKeys> {
        if *participant == self.node.participant {
            return Some(self.ledger.clone());
        }
        let hosted = self
            .tenants
            .iter()
            .find(|tenant| tenant.participant == *participant);
        hosted.map(|tenant| tenant.keys(&self.ledger))
    }
}

/// Whether each tenant can be told from every other, and from the node's own participant.
///
/// # Errors
/// [`StartError::Tenant`], [`StartError::Key`].
pub(crate) fn check(config: &Config) -> Result<(), StartError> {
    let key = |path| -> Result<_, StartError> {
        let vkey = config::signer(path)?.verifier().to_string();
        // `name+hash+key`: the name is the origin.
        let key = vkey.rsplit('+').next().unwrap_or_default().to_owned();
        Ok((vkey.split('+').next().unwrap_or_default().to_owned(), key))
    };
    let (origin, own) = key(&config.ledger.signer)?;
    let (mut origins, mut keys) = (BTreeSet::from([origin]), BTreeSet::from([own]));
    let mut participants = BTreeSet::from([config.node.participant]);
    let mut anchors: BTreeSet<_> = config.ledger.anchor.iter().collect();
    for tenant in &config.tenants {
        let wrong = |what| {
            Err(StartError::Tenant {
                tenant: tenant.participant,
                what,
            })
        };
        if config
            .consumer
            .as_ref()
            .and_then(|consumer| consumer.listen)
            .is_none()
        {
            return wrong("its back-office comes to [consumer] listen, which is not set");
        }
        if !participants.insert(tenant.participant) {
            return wrong(
                "it stands twice, or is [node] participant: one certificate would select two of them",
            );
        }
        let (origin, key) = key(&tenant.signer)?;
        if !origins.insert(origin) {
            return wrong("its signer has the origin of another ledger: each tenant has a ledger of its own");
        }
        if !keys.insert(key) {
            return wrong("its signer is another ledger's key under another name: generate one for each");
        }
        if !tenant.anchor.iter().all(|anchor| anchors.insert(anchor)) {
            return wrong("its anchor is another ledger's: each remembers one head");
        }
    }
    Ok(())
}

/// Opens the log of each tenant, as [`build::ledger`] does the node's own, whose secret and safeguards they share.
///
/// # Errors
/// [`StartError::TenantLog`] names the first whose log cannot be opened.
pub(crate) async fn logs(
    tenants: &[TenantConfig],
    own: &LedgerKeys,
    database: &Database,
    db: &Db,
    (clock, random): (&Arc<dyn Clock>, &SystemRandom),
) -> Result<Vec<(ParticipantId, Ledger)>, StartError> {
    let mut logs = Vec::with_capacity(tenants.len());
    for tenant in tenants {
        let opened = build::ledger(&tenant.keys(own), database, db, clock, random).await;
        let log = opened.map_err(|source| StartError::TenantLog {
            tenant: tenant.participant,
            source: Box::new(source),
        })?;
        logs.push((tenant.participant, log));
    }
    Ok(logs)
}
