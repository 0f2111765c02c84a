//! Two producers and two consumers put together all that they hold of one person — every column of their databases, every
//! line of their logs — and find nothing in two of them that the protocol need not put there.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "../../../tests/kit/port.rs"]
pub mod port;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sqlx::{Connection as _, Row as _, SqliteConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use unefois::demo::asker::Asker;
use unefois::demo::browser::Browser;
use unefois::demo::persona::Persona;
use unefois::demo::script::Script;
use unefois::demo::stage::{Roles, Stage};
use unefois::demo::world::{CLAMART_BACK, LYON, LYON_BACK, Member, Setting, World};
use unefois_core::{Clock as _, Micros};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_proto::pb::backoffice::v1::FetchRequest;
use unefois_tlog::{Checkpoint, Hash, SignerKey, Tree};

use port::free_port;

/// What is compared: this many bytes in a row.
const WIDTH: usize = 8;
const MEMBERS: [&str; 4] = ["cnaf", "mesr", "clamart", "lyon"];
/// Values that two may share, and why.
const SHARED: [(&str, &str); 3] = [
    (
        "tree",
        "hashes of the nodes of a log's tree: proofs hold them, and its tiles are public",
    ),
    (
        "head",
        "signed heads of logs: each participant keeps those of whom it deals with, and they are public",
    ),
    (
        "witness",
        "cosignatures of heads: whoever asks for one keeps it, and so does the witness",
    ),
];

/// What the two ends of one exchange may share beside that: where a consumer holds it, and why.
const ENDS: [(&str, &str); 3] = [
    (
        "ledger_entry.exchange_id",
        "the exchange's id, which the consumer drew",
    ),
    (
        "ledger_entry.entry",
        "the same id, and what both ends commit to: request, grant, file, content",
    ),
    (
        "grant_secret.secret",
        "the month's secret of the handle, which the token brings and which opens those",
    ),
];

type Window = [u8; WIDTH];
/// What a participant holds: each window, and where.
type Held = HashMap<Window, String>;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_two_participants_hold_is_of_one_person() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemClock.now();
    let world = World::create(folder.path(), Setting::default(), now, &SystemRandom::new()).unwrap();
    // Whoever comes first is what everybody's exchanges look like; what is hers beside that is looked at.
    let (first, second) = (Script::default().people[0].clone(), twin());
    let script = |person: &Persona, other: &Persona| {
        let people = vec![person.clone(), other.clone()];
        let session = format!("session-of-{}", person.key);
        Arc::new(Script {
            people,
            session,
            ..Script::default()
        })
    };
    let case = std::fs::read_to_string(world.folder("mesr").join("cases/etudiant_dubois.yaml")).unwrap();
    let case = case
        .replace("[Angela, Claire, Louise]", "[Alice]")
        .replace("Naissance: 8", "Naissance: 3");
    let case = case
        .replace("Naissance: 24", "Naissance: 1")
        .replace("Angela", "Alice")
        .replace("08-24", "03-01");
    std::fs::write(world.folder("mesr").join("cases/alice.yaml"), case).unwrap();

    let program = Path::new(env!("CARGO_BIN_EXE_unefois"));
    let stage = Stage::raise(&world, &script(&first, &second), Roles::Processes(program))
        .await
        .unwrap();
    let lyon = Node::start(&world, program).await;
    exchanges(&world, &script(&first, &second), ["2026-0412", "LYON.77-A"]).await;
    let before = everything(&world).await;
    exchanges(&world, &script(&second, &first), ["2026-9338", "LYON.86-B"]).await;
    stage.lower().await.unwrap();
    drop(lyon);
    let after = everything(&world).await;

