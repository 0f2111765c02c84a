use std::sync::LazyLock;

use unefois_core::commitment::{Field, content_digest};
use unefois_core::directory::{DirectoryDocument, Jwk};
use unefois_core::{Entry, ExchangeId, Random, Sha256};
use unefois_jose::{SigningKey, sd_jwt};
use unefois_mesh::SystemRandom;
use unefois_tlog::{Checkpoint, Hash, Receipt, SignerKey, Tiles, Tree};

use super::*;

const PRODUCER: &str = "urn:unefois:participant:18003506500010";
const CONSUMER: &str = "urn:unefois:participant:21920023500014";
const UNIT: &str = r#"{"quotient_familial":{"fournisseur":"CNAF","valeur":900,"annee":2026,"mois":5,"annee_calcul":2026,"mois_calcul":5}}"#;
const SALT: [u8; 32] = [4; 32];

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    Catalogue::load(&[
        (
            "producers/cnaf.yaml",
            include_str!("../../../../catalogue/producers/cnaf.yaml"),
        ),
        (
            "producers/msa.yaml",
            include_str!("../../../../catalogue/producers/msa.yaml"),
        ),
        (
            "types/cnaf.quotient-familial@1.yaml",
            include_str!("../../../../catalogue/types/cnaf.quotient-familial@1.yaml"),
        ),
    ])
    .expect("the repository's catalogue")
});

/// Keys of everybody, and what they say; a test changes a part and has it said again.
struct Scene {
    random: SystemRandom,
    directory: SigningKey,
    seal: SigningKey,
    producer_log: SignerKey,
    consumer_log: SignerKey,
    exchange: ExchangeId,
    unit: String,
    salt: [u8; 32],
    peer_entry_hash: Option<Sha256>,
    catalogue: bool,
}

impl Scene {
    fn new() -> Self {
        let random = SystemRandom::new();
        let key = || SigningKey::generate(random.ring()).unwrap();
        let log = |id: &str, seed| SignerKey::new(format!("{id}/1").parse().unwrap(), &[seed; 32]);
        Self {
            directory: key(),
            seal: key(),
            producer_log: log(PRODUCER, 1),
            consumer_log: log(CONSUMER, 2),
            exchange: (&random as &dyn Random).exchange_id(Micros::from_secs(1_795_512_305)),
            unit: UNIT.to_owned(),
            salt: SALT,
            peer_entry_hash: None,
            catalogue: true,
            random,
        }
    }

    fn signed_directory(&self) -> String {
        let jwk = |key: &SigningKey| Jwk::from_sec1(key.verifying_key().public().point()).unwrap();
        let row = |id: &str, kind: &str, spki: char, log: &SignerKey, seal: serde_json::Value| {
            json!({
                "id": id, "name": { "fr": "Nom", "en": "Name" }, "kind": kind, "dpo": "dpo@example.fr",
                "tls": [{ "spki_sha256": spki.to_string().repeat(64), "status": "current" }],
                "seal_keys": seal,
                "logs": [{ "origin": log.verifier().name().as_str(), "vkey": log.verifier().to_string() }],
            })
        };
        let document = json!({
            "version": 1, "issued_at": "2026-11-24T00:00:00Z", "next_update": "2026-12-01T00:00:00Z",
            "expires": "2026-12-08T00:00:00Z", "lease_ms": 1000, "catalogue_hash": CATALOGUE.hash().to_string(),
            "participants": [
                row(PRODUCER, "administration", 'a', &self.producer_log, json!([jwk(&self.seal)])),
                row(CONSUMER, "collectivite", 'b', &self.consumer_log, json!([])),
            ],
            "authority": {
                "participant": PRODUCER, "issuer": "https://unefois.example", "portal": "https://unefois.example",
                "token_keys": [jwk(&self.seal)], "withdrawal_keys": [jwk(&self.seal)], "identity_providers": [],
            },
            "habilitations": [],
        });
        let document: DirectoryDocument = serde_json::from_value(document).unwrap();
        directory::sign(&document, &self.directory).unwrap()
    }

