//! Answers made with the producer's own keys, so that each lie is signed as well as the truth.

use std::sync::Arc;

use serde_json::{Value, json};
use unefois_core::commitment::{AnswerForm, Field, GrantSecret, Salt, content_digest};
use unefois_core::directory::LogRow;
use unefois_core::{Entry, Event, FetchCore, Handle, Micros, Outcome, Random, UnitName};
use unefois_jose::{Pkcs8, SigningKey, sd_jwt};
use unefois_mesh::{DirectoryFollower, Edition};
use unefois_node::consumer::evidence::Fault;
use unefois_node::consumer::verify::{Answer, Asked, KnownHead, VerifiedAnswer};
use unefois_tlog::{Checkpoint, Hash, KeyName, Receipt, SignerKey, Tiles, Tree};
use zeroize::Zeroizing;

use crate::world::{World, consumer_id, producer_id, stranger_id};

/// What a producer says in one answer; a test changes a part and signs it again.
pub(crate) struct Forge {
    pub(crate) world: World,
    pub(crate) seal: SigningKey,
    pub(crate) signer: SignerKey,
    pub(crate) core: FetchCore,
    pub(crate) gs: GrantSecret,
    pub(crate) claims: Value,
    pub(crate) units: Vec<(&'static str, &'static str)>,
    pub(crate) form: AnswerForm,
    pub(crate) entry: Entry,
    pub(crate) salt: [u8; 32],
    pub(crate) known: Option<KnownHead>,
    pub(crate) now: Micros,
    edition: Arc<Edition>,
    /// Leaves of the producer's log before this entry.
    pub(crate) before: Vec<Vec<u8>>,
}