    let own: BTreeMap<&str, Held> = MEMBERS
        .iter()
        .map(|member| {
            let mut held = after[member].clone();
            // What the first person's exchanges left too is nobody's.
            held.retain(|window, _| {
                !before.values().any(|held| held.contains_key(window)) && !is_time(window, now)
            });
            (*member, held)
        })
        .collect();
    for (member, held) in &own {
        assert!(
            held.len() > 400,
            "{member} holds {} of the second person: it was looked at",
            held.len()
        );
    }
    let exempt = exempt(&world).await;
    // The control: the two ends of an exchange do share what names it, and that alone.
    let mut ends = 0;
    for (producer, consumer) in [
        ("cnaf", "clamart"),
        ("cnaf", "lyon"),
        ("mesr", "clamart"),
        ("mesr", "lyon"),
    ] {
        let both = common(&own[producer], &own[consumer]);
        assert!(
            both.len() > 20,
            "{producer} and {consumer} share an exchange: {}",
            both.len()
        );
        for (window, place) in &both {
            let known = ENDS
                .iter()
                .any(|(at, _)| place.ends_with(&format!("{consumer}: {at}")));
            assert!(
                known || exempt.contains_key(window),
                "{place}: {}",
                printable(window)
            );
        }
        ends += both.len();
    }
    let mut told = BTreeMap::new();
    for (one, other) in [("cnaf", "mesr"), ("clamart", "lyon")] {
        let mut joined = common(&own[one], &own[other]);
        joined.retain(|window, _| match exempt.get(window) {
            Some(kind) => {
                *told.entry(*kind).or_insert(0_usize) += 1;
                false
            }
            None => true,
        });
        let mut places: Vec<_> = joined
            .iter()
            .map(|(window, place)| (place, printable(window)))
            .collect();
        places.sort();
        places.truncate(40);
        assert!(
            joined.is_empty(),
            "{one} and {other} are joined on {}: {places:#?}",
            joined.len()
        );
    }
    let sizes: Vec<_> = own.iter().map(|(member, held)| (member, held.len())).collect();
    println!(
        "of {WIDTH} bytes in a row of the second person they hold {sizes:?}; two producers, or two consumers, share none but"
    );
    for (kind, why) in SHARED {
        println!("{:>6} {why}", told.get(kind).copied().unwrap_or(0));
    }
    println!("{ends:>6} are shared by the two ends of one exchange, in");
    for (place, why) in ENDS {
        println!("       {place}: {why}");
    }
}

#[test]
fn what_joins_two_is_found_in_each_of_its_forms() {
    let secret = [7, 1, 9, 4, 200, 31, 77, 250, 13, 6];
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let forms = [
        format!("id: {digits};"),
        format!("\"{}-{}\"", &digits[..8], &digits[8..]),
        format!("a {} b", URL_SAFE_NO_PAD.encode(secret)),
        STANDARD.encode(secret),
    ];
    let mut raw = Held::new();
    take(&mut raw, "raw", &[&[0; 9], &secret[..], &[0; 9]].concat());
    for form in forms {
        let mut held = Held::new();
        take(&mut held, "form", form.as_bytes());
        assert!(common(&raw, &held).len() >= 3, "{form}");
    }
    let mut other = Held::new();
    take(&mut other, "other", b"id 0102030405060708090a;");
    assert!(common(&raw, &other).is_empty());
}

/// Somebody whose data both sources have.
fn twin() -> Persona {
    Persona {
        key: "alice",
        given_name: "Alice",
        given_name_array: &["Alice"],
        birthdate: "1962-03-01",
        ..Script::default().people[0].clone()
    }
}

/// The same person grants to both consumers, and each fetches from both producers.
async fn exchanges(world: &World, script: &Arc<Script>, dossiers: [&str; 2]) {
    for (of, dossier) in [("clamart", CLAMART_BACK), ("lyon", LYON_BACK)]
        .into_iter()
        .zip(dossiers)
    {
        let mut asker = Asker::of(world, of, Arc::clone(script), Browser::default());
        let (grant, _) = asker.authorize(dossier).await.unwrap();
        assert_eq!(grant.elements.len(), 2);
        for element in grant.elements {
            let request = FetchRequest {
                handle: element.handle,
                ..FetchRequest::default()
            };
            asker.backoffice.fetch(request).await.unwrap();
        }
        // Whoever looks at their history has both ends asked.
        let history = format!("http://localhost:{}/historique", world.ports.portal);
        asker.browser.open(&history, "").await.unwrap();
    }
}

