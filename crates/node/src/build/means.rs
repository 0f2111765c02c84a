//! What a producer answers with: keys and sources, as the configuration names them.

use std::collections::BTreeMap;
use std::sync::Arc;

use unefois_core::decision::Operator;
use unefois_core::{DatatypeRev, ParticipantId, RevocationView};
use unefois_jose::{DecryptionKey, SigningKey};
use unefois_mesh::{DirectoryFollower, SystemRandom};

use super::{Foundation, StartError};
use crate::config::{self, KeyFileError, Produce, ProducerConfig};
use crate::lease::{Guard, Keeper, Lease};
use crate::producer::source::Source;
use crate::producer::source::http::HttpSource;
use crate::producer::source::sandbox::Sandbox;
use crate::producer::{Parts, Producer};

/// The keys that may sign attestations, the present one first.
pub(super) fn seals(config: &ProducerConfig, random: &SystemRandom) -> Result<Vec<SigningKey>, KeyFileError> {
    let files = std::iter::once(&config.seal).chain(&config.seal_next);
    files.map(|path| config::signing_key(path, random)).collect()
}

/// What a producer answers with.
pub(super) struct Means {
    sources: BTreeMap<DatatypeRev, Arc<dyn Source>>,
    seals: Vec<SigningKey>,
    pivot_keys: Vec<DecryptionKey>,
    operator: Operator,
}

impl Means {
    pub(super) fn open(
        config: ProducerConfig,
        participant: ParticipantId,
        directory: &DirectoryFollower,
        random: &SystemRandom,
    ) -> Result<Self, StartError> {
        let (mut sources, seals) = (BTreeMap::new(), seals(&config, random)?);
        for produce in config.produce {
            let datatype = produce.datatype.clone();
            let edition = directory.edition();
            let operated = edition
                .catalogue
                .datatype(&datatype)
                .is_some_and(|d| *d.operator() == participant);
            if !operated {
                let what = "the catalogue has no such datatype of this participant";
                return Err(StartError::Produce { datatype, what });
            }
            if sources.insert(datatype.clone(), source(produce)?).is_some() {
                return Err(StartError::Produce {
                    datatype,
                    what: "it is given twice",
                });
            }
        }
        let kids = config.habilitation_keys.iter().map(ToString::to_string);
        Ok(Self {
            sources,
            operator: Operator {
                participant,
                habilitation_keys: kids.collect(),
                habilitations_ended: config.habilitations_ended.into_iter().collect(),
            },
            seals,
            pivot_keys: config
                .pivot
                .iter()
                .map(|path| config::decryption_key(path))
                .collect::<Result<_, _>>()?,
        })
    }
}

pub(super) fn producer(means: Means, foundation: &Foundation) -> (Producer, Keeper) {
    let Foundation {
        directory,
        ledger,
        db,
        connector,
        clock,
        random,
        ..
    } = foundation;
    let head = ledger.head();
    let floor: RevocationView = head.view;
    let lease = Arc::new(Lease::new(Arc::clone(clock), floor, head.size > 0));
    let guard = Arc::new(Guard::new(Arc::clone(&lease)));
    let producer = Producer::new(Parts {
        operator: means.operator,
        directory: Arc::clone(directory),
        ledger: ledger.clone(),
        db: db.clone(),
        lease: Arc::clone(&lease),
        guard: Arc::clone(&guard),
        sources: means.sources,
        seals: means.seals,
        pivot_keys: means.pivot_keys,
        clock: Arc::clone(clock),
        random: random.clone(),
    });
    let keeper = Keeper {
        lease,
        guard,
        ledger: ledger.clone(),
        directory: Arc::clone(directory),
        connector: connector.clone(),
        random: Arc::new(random.clone()),
    };
    (producer, keeper)
}

fn source(produce: Produce) -> Result<Arc<dyn Source>, StartError> {
    let Produce {
        datatype,
        sandbox,
        http,
        parameters,
        layout,
    } = produce;
    match (sandbox, http) {
        (Some(folder), None) => Sandbox::open(&folder, parameters, layout)
            .map(|sandbox| Arc::new(sandbox) as Arc<dyn Source>)
            .map_err(|source| StartError::Sandbox { datatype, source }),
        (None, Some(config)) => HttpSource::open(&config, parameters, layout)
            .map(|http| Arc::new(http) as Arc<dyn Source>)
            .map_err(|source| StartError::Http { datatype, source }),
        (None, None) | (Some(_), Some(_)) => Err(StartError::Produce {
            datatype,
            what: "it needs one source, sandbox or http",
        }),
    }
}
