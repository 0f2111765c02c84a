use serde_json::{Value, json};
use unefois_core::directory::{DirectoryDocument, Jwk};
use unefois_core::effect::LogLine;
use unefois_core::revocation::{Record, RecordPlace};
use unefois_core::{RevocationView, Sha256};
use unefois_jose::SigningKey;
use unefois_mesh::SystemRandom;
use unefois_tlog::{Checkpoint, SignerKey, Tiles, Tree};

use super::*;
use crate::command::receipt::withdrawal::words::Said;
use crate::console::{Console, Lang};

const AUTHORITY: &str = "urn:unefois:participant:13000495500014";
const PRODUCER: &str = "urn:unefois:participant:18003506500010";
const PLACE: RecordPlace = RecordPlace { epoch: 2, seq: 7 };
/// Where a log stands in the producer's list, by its number.
const STANDINGS: [&str; 4] = ["acknowledged", "lapsed", "opened", "absent"];

fn log_key(participant: &str, number: u8) -> SignerKey {
    SignerKey::new(format!("{participant}/{number}").parse().unwrap(), &[number; 32])
}

/// The authority's log after the entries of some proofs, and what a person downloads.
struct Scene {
    effects: Vec<Effect>,
    events: Vec<Event>,
    /// The directory's version that the entries rest on.
    version: u64,
    /// Who signs the head of the authority's log.
    signer: SignerKey,
    /// Who signs the head that the producer's first log acknowledged with.
    producer: SignerKey,
}

impl Scene {
    fn new() -> Self {
        let producer = log_key(PRODUCER, 1);
        Self {
            effects: vec![effect(1, &producer), effect(2, &producer)],
            events: vec![Event::Effective; 2],
            version: 1,
            signer: log_key(AUTHORITY, 9),
            producer,
        }
    }

    /// The same, with one effect that was changed before its entry was written.
    fn with(change: impl FnOnce(&mut Effect)) -> Self {
        let mut scene = Self::new();
        change(&mut scene.effects[1]);
        scene
    }

    fn file(&self) -> Value {
        let salt = |n: usize| Salt::from_bytes([u8::try_from(n).unwrap(); 32]);
        let texts: Vec<Vec<u8>> = self.effects.iter().map(Effect::to_bytes).collect();
        let entries = (0..).zip(texts.iter().zip(&self.events));
        let entries: Vec<Vec<u8>> = entries
            .map(|(n, (text, event))| {
                let entry = Entry {
                    provider: self.effects[n].operator,
                    directory_version: self.version,
                    evidence_commit: Some(salt(n).commit(Field::Evidence, text)),
                    ..Entry::new(*event, Micros::from_secs(1_795_512_306))
                };
                entry.encode()
            })
            .collect();
        let mut tree = Tree::new();
        let leaves: Vec<Hash> = entries.iter().map(|bytes| Hash::of_leaf(bytes)).collect();
        tree.append(&leaves).unwrap();
        let size = leaves.len() as u64;
        let head = signed_head(&self.signer, size, tree.root());
        let proofs = entries.iter().enumerate().map(|(n, bytes)| {
            let index = n as u64;
            let hashes = tree.inclusion_proof(index, size, &Tiles::new()).unwrap();
            let receipt = Receipt::new(index, hashes, head.clone()).unwrap();
            json!({
                "effective_at": self.effects[n].effective_at.to_rfc3339(),
                "effect": std::str::from_utf8(&texts[n]).unwrap(),
                "receipt": {
                    "log": self.signer.verifier().name().as_str(), "index": index,
                    "entry": STANDARD.encode(bytes), "salt": STANDARD.encode(salt(n).as_bytes()),
                    "proof": receipt.to_string(),
                },
            })
        });
        json!({ "grant_id": "AQEBAQEBAQEBAQEBAQEBAQ", "proofs": proofs.collect::<Vec<_>>() })
    }