    fn file(&self) -> AttestationFile {
        let at = Micros::from_secs(1_795_512_305);
        let hash = Sha256::of(b"the request");
        let claims = json!({
            "vct": "urn:unefois:cnaf/quotient-familial@1", "iss": PRODUCER, "aud": CONSUMER,
            "iat": at.secs(), "exp": at.secs() + 60, "computed_at": at.to_rfc3339(), "outcome": "document",
            "exchange_id": self.exchange.to_string(), "request_hash": hash.to_string(), "holder": "cnaf",
        });
        let disclosure = sd_jwt::Disclosure {
            name: "valeur",
            json: &self.unit,
            salt: [6; 16],
        };
        let sd_jwt = sd_jwt::issue(&self.seal, &claims, &[disclosure]).unwrap();

        let name = "valeur".parse().unwrap();
        let digest = content_digest(AnswerForm::Document, [(&name, self.unit.as_str())]);
        let entry = |event| Entry {
            exchange_id: Some(self.exchange),
            attempt: 1,
            requester: Some(CONSUMER.parse().unwrap()),
            provider: Some(PRODUCER.parse().unwrap()),
            holder: Some("cnaf".parse().unwrap()),
            datatype: Some("cnaf/quotient-familial@1".parse().unwrap()),
            outcome: Some(Outcome::Answered),
            request_hash: Some(hash),
            content_commit: Some(Salt::from_bytes(SALT).commit(Field::Content, digest.as_bytes())),
            ..Entry::new(event, at)
        };
        let producer_entry = entry(Event::Released).encode();
        let leaf = Sha256::from_bytes(*Hash::of_leaf(&producer_entry).as_bytes());
        let consumer_entry = Entry {
            peer_entry_hash: Some(self.peer_entry_hash.unwrap_or(leaf)),
            peer_origin_hash: Some(Sha256::of(format!("{PRODUCER}/1").as_bytes())),
            ..entry(Event::Received)
        }
        .encode();
        let answer = FetchResponse {
            sd_jwt,
            producer_proof: proof(&producer_entry, &self.producer_log),
            consumer_proof: proof(&consumer_entry, &self.consumer_log),
            producer_entry,
            consumer_entry,
            content_salt: self.salt.to_vec(),
            ..Default::default()
        };
        let catalogue = String::from_utf8(CATALOGUE.to_bytes().to_vec()).unwrap();
        AttestationFile::new(
            &answer,
            self.signed_directory(),
            self.catalogue.then_some(catalogue),
        )
    }

    fn report(&self, file: &AttestationFile) -> Report {
        file.verify(self.directory.thumbprint()).unwrap()
    }
}

fn proof(leaf: &[u8], log: &SignerKey) -> String {
    let mut tree = Tree::new();
    tree.append(&[Hash::of_leaf(b"before"), Hash::of_leaf(leaf)])
        .unwrap();
    let origin = log.verifier().name().as_str().parse().unwrap();
    let checkpoint = Checkpoint::new(origin, 2, tree.root())
        .unwrap()
        .sign(log)
        .unwrap();
    let proof = tree.inclusion_proof(1, 2, &Tiles::new()).unwrap();
    Receipt::new(1, proof, checkpoint).unwrap().to_string()
}

/// The checks that fail.
fn failing(report: &Report) -> Vec<Check> {
    let fails = |(check, verdict): &(Check, Verdict)| matches!(verdict, Verdict::Fails(_)).then_some(*check);
    report.checks.iter().filter_map(fails).collect()
}

