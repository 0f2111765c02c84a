//! A publisher's node, from end to end: two communes that it hosts fetch in their own names, and a third, which has not
//! named it in the directory, gets nothing.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "../../../tests/kit/port.rs"]
pub mod port;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::transport::Channel;
use unefois::demo::asker::Asker;
use unefois::demo::browser::Browser;
use unefois::demo::script::Script;
use unefois::demo::stage::{Roles, Stage};
use unefois::demo::world::crowd::Crowd;
use unefois::demo::world::{AUTHORITY, CNAF, LYON, LYON_BACK, MESR, Member, Setting, World};
use unefois_core::directory::{DirectoryDocument, ParticipantKind, ParticipantRow};
use unefois_core::{Clock, Entry, ParticipantId, Reason, SignerRole};
use unefois_jose::{Pkcs8, SigningKey, directory, habilitation};
use unefois_mesh::{Connector, Identity, Peer, SystemClock, SystemRandom, Target, Trust, status};
use unefois_proto::pb::backoffice::v1::backoffice_service_client::BackofficeServiceClient;
use unefois_proto::pb::backoffice::v1::{FetchRequest, ListGrantsRequest};
use unefois_tlog::{SignedCheckpoint, VerifierKey};
use zeroize::Zeroizing;

use port::free_port;

/// The publisher, then the communes that it is to host beside Lyon; the last one has not named it.
const PUBLISHER: &str = "urn:unefois:participant:13000495500014";
const SCEAUX: &str = "urn:unefois:participant:21920071400018";
const THIRD: &str = "urn:unefois:participant:21780646200016";
const HOSTED: [(&str, &str); 3] = [(LYON, "lyon"), (SCEAUX, "crowd-1"), (THIRD, "crowd-2")];