/// The second consumer's node, which the demonstration has no process for.
struct Node(Child);

impl Node {
    async fn start(world: &World, program: &Path) -> Self {
        let folder = world.folder("lyon");
        let text = std::fs::read_to_string(world.file(Member::Clamart)).unwrap();
        let mut config: toml::Table = text.parse().unwrap();
        let admin = free_port();
        for (section, key, value) in [
            ("node", "participant", LYON.to_owned()),
            ("listen", "mesh", format!("127.0.0.1:{}", free_port())),
            ("public", "listen", format!("127.0.0.1:{}", free_port())),
            ("admin", "listen", format!("127.0.0.1:{admin}")),
        ] {
            config[section][key] = value.into();
        }
        config.remove("witness");
        let file = folder.join("node.toml");
        std::fs::write(&file, config.to_string()).unwrap();
        std::fs::write(folder.join("storage.key"), "5a".repeat(32)).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let node = Command::new(program)
            .args(["serve", "node", "--config"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let node = Self(node);
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let ready = async {
            while !is_ready(admin).await {
                look.tick().await;
            }
        };
        let within = tokio::time::timeout(Duration::from_secs(30), ready).await;
        let log = std::fs::read_to_string(folder.join("log")).unwrap();
        within.unwrap_or_else(|_| unreachable!("the second consumer does not start: {log}"));
        node
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn is_ready(admin: u16) -> bool {
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", admin)).await?;
        let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    ask.await.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200 "))
}

/// What each participant holds, by its folder.
async fn everything(world: &World) -> BTreeMap<&'static str, Held> {
    let mut all = BTreeMap::new();
    for member in MEMBERS {
        let mut held = Held::new();
        for (place, value) in rows(world, member).await {
            take(&mut held, &format!("{member}: {place}"), &value);
        }
        let log = std::fs::read(world.folder(member).join("log")).unwrap();
        take(&mut held, &format!("{member}: log"), &log);
        all.insert(member, held);
    }
    all
}

/// Every value of every column of a database.
async fn rows(world: &World, member: &str) -> Vec<(String, Vec<u8>)> {
    let url = format!(
        "sqlite:{}?mode=ro",
        world.folder(member).join("node.db").display()
    );
    let mut db = SqliteConnection::connect(&url).await.unwrap();
    let tables =
        "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'";
    let columns = sqlx::query(tables).fetch_all(&mut db).await.unwrap();
    let mut values = Vec::new();
    for column in columns {
        let (table, column): (String, String) = (column.get(0), column.get(1));
        // Numbers are shared by chance and by time alone; an integer has no eight bytes of chance in it.
        let sql = format!(
            "SELECT CAST(\"{column}\" AS BLOB) FROM \"{table}\" WHERE typeof(\"{column}\") IN ('blob', 'text')"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(&mut db)
            .await
            .unwrap();
        values.extend(
            rows.iter()
                .map(|row| (format!("{table}.{column}"), row.get::<Vec<u8>, _>(0))),
        );
    }
    values
}

/// Every window of a value, and of what its words stand for: hexadecimal, base64, a UUID.
fn take(held: &mut Held, place: &str, value: &[u8]) {
    windows(held, place, value);
    let is_word = |c: &u8| c.is_ascii_alphanumeric() || b"-_+/=".contains(c);
    for word in value.split(|c| !is_word(c)).filter(|word| word.len() >= WIDTH) {
        let Ok(word) = std::str::from_utf8(word) else {
            continue;
        };
        let digits: String = word.chars().filter(|c| *c != '-').collect();
        if let Some(bytes) = hex(&digits) {
            windows(held, place, &bytes);
        }
        for engine in [&URL_SAFE_NO_PAD, &STANDARD] {
            if let Ok(bytes) = engine.decode(word) {
                windows(held, place, &bytes);
            }
        }
    }
}

fn windows(held: &mut Held, place: &str, value: &[u8]) {
    for window in value.windows(WIDTH) {
        let distinct: HashSet<u8> = window.iter().copied().collect();
        // Zeros, and the like, tell nothing.
        if distinct.len() >= 5 {
            held.entry(window.try_into().unwrap())
                .or_insert_with(|| place.to_owned());
        }
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks_exact(2);
    let whole = text.len().is_multiple_of(2);
    let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    whole.then(|| bytes.collect()).flatten()
}

/// Whether a window is of an instant of this hour, rather than of chance: microseconds, the milliseconds of a UUID, or text.
fn is_time(window: &Window, began: Micros) -> bool {
    let holds = |part: &[u8]| window.windows(part.len()).any(|bytes| bytes == part);
    let is_of = |now: Micros| {
        let (micros, millis) = (now.get().to_be_bytes(), (now.get() / 1_000).to_be_bytes());
        let day = now.to_rfc3339();
        holds(&micros[..3])
            || holds(&micros[1..4])
            || holds(&millis[2..5])
            || day.as_bytes()[..13].windows(WIDTH).any(holds)
    };
    let clock = window
        .iter()
        .all(|c| c.is_ascii_digit() || b":TZ.-+ ".contains(c));
    is_of(began) || is_of(began.plus_ms(120_000)) || (clock && window.contains(&b':'))
}

fn common(one: &Held, other: &Held) -> HashMap<Window, String> {
    let both = one.iter().filter_map(|(window, place)| {
        let also = other.get(window)?;
        Some((*window, format!("{place} and {also}")))
    });
    both.collect()
}

/// What two may share, by its window: see [`SHARED`].
async fn exempt(world: &World) -> HashMap<Window, &'static str> {
    let mut exempt = HashMap::new();
    let mut add = |kind: &'static str, value: &[u8]| {
        let mut held = Held::new();
        take(&mut held, "", value);
        exempt.extend(held.into_keys().map(|window| (window, kind)));
    };
    for member in MEMBERS {
        for (place, value) in rows(world, member).await {
            if ["witness_state.checkpoint", "ledger_checkpoint.checkpoint"].contains(&place.as_str()) {
                add("witness", &value);
            }
        }
        let key = std::fs::read_to_string(world.folder(member).join("ledger.key")).unwrap();
        let key = SignerKey::from_text(key.trim()).unwrap();
        let leaves = leaves(world, member).await;
        // Each head that its log ever signed: the signature is the same each time.
        let mut tree = Tree::new();
        for leaf in &leaves {
            tree.append(&[*leaf]).unwrap();
            add("tree", tree.root().as_bytes());
            let name = key.verifier().name().as_str().parse().unwrap();
            let head = Checkpoint::new(name, tree.size(), tree.root())
                .unwrap()
                .sign(&key)
                .unwrap();
            add("head", head.as_str().as_bytes());
        }
        let mut level = leaves;
        while !level.is_empty() {
            level.iter().for_each(|hash| add("tree", hash.as_bytes()));
            level = level
                .chunks_exact(2)
                .map(|pair| Hash::of_node(&pair[0], &pair[1]))
                .collect();
        }
    }
    exempt
}

/// The leaves of a participant's log, in order.
async fn leaves(world: &World, member: &str) -> Vec<Hash> {
    let url = format!(
        "sqlite:{}?mode=ro",
        world.folder(member).join("node.db").display()
    );
    let mut db = SqliteConnection::connect(&url).await.unwrap();
    let rows = sqlx::query("SELECT entry FROM ledger_entry ORDER BY idx")
        .fetch_all(&mut db)
        .await
        .unwrap();
    rows.iter()
        .map(|row| Hash::of_leaf(&row.get::<Vec<u8>, _>(0)))
        .collect()
}

fn printable(window: &Window) -> String {
    window.escape_ascii().to_string()
}