    /// The directory, signed and verified: the producer's logs up to number `last`, the authority's by `authority`.
    fn directory(&self, last: u8, authority: &str) -> Trust {
        let random = SystemRandom::new();
        let key = SigningKey::generate(random.ring()).unwrap();
        let jwk = Jwk::from_sec1(key.verifying_key().public().point()).unwrap();
        let row = |id: &str, spki: char, pivot: bool, logs: Vec<SignerKey>| {
            let logs = logs
                .iter()
                .map(SignerKey::verifier)
                .map(|key| json!({ "origin": key.name().as_str(), "vkey": key.to_string() }));
            json!({
                "id": id, "name": { "fr": "La Caisse", "en": "The Fund" }, "kind": "administration",
                "dpo": "dpo@example.fr", "tls": [{ "spki_sha256": spki.to_string().repeat(64), "status": "current" }],
                "pivot_keys": pivot.then_some(&jwk).into_iter().collect::<Vec<_>>(), "logs": logs.collect::<Vec<_>>(),
            })
        };
        let logs = (1..=last).map(|number| log_key(PRODUCER, number)).collect();
        let document = json!({
            "version": 1, "issued_at": "2026-11-24T00:00:00Z", "next_update": "2026-12-01T00:00:00Z",
            "expires": "2026-12-08T00:00:00Z", "lease_ms": 1000, "catalogue_hash": "a".repeat(64),
            "participants": [
                row(PRODUCER, 'a', true, logs), row(AUTHORITY, 'b', false, vec![log_key(AUTHORITY, 9)]),
            ],
            "authority": {
                "participant": authority, "issuer": "https://unefois.example", "portal": "https://unefois.example",
                "token_keys": [jwk], "withdrawal_keys": [jwk], "identity_providers": [],
            },
            "habilitations": [],
        });
        let document: DirectoryDocument = serde_json::from_value(document).unwrap();
        let signed = unefois_jose::directory::sign(&document, &key).unwrap();
        let directory = unefois_jose::directory::verify(&signed, key.thumbprint()).unwrap();
        Trust::Directory(Box::new(directory))
    }

    /// As everybody has it.
    fn trust(&self) -> Trust {
        self.directory(4, AUTHORITY)
    }

    fn judged(&self, trust: &Trust) -> Result<Vec<Option<Shown>>, (usize, Refusal)> {
        parsed(&self.file()).unwrap().verify(trust)
    }
}

fn signed_head(key: &SignerKey, size: u64, root: Hash) -> SignedCheckpoint {
    let origin = key.verifier().name().as_str().parse().unwrap();
    Checkpoint::new(origin, size, root).unwrap().sign(key).unwrap()
}

fn effect(handle: u8, producer: &SignerKey) -> Effect {
    let participant = PRODUCER.parse().unwrap();
    let standing = |state| match state {
        "acknowledged" => Standing::Acknowledged {
            view: RevocationView { epoch: 2, seq: 7 },
            checkpoint: signed_head(producer, 57, Hash::EMPTY).to_string(),
        },
        "lapsed" => Standing::Lapsed {
            size: 31,
            root: Sha256::of(b"root"),
        },
        "opened" => Standing::Opened,
        _ => Standing::Absent,
    };
    let lines = (1..).zip(STANDINGS).map(|(number, state): (u8, _)| LogLine {
        participant,
        origin: format!("{PRODUCER}/{number}"),
        boot: (state != "absent").then_some(1),
        standing: standing(state),
    });
    Effect {
        record: Record {
            place: PLACE,
            withdrawal: Withdrawal::Grant(Handle::from_bytes([handle; 16])),
            at: Micros::from_secs(1_795_512_305),
        },
        operator: Some(participant),
        effective_at: Micros::from_secs(1_795_512_306),
        logs: lines.collect(),
    }
}

fn parsed(file: &Value) -> Result<ProofFile, InvalidFile> {
    ProofFile::parse(file.to_string().as_bytes())
}