type Backoffice = BackofficeServiceClient<Channel>;

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_s_node_serves_each_commune_in_its_own_name_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let members = [PUBLISHER, SCEAUX, THIRD].map(|id| id.parse().unwrap()).to_vec();
    let setting = Setting {
        has_dgfip: false,
        crowd: Crowd {
            members,
            detours: Vec::new(),
        },
        spares: true,
        ..Setting::default()
    };
    let world = World::create(folder.path(), setting, SystemClock.now(), &SystemRandom::new()).unwrap();
    let (mesh, door) = (free_port(), free_port());
    let document = delegated(&world, mesh);
    let script = Arc::new(Script::default());
    let stage = Stage::raise(&world, &script, Roles::Here).await.unwrap();
    let publisher = Publisher::start(&world, mesh, door).await;

    // Not named by this body: refused before anybody is asked. A body that the node does not serve gets no connection.
    let mut third = publisher.backoffice(&world, "crowd-2/tls");
    let refused = third.list_grants(ListGrantsRequest::default()).await.unwrap_err();
    assert_eq!(
        status::reason_of(&refused),
        Some(Reason::NotEntitled),
        "{refused:?}"
    );
    assert!(refused.message().contains("as its publisher"), "{refused:?}");
    let mut clamart = publisher.backoffice(&world, "clamart/backoffice");
    clamart
        .list_grants(ListGrantsRequest::default())
        .await
        .unwrap_err();

    let portal = format!("http://localhost:{}", world.ports.portal);
    let mut handles = Vec::new();
    for (who, name, dossier) in [
        (LYON, "airie de Lyon", "2026-L1"),
        (SCEAUX, "airie de Sceaux", "2026-S1"),
    ] {
        let (_, member) = HOSTED.into_iter().find(|(id, _)| *id == who).unwrap();
        let mut asker = Asker::of(
            &world,
            (member, LYON_BACK),
            Arc::clone(&script),
            Browser::default(),
        );
        asker.backoffice = publisher.backoffice(&world, &format!("{member}/tls"));
        let (grant, page) = asker.authorize(dossier).await.unwrap();
        assert_named(&page.body, name);
        let handle = grant.elements[0].handle.clone();
        let answer = asker
            .backoffice
            .fetch(asking(&handle))
            .await
            .unwrap()
            .into_inner();
        assert!(answer.units.contains_key("valeur"));
        let parties = |bytes: &[u8]| {
            let entry = Entry::decode(bytes).unwrap();
            [entry.requester, entry.publisher, entry.provider].map(|id| id.map(|id| id.to_string()))
        };
        let expected = [who, PUBLISHER, CNAF].map(|id| Some(id.to_owned()));
        assert_eq!(parties(&answer.producer_entry), expected);
        assert_eq!(parties(&answer.consumer_entry), expected);
        assert!(
            answer.consumer_proof.contains(&format!("{who}/1\n")),
            "in the log of whoever asked: {}",
            answer.consumer_proof
        );

        // What the person reads and takes home names both.
        let list = asker
            .browser
            .open(&format!("{portal}/autorisations"), "")
            .await
            .unwrap();
        assert_named(&list.body, name);
        let at = format!("{portal}/autorisations/{}", grant.grant_id);
        assert_named(&asker.browser.open(&at, "").await.unwrap().body, name);
        let receipt = asker.browser.open(&format!("{at}/recu.json"), "").await.unwrap();
        let receipt: Value = serde_json::from_str(&receipt.body).unwrap();
        let parties = receipt["receipt"]["party_identification"].as_array().unwrap();
        let told: Vec<_> = parties
            .iter()
            .map(|party| party["party_id"].as_str().unwrap())
            .collect();
        assert_eq!(told[..2], [who, PUBLISHER], "{receipt}");
        // The authority finds the commune's own entry at its publisher's node.
        let history = format!("{portal}/historique?autorisation={}", grant.grant_id);
        let history = asker.browser.open(&history, "").await.unwrap().body;
        assert!(history.contains("<span>réponse transmise</span>"), "{history}");
        assert!(
            history.contains("3 administrations sur 3 ont répondu"),
            "{history}"
        );
        handles.push(handle);
    }

    // Another's handle is as unknown as nobody's, for the other commune and for the publisher itself.
    for credential in ["crowd-1/tls", "crowd-0/tls"] {
        let mut other = publisher.backoffice(&world, credential);
        let mut refused = Vec::new();
        for handle in [&handles[0], "AAAAAAAAAAAAAAAAAAAAAA"] {
            let status = other.fetch(asking(handle)).await.unwrap_err();
            refused.push((
                status.code(),
                status.message().to_owned(),
                status::reason_of(&status),
            ));
        }
        assert_eq!(refused[0], refused[1], "{credential}");
    }

    // Anybody sees each log's head, at the publisher's public address.
    for id in [LYON, SCEAUX] {
        let key: VerifierKey = row(&document, id).logs[0].vkey.parse().unwrap();
        let path = format!("/{}/checkpoint", id.rsplit(':').next().unwrap());
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let shown = async {
            loop {
                look.tick().await;
                let answer = got(publisher.public, &path).await.unwrap_or_default();
                if answer.starts_with("HTTP/1.1 200 ") {
                    return answer.split_once("\r\n\r\n").unwrap().1.to_owned();
                }
            }
        };
        let shown = tokio::time::timeout(Duration::from_secs(30), shown)
            .await
            .unwrap();
        let head = SignedCheckpoint::parse(shown.as_bytes()).unwrap();
        assert!(head.verify(&key).unwrap().size > 0, "{shown}");
        assert!(shown.contains("/witness "), "a witness cosigned it: {shown}");
    }

    // An auditor reads a commune's log at its publisher's; the operator verifies each alone.
    for id in [LYON, SCEAUX] {
        let told = unefois(&audit(&world, &["verify", id]));
        assert_eq!(
            (told["origin"].as_str(), told["events"]["received"].as_u64()),
            (Some(&*format!("{id}/1")), Some(1)),
            "{told}"
        );
        let row = row(&document, id);
        let database = format!("sqlite:{}", world.folder("crowd-0").join("node.db").display());
        let told = unefois(&[
            "--json",
            "ledger",
            "verify",
            "--database",
            &database,
            "--vkey",
            &row.logs[0].vkey,
        ]);
        assert_eq!((&told["log"], &told["index"]), (&json!([]), &json!([])), "{told}");
        assert!(told["size"].as_u64() > Some(0), "{told}");
    }
    impacts(&world);
    drop(publisher);
    erases(&world, &handles);
    stage.lower().await.unwrap();
}

/// `audit impact` of one commune counts its own exchange alone, though the node has another's beside.
fn impacts(world: &World) {
    for id in [LYON, SCEAUX] {
        let asked = [
            "impact",
            "--participant",
            id,
            "--peer",
            CNAF,
            "--purpose",
            "incident 7",
        ];
        let told = unefois(&audit(world, &asked));
        assert_eq!(
            (&told["exchanges"], &told["sent"]),
            (&json!(1), &json!(1)),
            "{told}"
        );
        assert_eq!(told["people"]["entries"], 1, "{told}");
    }
}