impl Forge {
    /// A true answer: one unit asked, one sent.
    pub(crate) async fn new() -> Self {
        let world = World::new(&[]).await;
        let read = |file: &str| std::fs::read(world.path(file)).expect("a file");
        let seal = Pkcs8::from_file(Zeroizing::new(read("seal.key"))).expect("a key");
        let seal = SigningKey::from_pkcs8(&seal, world.random.ring()).expect("a key");
        let text = String::from_utf8(read("ledger.key")).expect("text");
        let signer = SignerKey::from_text(text.trim()).expect("a key");
        let stranger_log = log_key(&format!("{}/1", stranger_id()));
        let vkey = stranger_log.verifier().to_string();
        let (_, jws) = world.change(|d| {
            let row = d
                .participants
                .iter_mut()
                .find(|row| row.id == stranger_id())
                .expect("a row");
            row.logs = vec![LogRow {
                origin: stranger_log.verifier().name().as_str().to_owned(),
                vkey,
            }];
        });
        std::fs::write(world.path("directory.jws"), jws).expect("a file");
        let follower = DirectoryFollower::load(world.directory_config()).expect("a directory");
        let edition = follower.edition();

        let random: &dyn Random = &world.random;
        let now = world.clock.now();
        let core = FetchCore {
            request_id: random.exchange_id(now),
            handle: Handle::draw(now, random),
            datatype: "cnaf/revenu@1".parse().expect("a datatype"),
            units: vec!["montant".parse().expect("a unit")],
            period: None,
            demarche: "cantine".parse().expect("a démarche"),
            dossier: "2026-0412".parse().expect("a file"),
            nonce: random.bytes(),
        };
        let gs = GrantSecret::draw(random);
        let claims = json!({
            "vct": core.datatype.vct(),
            "iss": producer_id().to_string(),
            "aud": consumer_id().to_string(),
            "iat": now.secs(),
            "exp": now.secs() + 86_400,
            "computed_at": now.to_rfc3339(),
            "outcome": "document",
            "exchange_id": core.request_id.to_string(),
            "request_hash": core.hash().to_string(),
            "holder": "cnaf",
            "parts": [],
        });
        let commit = |field, value: &[u8]| Some(gs.commit(&core.request_id, field, value));
        let entry = Entry {
            exchange_id: Some(core.request_id),
            attempt: 1,
            requester: Some(consumer_id()),
            provider: Some(producer_id()),
            holder: Some("cnaf".parse().expect("a holder")),
            datatype: Some(core.datatype.clone()),
            demarche: Some(core.demarche.clone()),
            units: 1,
            outcome: Some(Outcome::Answered),
            grant_commit: commit(Field::Grant, core.handle.as_bytes()),
            dossier_commit: commit(Field::Dossier, core.dossier.as_str().as_bytes()),
            request_hash: Some(core.hash()),
            ..Entry::new(Event::Released, now)
        };
        Self {
            seal,
            signer,
            gs,
            claims,
            units: vec![("montant", r#"{"montant":900,"taux":12.50}"#)],
            form: AnswerForm::Document,
            entry,
            salt: random.bytes(),
            known: None,
            now,
            edition,
            before: vec![b"first".to_vec(), b"second".to_vec()],
            core,
            world,
        }
    }

    /// Signs what there is, commits to what is sent, logs it and proves it.
    pub(crate) fn answer(&self) -> Answer {
        let random: &dyn Random = &self.world.random;
        let disclosures: Vec<sd_jwt::Disclosure<'_>> = (self.units.iter())
            .map(|(name, json)| sd_jwt::Disclosure {
                name,
                json,
                salt: random.bytes(),
            })
            .collect();
        let sd_jwt = sd_jwt::issue(&self.seal, &self.claims, &disclosures).expect("an attestation");
        let names: Vec<(UnitName, &str)> = (self.units.iter())
            .filter_map(|(name, json)| Some((name.parse().ok()?, *json)))
            .collect();
        let digest = content_digest(self.form, names.iter().map(|(name, json)| (name, *json)));
        let entry = Entry {
            content_commit: Some(Salt::from_bytes(self.salt).commit(Field::Content, digest.as_bytes())),
            ..self.entry.clone()
        };
        let bytes = entry.encode();
        let (proof, consistency) = self.logged(&bytes);
        Answer {
            sd_jwt,
            content_salt: self.salt,
            form: self.form,
            entry: bytes,
            proof,
            consistency,
            held: String::new(),
        }
    }

    fn logged(&self, leaf: &[u8]) -> (String, Vec<Hash>) {
        let mut tree = Tree::new();
        let leaves: Vec<Hash> = self.before.iter().map(|leaf| Hash::of_leaf(leaf)).collect();
        tree.append(&leaves).expect("a small tree");
        tree.append(&[Hash::of_leaf(leaf)]).expect("a small tree");
        let (size, tiles) = (tree.size(), Tiles::new());
        let origin = self.signer.verifier().name().as_str().parse().expect("an origin");
        let checkpoint = Checkpoint::new(origin, size, tree.root()).expect("a checkpoint");
        let checkpoint = checkpoint.sign(&self.signer).expect("a signature");
        let proof = tree.inclusion_proof(size - 1, size, &tiles).expect("a proof");
        let receipt = Receipt::new(size - 1, proof, checkpoint).expect("a receipt");
        let known = self.known.as_ref().map_or(0, |known| known.size.min(size));
        let consistency = tree.consistency_proof(known, size, &tiles).expect("a proof");
        (receipt.to_string(), consistency)
    }

    /// The head of the producer's log before this entry.
    pub(crate) fn head_before(&self) -> KnownHead {
        let mut tree = Tree::new();
        let leaves: Vec<Hash> = self.before.iter().map(|leaf| Hash::of_leaf(leaf)).collect();
        tree.append(&leaves).expect("a small tree");
        KnownHead {
            origin: self.signer.verifier().name().as_str().to_owned(),
            size: tree.size(),
            root: tree.root(),
            checkpoint: String::new(),
        }
    }

    /// What this consumer asked.
    pub(crate) fn asked(&self) -> Asked {
        Asked {
            edition: Arc::clone(&self.edition),
            consumer: consumer_id(),
            operator: producer_id(),
            core: self.core.clone(),
            gs: self.gs.clone(),
            known: self.known.clone(),
            now: self.now,
        }
    }

    pub(crate) fn judged(&self) -> Result<VerifiedAnswer, Fault> {
        self.answer().verify(&self.asked())
    }
}

/// A log's key that a test makes up.
pub(crate) fn log_key(origin: &str) -> SignerKey {
    let name: KeyName = origin.parse().expect("an origin");
    SignerKey::new(name, &[7; 32])
}