fn faults(judged: Result<Vec<Option<Shown>>, (usize, Refusal)>) -> (usize, Fault) {
    match judged {
        Err((number, Refusal::Fault(fault))) => (number, fault),
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn i3_a_proof_of_which_any_byte_was_changed_is_refused() {
    let scene = Scene::new();
    let (text, trust) = (scene.file().to_string(), scene.trust());
    assert!(scene.judged(&trust).is_ok());
    // Nothing signed covers the grant's number, and the command says so.
    let number = text.find("\"AQEB").unwrap()..text.find("\"proofs\"").unwrap();
    for place in (0..text.len()).filter(|place| !number.contains(place)) {
        for bit in [1, 0x20] {
            let mut changed = text.clone().into_bytes();
            changed[place] ^= bit;
            let Ok(file) = ProofFile::parse(&changed) else {
                continue;
            };
            let around = String::from_utf8_lossy(&text.as_bytes()[place.saturating_sub(20)..place]);
            assert!(file.verify(&trust).is_err(), "byte {place}, after {around}");
        }
    }
}

#[test]
fn what_belongs_to_another_proof_or_log_is_refused() {
    let (scene, trust) = (Scene::new(), Scene::new().trust());
    for member in ["entry", "salt", "proof"] {
        let mut file = scene.file();
        file["proofs"][0]["receipt"][member] = file["proofs"][1]["receipt"][member].clone();
        let refused = match parsed(&file) {
            Ok(file) => file.verify(&trust).is_err(),
            Err(why) => why == InvalidFile::Contradiction(1),
        };
        assert!(refused, "{member}");
    }
    // Another person's effect, with an entry that is as good as its own.
    let mut file = scene.file();
    let of_another = effect(3, &scene.producer).to_bytes();
    file["proofs"][0]["effect"] = String::from_utf8(of_another).unwrap().into();
    assert_eq!(
        faults(parsed(&file).unwrap().verify(&trust)),
        (1, Fault::Evidence)
    );

    // Another log's key, under the authority's name and under its own.
    let stranger = SignerKey::new(format!("{AUTHORITY}/9").parse().unwrap(), &[8; 32]);
    let forged = Scene {
        signer: stranger,
        ..Scene::new()
    };
    assert!(matches!(forged.judged(&trust), Err((1, Refusal::NotInLog(_)))));
    let of_producer = Scene {
        signer: log_key(PRODUCER, 2),
        ..Scene::new()
    };
    assert!(matches!(
        of_producer.judged(&trust),
        Err((1, Refusal::NotTheAuthority(_)))
    ));
    let unlisted = Scene {
        signer: log_key(AUTHORITY, 8),
        ..Scene::new()
    };
    assert!(matches!(
        unlisted.judged(&trust),
        Err((1, Refusal::UnknownLog(_)))
    ));
    let key = Trust::Key(log_key(AUTHORITY, 8).verifier().clone());
    assert!(matches!(scene.judged(&key), Err((1, Refusal::NotInLog(_)))));
}

#[test]
fn an_entry_or_a_line_that_does_not_show_it_is_refused() {
    let trust = Scene::new().trust();
    let events = vec![Event::Effective, Event::Withdrawn];
    let scene = Scene {
        events,
        ..Scene::new()
    };
    assert!(matches!(scene.judged(&trust), Err((2, Refusal::OtherEvent))));

    let origin = format!("{PRODUCER}/1");
    let stranger = SignerKey::new(origin.parse().unwrap(), &[8; 32]);
    let key = Trust::Key(log_key(AUTHORITY, 9).verifier().clone());
    let line = |effect: &mut Effect, view, head: SignedCheckpoint| {
        effect.logs[0].standing = Standing::Acknowledged {
            view,
            checkpoint: head.to_string(),
        };
    };
    let view = RevocationView { epoch: 2, seq: 7 };
    let before = RevocationView { epoch: 2, seq: 6 };
    let sound = |key: &SignerKey| signed_head(key, 57, Hash::EMPTY);

    let forged = Scene::with(|effect| line(effect, view, sound(&stranger)));
    assert_eq!(
        faults(forged.judged(&trust)),
        (2, Fault::Checkpoint(origin.clone()))
    );
    let unsigned = forged.judged(&key).unwrap();
    assert_eq!(
        unsigned[1].as_ref().unwrap().signed.len(),
        0,
        "nothing is said of its signature"
    );
    for trust in [&trust, &key] {
        let of_another = Scene::with(|effect| line(effect, view, sound(&log_key(PRODUCER, 2))));
        assert_eq!(
            faults(of_another.judged(trust)),
            (2, Fault::Checkpoint(origin.clone()))
        );
        let early = Scene::with(|effect| line(effect, before, sound(&log_key(PRODUCER, 1))));
        assert_eq!(
            faults(early.judged(trust)),
            (2, Fault::BelowRecord(origin.clone()))
        );
        let twice = Scene::with(|effect| effect.logs.insert(0, effect.logs[0].clone()));
        assert_eq!(faults(twice.judged(trust)), (2, Fault::OtherLine(origin.clone())));
        let foreign = Scene::with(|effect| effect.logs[0].participant = AUTHORITY.parse().unwrap());
        assert_eq!(
            faults(foreign.judged(trust)),
            (2, Fault::OtherLine(origin.clone()))
        );
    }
    let short = Scene::with(|effect| drop(effect.logs.pop()));
    assert_eq!(
        faults(short.judged(&trust)),
        (2, Fault::NoLine(format!("{PRODUCER}/4")))
    );
    assert!(
        short.judged(&key).is_ok(),
        "without the directory nobody knows of that log"
    );
}

#[test]
fn what_is_no_file_of_this_form_is_refused_by_its_member() {
    let scene = Scene::new();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut file = scene.file();
        change(&mut file);
        parsed(&file).expect_err("a file of another form")
    };
    let receipt = |member: &'static str, value: Value| {
        refused(&move |file| file["proofs"][1]["receipt"][member] = value.clone())
    };
    let unread = |bytes: &[u8]| ProofFile::parse(bytes).expect_err("no file");
    assert_eq!(unread(b""), InvalidFile::Form);
    assert_eq!(unread(&vec![b' '; MAX_BYTES + 1]), InvalidFile::TooLarge);
    let twice = scene.file().to_string().replacen("{", "{\"grant_id\":\"\",", 1);
    assert_eq!(unread(twice.as_bytes()), InvalidFile::Form);
    assert_eq!(refused(&|file| file["more"] = 1.into()), InvalidFile::Form);
    assert_eq!(receipt("more", 1.into()), InvalidFile::Form);
    assert_eq!(
        refused(&|file| file["grant_id"] = "AQE".into()),
        InvalidFile::Member("grant_id")
    );
    assert_eq!(refused(&|file| file["proofs"] = json!([])), InvalidFile::Count(0));
    let many = |file: &mut Value| file["proofs"] = vec![file["proofs"][0].clone(); MAX_PROOFS + 1].into();
    assert_eq!(refused(&many), InvalidFile::Count(MAX_PROOFS + 1));
    let same = |file: &mut Value| file["proofs"][1] = file["proofs"][0].clone();
    assert_eq!(refused(&same), InvalidFile::Twice);
    assert_eq!(
        refused(&|file| file["proofs"][1]["effect"] = "{}".into()),
        InvalidFile::Member("effect")
    );
    for (member, wrong) in [
        ("entry", "AQ=="),
        ("entry", "é"),
        ("salt", "AQ=="),
        ("salt", "é"),
        ("proof", "nonsense"),
    ] {
        assert_eq!(
            receipt(member, wrong.into()),
            InvalidFile::Member(member),
            "{wrong}"
        );
    }
    for (member, wrong) in [("index", json!(0)), ("log", json!(PRODUCER))] {
        assert_eq!(receipt(member, wrong), InvalidFile::Contradiction(2), "{member}");
    }
    let earlier = |file: &mut Value| file["proofs"][0]["effective_at"] = "2026-11-24T09:00:00Z".into();
    assert_eq!(refused(&earlier), InvalidFile::Contradiction(1));
    let of_key = |effect: &mut Effect| effect.record.withdrawal = Withdrawal::AllBefore;
    assert_eq!(
        parsed(&Scene::with(of_key).file()).err(),
        Some(InvalidFile::NotOfGrant(2))
    );
}