/// `ledger erase-subject` on a publisher's node: of one commune, which is named.
fn erases(world: &World, handles: &[String]) {
    let folder = world.folder("crowd-0");
    let (config, handle) = (folder.join("node.toml"), folder.join("handle"));
    std::fs::write(&handle, &handles[0]).unwrap();
    let erase = |named: &[&str]| {
        Command::new(Path::new(env!("CARGO_BIN_EXE_unefois")))
            .args([
                "--json",
                "ledger",
                "erase-subject",
                "--decision",
                "TA-69/2026.0412",
            ])
            .args([Path::new("--config"), &config, Path::new("--handle"), &handle])
            .args(named)
            .output()
            .unwrap()
    };
    for (named, expected) in [
        (&[][..], 64),
        (&["--participant", CNAF], 64),
        (&["--participant", "lyon"], 64),
        // It is Lyon's.
        (&["--participant", SCEAUX], 1),
        (&["--participant", PUBLISHER], 1),
    ] {
        let output = erase(named);
        let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{named:?}: {told}");
        if named.is_empty() || named.contains(&CNAF) {
            for known in [PUBLISHER, LYON, SCEAUX, THIRD] {
                assert!(told.contains(known), "{named:?}: {told}");
            }
        }
    }
    let siret = LYON.rsplit(':').next().unwrap();
    let output = erase(&["--participant", siret]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert_eq!(told["log"], format!("{LYON}/1"), "{told}");
    assert_eq!(
        (&told["erased"]["handle"], &told["erased"]["secret"]),
        (&json!(1), &json!(1)),
        "{told}"
    );
}

fn asking(handle: &str) -> FetchRequest {
    FetchRequest {
        handle: handle.to_owned(),
        ..FetchRequest::default()
    }
}

fn assert_named(page: &str, commune: &str) {
    let hosted = page.split_once("ébergé par").map(|(_, rest)| rest);
    let publisher = hosted.and_then(|rest| rest.split_once("</bdi>"));
    assert!(
        publisher.is_some_and(|(name, _)| name.ends_with("<bdi>Éditeur d’essai")),
        "{page}"
    );
    assert!(page.contains(commune), "{page}");
}

fn row<'d>(document: &'d DirectoryDocument, id: &str) -> &'d ParticipantRow {
    let id: ParticipantId = id.parse().unwrap();
    document.participants.iter().find(|row| row.id == id).unwrap()
}

fn key(world: &World, member: &str) -> SigningKey {
    let file = std::fs::read(world.root.join(member)).unwrap();
    let pkcs8 = Pkcs8::from_file(Zeroizing::new(file)).unwrap();
    SigningKey::from_pkcs8(&pkcs8, SystemRandom::new().ring()).unwrap()
}

/// The directory in which Lyon and Sceaux have named the publisher, whose node listens at `mesh`; it is everybody's.
fn delegated(world: &World, mesh: u16) -> DirectoryDocument {
    let text = std::fs::read(world.root.join("ca/directory.json")).unwrap();
    let mut document: DirectoryDocument = serde_json::from_slice(&text).unwrap();
    let publisher: ParticipantId = PUBLISHER.parse().unwrap();
    for row in &mut document.participants {
        let named = |row: &mut ParticipantRow, name: &str| {
            row.name.fr = name.to_owned();
            row.name.en = name.to_owned();
        };
        match row.id.to_string().as_str() {
            PUBLISHER => {
                named(row, "Éditeur d’essai");
                row.kind = ParticipantKind::Prive;
                row.mesh = vec![format!("localhost:{mesh}")];
            }
            LYON => row.publishers = vec![publisher],
            SCEAUX => {
                named(row, "Mairie de Sceaux");
                row.publishers = vec![publisher];
            }
            THIRD => named(row, "Mairie d’ailleurs"),
            _ => {}
        }
        if [PUBLISHER, SCEAUX, THIRD].contains(&row.id.to_string().as_str()) {
            // They ask, and answer for nothing.
            row.seal_keys.clear();
            row.pivot_keys.clear();
        }
        if [SCEAUX, THIRD].contains(&row.id.to_string().as_str()) {
            row.kind = ParticipantKind::Collectivite;
            row.redirect_uris = vec![LYON_BACK.to_owned()];
        }
    }
    let lyon: ParticipantId = LYON.parse().unwrap();
    for (other, folder) in &HOSTED[1..] {
        let other: ParticipantId = other.parse().unwrap();
        let rights = document.habilitations.clone();
        for mut row in rights.into_iter().filter(|row| row.habilitation.consumer == lyon) {
            row.habilitation.consumer = other;
            let id = row.habilitation.id.to_string().replace("lyon", folder);
            row.habilitation.id = id.parse().unwrap();
            for role in SignerRole::ALL {
                let signer = row.habilitation.party(role).to_string();
                let member = match signer.as_str() {
                    AUTHORITY => "authority",
                    CNAF => "cnaf",
                    MESR => "mesr",
                    _ => folder,
                };
                let key = key(world, &format!("{member}/habilitation.key"));
                row.signatures
                    .set(role, habilitation::sign(&row.habilitation, role, &key).unwrap());
            }
            document.habilitations.push(row);
        }
        let quotas = document.quotas.clone();
        document.quotas.extend(
            quotas
                .into_iter()
                .filter(|quota| quota.consumer == lyon)
                .map(|mut quota| {
                    quota.consumer = other;
                    quota
                }),
        );
    }
    let signed = directory::sign(&document, &key(world, "ca/directory.key")).unwrap();
    let catalogue = std::fs::read(world.folder("clamart").join("catalogue.bin")).unwrap();
    for member in ["authority", "cnaf", "mesr", "clamart", "auditor", "crowd-0"] {
        std::fs::write(world.folder(member).join("directory.jws"), &signed).unwrap();
        std::fs::write(world.folder(member).join("catalogue.bin"), &catalogue).unwrap();
    }
    document
}