#[test]
fn another_directory_key_leaves_everything_unchecked() {
    let scene = Scene::new();
    let other = SigningKey::generate(scene.random.ring()).unwrap();
    let report = scene.file().verify(other.thumbprint()).unwrap();
    assert_eq!(failing(&report), [Check::Directory]);
    assert!(
        report.checks[1..]
            .iter()
            .all(|(_, v)| matches!(v, Verdict::NotChecked(_)))
    );
    assert!(!report.holds() && report.summary.is_none());
}

#[test]
fn each_part_that_was_changed_fails_its_own_check() {
    let scene = Scene::new();
    let true_file = scene.file();

    let mut file = true_file.clone();
    file.sd_jwt.push('x');
    assert_eq!(failing(&scene.report(&file)), [Check::Signature]);

    let mut file = true_file.clone();
    file.catalogue = file.catalogue.map(|text| text.replacen("CNAF", "CNAV", 1));
    assert_eq!(failing(&scene.report(&file)), [Check::Schema]);

    let other = Scene {
        salt: [5; 32],
        ..Scene::new()
    };
    assert_eq!(failing(&other.report(&other.file())), [Check::Content]);

    let other = Scene {
        peer_entry_hash: Some(Sha256::of(b"another")),
        ..Scene::new()
    };
    assert_eq!(failing(&other.report(&other.file())), [Check::Exchange]);

    // A value that breaks the datatype is found, although it is signed and logged.
    let other = Scene {
        unit: r#"{"quotient_familial":{"valeur":"900"}}"#.into(),
        ..Scene::new()
    };
    assert_eq!(failing(&other.report(&other.file())), [Check::Schema]);

    // Each entry proved by the other's log, then the same value out of another exchange.
    let mut file = true_file.clone();
    std::mem::swap(&mut file.producer, &mut file.consumer);
    assert_eq!(
        failing(&scene.report(&file)),
        [Check::ProducerEntry, Check::ConsumerEntry]
    );
    let mut file = true_file;
    let other = Scene {
        exchange: Scene::new().exchange,
        ..scene
    };
    file.sd_jwt = other.file().sd_jwt;
    assert_eq!(failing(&other.report(&file)), [Check::Exchange]);
}

#[test]
fn what_is_not_this_format_is_refused_by_member() {
    let scene = Scene::new();
    let text = scene.file().to_json();
    for (from, to) in [
        ("unefois-attestation/1", "unefois-attestation/2"),
        ("\"sd_jwt\"", "\"extra\": 1, \"sd_jwt\""),
        ("\"sd_jwt\"", "\"format\": \"unefois-attestation/1\", \"sd_jwt\""),
        ("\"directory\"", "\"annuaire\""),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        assert_eq!(
            AttestationFile::parse(changed.as_bytes()),
            Err(InvalidFile::Form),
            "{to}"
        );
    }
    assert_eq!(AttestationFile::parse(b""), Err(InvalidFile::Form));
    let mut file = scene.file();
    file.content_salt.pop();
    let pin = scene.directory.thumbprint();
    assert_eq!(file.verify(pin).err(), Some(InvalidFile::Member("content_salt")));
}

#[test]
fn without_the_catalogue_the_schema_alone_is_unchecked() {
    let scene = Scene {
        catalogue: false,
        ..Scene::new()
    };
    let report = scene.report(&scene.file());
    assert_eq!(
        report.checks[2],
        (Check::Schema, Verdict::NotChecked("catalogue"))
    );
    assert!(report.holds());
}

#[test]
fn a_true_file_holds_whole_and_its_report_shows_no_value() {
    let scene = Scene::new();
    let file = AttestationFile::parse(scene.file().to_json().as_bytes()).unwrap();
    let report = scene.report(&file);
    assert!(
        report
            .checks
            .iter()
            .all(|(_, verdict)| *verdict == Verdict::Holds),
        "{report}"
    );
    assert_eq!(report.checks.len(), 7);
    let text = format!("{report}{}", report.to_json());
    assert!(!text.contains("900"), "{text}");
    assert_eq!(report.summary.unwrap().units, ["valeur"]);
}