fn told(file: &Value, trust: &Trust, lang: Lang) -> (Value, String) {
    let file = parsed(file).unwrap();
    let shown = file.verify(trust).unwrap();
    let console = Console { json: false, lang };
    let said = Said {
        file: &file,
        shown: Some(&shown),
        trust: Some(trust),
        console,
    };
    (said.to_json(), said.in_words())
}

#[test]
fn what_each_log_shows_is_told_and_what_it_does_not() {
    let scene = Scene::new();
    let (value, text) = told(&scene.file(), &scene.trust(), Lang::Fr);
    assert_eq!(value["verified"], true);
    let logs = value["proofs"][0]["logs"].as_array().unwrap();
    assert!(
        logs.iter()
            .map(|log| log["state"].as_str().unwrap())
            .eq(STANDINGS),
        "{value}"
    );
    assert!(
        logs.iter()
            .map(|log| log["attested"] == true)
            .eq([true, false, false, false])
    );
    assert_eq!((&logs[0]["size"], &logs[1]["size"]), (&57.into(), &31.into()));
    for words in [
        "Preuve 2 sur 2, auprès de La Caisse",
        "retrait enregistré à 2026-11-24T09:25:05.000000Z, effectif à 2026-11-24T09:25:06.000000Z, attesté par 1 registre sur 4",
        &format!(
            "{PRODUCER}/1 : a confirmé le retrait et signé sa tête, 57 entrées, racine {}",
            Hash::EMPTY
        ),
        "/2 : n'atteste rien ; l'autorité dit que son bail avait pris fin, après 31 entrées",
        "/3 : n'atteste rien ; l'autorité dit qu'il n'a pu servir",
        "/4 : n'atteste rien ; l'autorité ne connaît aucun programme",
        "inscription 1 du registre urn:unefois:participant:13000495500014/9, sous sa tête signée de 2 entrées",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let (_, english) = told(&scene.file(), &scene.trust(), Lang::En);
    assert!(
        english.contains("at The Fund") && english.contains("attested by 1 of 4 ledgers"),
        "{english}"
    );
    assert_eq!(english.matches("attests nothing").count(), 6, "{english}");

    // By the log's key alone no signature of a producer is verified.
    let key = Trust::Key(log_key(AUTHORITY, 9).verifier().clone());
    let (value, text) = told(&scene.file(), &key, Lang::Fr);
    assert_eq!(value["proofs"][0]["attested"], 0);
    assert!(
        text.contains("attesté par 0 registre sur 4, et par 1 dont la signature n'est pas vérifiée"),
        "{text}"
    );
    assert!(text.contains("il y faut --directory"), "{text}");
    // A directory of another version may not know the log any more, or know one more.
    let later = Scene { version: 2, ..scene };
    let (value, text) = told(&later.file(), &later.directory(0, AUTHORITY), Lang::Fr);
    assert_eq!(value["proofs"][0]["attested"], 0);
    assert!(text.contains("cet annuaire ne nomme pas le registre"), "{text}");
    let (value, text) = told(&later.file(), &later.directory(5, AUTHORITY), Lang::Fr);
    let fifth = format!("{PRODUCER}/5");
    assert_eq!(value["proofs"][1]["logs_without_line"], json!([fifth]));
    assert!(
        text.contains(&format!("{fifth} : la preuve n'en dit rien")),
        "{text}"
    );
}

#[test]
fn an_entry_that_is_not_written_yet_is_told_and_nothing_is_claimed_of_it() {
    let scene = Scene::new();
    let mut file = scene.file();
    file["proofs"][1]["receipt"] = Value::Null;
    let (value, text) = told(&file, &scene.trust(), Lang::Fr);
    assert_eq!(
        (&value["verified"], &value["proofs"][1]["verified"]),
        (&false.into(), &false.into())
    );
    assert_eq!(value["proofs"][1]["attested"], Value::Null);
    assert!(
        text.contains("l'inscription au registre n'est pas encore faite : téléchargez de nouveau"),
        "{text}"
    );
}