/// The publisher's process.
struct Publisher {
    process: Child,
    door: u16,
    public: u16,
}

impl Publisher {
    async fn start(world: &World, mesh: u16, door: u16) -> Self {
        let folder = world.folder("crowd-0");
        let text = std::fs::read_to_string(world.file(Member::Clamart)).unwrap();
        let mut config: toml::Table = text.parse().unwrap();
        let (admin, public) = (free_port(), free_port());
        for (section, key, value) in [
            ("node", "participant", PUBLISHER.to_owned()),
            ("listen", "mesh", format!("127.0.0.1:{mesh}")),
            ("public", "listen", format!("127.0.0.1:{public}")),
            ("admin", "listen", format!("127.0.0.1:{admin}")),
        ] {
            config[section][key] = value.into();
        }
        // It asks others to cosign, and cosigns nobody's.
        config["witness"].as_table_mut().unwrap().remove("key");
        let consumer = config["consumer"].as_table_mut().unwrap();
        consumer.insert("listen".to_owned(), format!("127.0.0.1:{door}").into());
        let tenants = HOSTED.map(|(participant, member)| {
            toml::Value::from(toml::Table::from_iter([
                ("participant".to_owned(), participant.into()),
                ("signer".to_owned(), format!("../{member}/ledger.key").into()),
                ("anchor".to_owned(), format!("./{member}.anchor").into()),
            ]))
        });
        config.insert("tenant".to_owned(), tenants.to_vec().into());
        std::fs::write(folder.join("node.toml"), config.to_string()).unwrap();
        std::fs::write(folder.join("storage.key"), "5a".repeat(32)).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_unefois"))
            .args(["serve", "node", "--config"])
            .arg(folder.join("node.toml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let publisher = Self {
            process,
            door,
            public,
        };
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let ready = async {
            loop {
                look.tick().await;
                let told = got(admin, "/readyz?verbose").await.unwrap_or_default();
                if told.starts_with("HTTP/1.1 200 ") {
                    return told;
                }
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(30), ready).await;
        let log = std::fs::read_to_string(folder.join("log")).unwrap();
        let told = told.unwrap_or_else(|_| unreachable!("the publisher's node does not start: {log}"));
        assert!(told.contains(&format!("[!] tenants: {THIRD}: ")), "{told}");
        assert!(!told.contains(LYON), "{told}");
        publisher
    }

    /// A back-office with the certificate and the key of this name.
    fn backoffice(&self, world: &World, credential: &str) -> Backoffice {
        let file = |name: String| world.root.join(name);
        let trust = Arc::new(Trust::load(file("ca/ca.pem".into()), file("ca/ca.crl".into())).unwrap());
        let (cert, key) = (
            file(format!("{credential}.pem")),
            file(format!("{credential}.key")),
        );
        let identity = Arc::new(Identity::load(cert, key).unwrap());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let connector = Connector::new(trust, Arc::new(|_: &Peer| Ok(())), identity, clock);
        let target = Target {
            peer: PUBLISHER.parse().unwrap(),
            authority: format!("localhost:{}", self.door).parse().unwrap(),
        };
        BackofficeServiceClient::new(connector.channel(&target, Duration::from_secs(30)))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn got(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn audit(world: &World, asked: &[&str]) -> Vec<String> {
    let file = |name: &str| world.root.join(name).display().to_string();
    let pin = world.pin.to_string();
    let common = [
        ["--cert".to_owned(), file("auditor/tls.pem")],
        ["--key".to_owned(), file("auditor/tls.key")],
        ["--authorities".to_owned(), file("ca/ca.pem")],
        ["--crls".to_owned(), file("ca/ca.crl")],
        ["--directory".to_owned(), file("auditor/directory.jws")],
        ["--catalogue".to_owned(), file("auditor/catalogue.bin")],
        ["--pin".to_owned(), pin],
    ];
    let asked = ["--json", "audit"]
        .iter()
        .chain(asked)
        .map(|text| (*text).to_owned());
    asked.chain(common.concat()).collect()
}

/// What the program says, in JSON; it must have succeeded.
fn unefois<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Value {
    let told = Command::new(Path::new(env!("CARGO_BIN_EXE_unefois")))
        .args(arguments)
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{why}");
    serde_json::from_slice(&told.stdout).unwrap()
}
