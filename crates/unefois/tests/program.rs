//! The program as it is typed: its processes, its exit codes, what it prints.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};
use unefois::demo::asker::Asker;
use unefois::demo::backend::DUBOIS;
use unefois::demo::browser::Browser;
use unefois::demo::process::Process;
use unefois::demo::script::Script;
use unefois::demo::stage::Roles;
use unefois::demo::story::Story;
use unefois::demo::world::{CNAF, MESR, Member, Setting, World};
use unefois_core::{Clock as _, Event};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_tlog::Hash;

const PROGRAM: &str = env!("CARGO_BIN_EXE_unefois");
const READY_WITHIN: Duration = Duration::from_secs(120);

fn unefois(args: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(args)
        .output()
        .expect("the program runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// A case of « quotient familial », in the published form.
fn case(name: &str, status: u16, payload: &str, expect: &str) -> String {
    format!(
        "params: {{nomNaissance: {name}, prenoms: [EVE], anneeDateNaissance: 1990, moisDateNaissance: 1, \
         jourDateNaissance: 2, sexeEtatCivil: F, codeCogInseePaysNaissance: '99100', \
         codeCogInseeCommuneNaissance: '75056'}}\nstatus: {status}\npayload: |-\n  {}\n{expect}",
        payload.replace('\n', "\n  ")
    )
}

fn sandbox_check(cases: &[(&str, String)]) -> (i32, Value) {
    let folder = tempfile::tempdir().unwrap();
    let cnaf = folder
        .path()
        .join("api_particulier_v3_cnav_quotient_familial_with_civility");
    let other = folder.path().join("a_folder_without_a_datatype");
    for path in [&cnaf, &other] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::write(other.join("x.yaml"), "status: [").unwrap();
    for (name, text) in cases {
        std::fs::write(cnaf.join(name), text).unwrap();
    }
    let output = unefois(&["--json", "sandbox", "check", folder.path().to_str().unwrap()]);
    let lines = lines(&output);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["datatype"], Value::Null);
    (code(&output), lines[1].clone())
}

#[test]
fn sandbox_check_ends_with_1_on_doctored_cases() {
    const NOBODY: &str = r#"{"errors":[{"code":"37003","title":"Dossier allocataire absent"}]}"#;
    let sound = ("sound.yaml", case("SOUND", 200, DUBOIS, ""));
    let unknown = ("unknown.yaml", case("UNKNOWN", 404, NOBODY, ""));
    let busy = ("busy.yaml", case("BUSY", 429, "{}", ""));

    let relabelled = case("ABSENT", 404, NOBODY, "expect: {outcome: absence}\n");
    let (code, folder) = sandbox_check(&[sound.clone(), ("absent.yaml", relabelled)]);
    assert_eq!(code, 1);
    assert_eq!(folder["failures"][0]["file"], "absent.yaml");
    assert_eq!(folder["ends"]["absences"], 0);

    let doctored = DUBOIS.replacen("612", "612.0", 1);
    assert_ne!(doctored, DUBOIS);
    let other = case("OTHER", 200, &doctored, "");
    let (code, folder) = sandbox_check(&[sound.clone(), ("other.yaml", other)]);
    assert_eq!(code, 1);
    assert_eq!(folder["failures"][0]["file"], "other.yaml");

    let (code, folder) = sandbox_check(&[sound, unknown, busy]);
    assert_eq!(code, 0, "{folder}");
    assert_eq!(folder["cases"], folder["files"]);
    let ends = &folder["ends"];
    assert_eq!(
        (
            &ends["documents"],
            &ends["not_resolved"],
            &ends["later"],
            &ends["absences"]
        ),
        (&1.into(), &1.into(), &1.into(), &0.into())
    );
}

/// What the operator of a datatype tries before its sheet is anybody else's.
#[test]
fn sandbox_check_takes_another_catalogue_and_a_datatype_for_every_folder() {
    const OWN: &str = "cnaf/quotient-familial@1";
    let folder = tempfile::tempdir().unwrap();
    let cases = folder.path().join("our_cases");
    std::fs::create_dir(&cases).unwrap();
    std::fs::write(cases.join("sound.yaml"), case("SOUND", 200, DUBOIS, "")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let catalogue = root.join("catalogue").display().to_string();
    let dir = folder.path().display().to_string();
    let check = |more: &[&str]| {
        let output = unefois(&[&["--json", "sandbox", "check", &dir], more].concat());
        (code(&output), lines(&output))
    };

    assert_eq!(check(&["--datatype", "cnaf/nothing@1"]), (65, Vec::new()));
    assert_eq!(check(&["--datatype", "nothing"]).0, 64);
    assert_eq!(check(&["--catalogue", "/nowhere"]), (66, Vec::new()));
    let faulty = folder.path().join("faulty");
    for part in ["types", "demarches", "producers"] {
        std::fs::create_dir_all(faulty.join(part)).unwrap();
    }
    std::fs::write(faulty.join("types/a.yaml"), "unknown: 1\n").unwrap();
    let faulty = faulty.display().to_string();
    assert_eq!(check(&["--catalogue", &faulty]), (65, Vec::new()));
    let (_, unnamed) = check(&["--catalogue", &catalogue]);
    assert_eq!(unnamed[0]["datatype"], Value::Null);

    for more in [
        &["--datatype", OWN][..],
        &["--datatype", OWN, "--catalogue", &catalogue],
    ] {
        let (code, folders) = check(more);
        let documents = &folders[0]["ends"]["documents"];
        assert_eq!(
            (code, &folders[0]["datatype"], documents),
            (0, &OWN.into(), &1.into())
        );
    }
}

/// The whole story over four processes, started from the samples; then what their operators and auditors see of a
/// database that somebody changed.
#[tokio::test(flavor = "multi_thread")]
async fn four_processes_play_the_story_and_a_changed_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let setting = Setting {
        // The machine may stand still for longer than the demonstration's lease lasts; the story waits for a withdrawal,
        // and the first may take as long as a lease to be effective.
        lease_ms: 10_000,
        ..Setting::default()
    };
    let world = World::create(folder.path(), setting, SystemClock.now(), &SystemRandom::new()).unwrap();
    let program = Path::new(PROGRAM);
    let mut story = Story::begin(world.clone(), Script::default(), Roles::Processes(program))
        .await
        .expect("the stage is raised");
    let mut steps = Vec::new();
    let held = story.tell(|step| steps.push(step.clone())).await;
    assert!(held, "{steps:?}");
    // The last step stopped the fund's node and changed a byte of an entry in its database.
    let database = world.folder("cnaf").join("node.db");
    ledger_verify_finds(&world, &database, Changed::Entry);
    let mut cnaf = start_cnaf(&world);
    let refused = cnaf
        .ready(READY_WITHIN)
        .await
        .expect_err("a node starts on a changed log");
    assert!(
        refused.to_string().contains("contradicts its signed head"),
        "{refused}"
    );

    flip(&database).await;
    ledger_verify_finds(&world, &database, Changed::Nothing);
    // Under the running node the entry changes again: an auditor who reads it over the mesh refuses it.
    let mut cnaf = start_cnaf(&world);
    cnaf.ready(READY_WITHIN).await.expect("it starts");
    let sound = audit_verify(&world);
    assert_eq!(code(&sound), 0, "{}", String::from_utf8_lossy(&sound.stderr));
    a_head_seen_before_is_held_against_the_log(&world);
    flip(&database).await;
    let changed = audit_verify(&world);
    assert_eq!(code(&changed), 1, "{}", String::from_utf8_lossy(&changed.stderr));
    flip(&database).await;
    a_person_is_erased_on_a_decision_alone(&world, &database, cnaf).await;

    execute(&database, "UPDATE ledger_entry SET requester = 0 WHERE idx = 0").await;
    ledger_verify_finds(&world, &database, Changed::Column);
    a_justificatif_is_fetched_and_verified_offline(&world).await;
    story.end().await.expect("every process ends with 0");
    for member in Member::ALL {
        let log = std::fs::read_to_string(world.folder(member.name()).join("log")).unwrap();
        assert!(!log.is_empty(), "{} logs nothing", member.name());
        assert_eq!(personal(&log), [""; 0], "{}", member.name());
    }
}

/// What of the demonstration's person, of their files and of what the fund holds of them is in `text`.
fn personal(text: &str) -> Vec<&'static str> {
    let text = text.to_lowercase();
    let words = [
        "dubois",
        "angela",
        "1962-08-24",
        "75107",
        "2016-03-11",
        "tilleuls",
        "quotient_familial",
        "2026-0412",
        "2026-0413",
        "2026-0415",
        "21450",
        "demonstration-session",
        // Every token and every attestation begins so.
        "eyj",
    ];
    words.into_iter().filter(|word| text.contains(word)).collect()
}

/// Results go to standard output; standard error, which services keep, has nothing of anyone.
#[test]
fn the_demonstration_says_nothing_personal_on_standard_error() {
    let output = unefois(&["demo", "--headless", "--json"]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(code(&output), 0, "{told}");
    assert_eq!(
        personal(&told),
        ["quotient_familial", "21450"],
        "the units that were fetched"
    );
    assert_eq!(personal(&String::from_utf8_lossy(&output.stderr)), [""; 0]);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    Nothing,
    Entry,
    Column,
}

fn ledger_verify_finds(world: &World, database: &Path, changed: Changed) {
    let url = format!("sqlite:{}", database.display());
    let output = unefois(&[
        "--json",
        "ledger",
        "verify",
        "--database",
        &url,
        "--vkey",
        &vkey(world),
    ]);
    let report = lines(&output).remove(0);
    let faults = |of: &str| report[of].as_array().expect("a list").len();
    let (log, index) = (faults("log"), faults("index"));
    match changed {
        Changed::Nothing => assert_eq!((code(&output), log, index), (0, 0, 0), "{report}"),
        Changed::Entry => assert!(code(&output) == 1 && log > 0 && index == 0, "{report}"),
        Changed::Column => assert!(code(&output) == 1 && log == 0 && index == 1, "{report}"),
    }
}

/// `ledger erase-subject`: neither beside the node, nor without a decision.
async fn a_person_is_erased_on_a_decision_alone(world: &World, database: &Path, cnaf: Process) {
    let config = world.file(Member::Cnaf).display().to_string();
    let file = |name: &str, text: &str| {
        let file = world.root.join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let person = file(
        "person.json",
        r#"{"family_name": "DUBOIS", "given_names": ["Angela", "Claire", "Louise"], "birthdate": "1962-08-24",
            "gender": "female", "birthplace": "75107", "birthcountry": "99100"}"#,
    );
    let born_abroad = file(
        "abroad.json",
        r#"{"family_name": "DUBOIS", "given_names": ["Angela", "Claire", "Louise"], "birthdate": "1962-08-24",
            "gender": "female", "birthcountry": "99352"}"#,
    );
    let stranger = file("stranger", "1234");
    let erase = |person: &str, decision: &[&str]| {
        let erase = [
            "--json",
            "ledger",
            "erase-subject",
            "--config",
            &config,
            "--person",
            person,
        ];
        let output = unefois(&[&erase, decision].concat());
        (code(&output), lines(&output).pop().unwrap_or_default())
    };
    const DECISION: [&str; 2] = ["--decision", "TA-92/2026.0412"];
    let before = Rows::of(database).await;
    assert!(before.secrets > 0 && before.persons > 0);
    assert_eq!(erase(&person, &DECISION).0, 75, "the node runs");
    cnaf.stop().await.expect("it ends with 0");
    for (person, decision, expected) in [
        (&person, &[][..], 64),
        (&person, &["--decision", ""], 64),
        (&person, &["--decision", "two words"], 64),
        (&stranger, &DECISION, 1),
        (&born_abroad, &DECISION, 77),
        (&born_abroad, &["--namesakes-too", DECISION[0], DECISION[1]], 1),
    ] {
        assert_eq!(erase(person, decision).0, expected, "{decision:?}");
    }
    assert_eq!(Rows::of(database).await, before);

    let (code, told) = erase(&person, &DECISION);
    assert_eq!(code, 0, "{told}");
    assert_eq!(told["decision"], DECISION[1]);
    let after = Rows::of(database).await;
    assert_eq!(told["erased"]["person"], before.persons - after.persons);
    assert_eq!((after.persons, after.entries), (0, before.entries + 1));
    assert!(after.secrets < before.secrets);
    ledger_verify_finds(world, database, Changed::Nothing);
}

/// What a database holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rows {
    entries: i64,
    secrets: i64,
    persons: i64,
}

impl Rows {
    async fn of(database: &Path) -> Self {
        const SQL: &str = "SELECT (SELECT size FROM ledger_head), (SELECT COUNT(*) FROM grant_secret), \
             (SELECT COUNT(*) FROM person_index)";
        let mut db = SqliteConnection::connect(&database.display().to_string())
            .await
            .unwrap();
        let (entries, secrets, persons) = sqlx::query_as(SQL).fetch_one(&mut db).await.unwrap();
        db.close().await.unwrap();
        Self {
            entries,
            secrets,
            persons,
        }
    }
}

/// `fetch` and `verify`, of what the ministry's node answers.
async fn a_justificatif_is_fetched_and_verified_offline(world: &World) {
    let mut asker = Asker::new(world, Arc::default(), Browser::default());
    let (grant, _) = asker.authorize("2026-0414").await.expect("a grant");
    let element = grant.elements.iter().find(|e| e.producer == MESR);
    let handle = &element.expect("the ministry's element").handle;
    let path = |member: &str, name: &str| world.folder(member).join(name).display().to_string();
    let (socket, file) = (
        path("clamart", "backoffice.sock"),
        path("clamart", "attestation.json"),
    );
    let directory = path("clamart", "directory.jws");
    let fetch = |socket: &str| {
        unefois(&[
            "--json",
            "fetch",
            handle,
            "--socket",
            socket,
            "--directory",
            &directory,
            "--out",
            &file,
        ])
    };
    let nobody = fetch(&path("clamart", "none.sock"));
    assert_eq!(code(&nobody), 69, "{}", String::from_utf8_lossy(&nobody.stderr));
    let fetched = fetch(&socket);
    assert_eq!(code(&fetched), 0, "{}", String::from_utf8_lossy(&fetched.stderr));
    assert!(lines(&fetched)[0]["units"]["inscription"].is_string());
    let again = fetch(&socket);
    assert_eq!(code(&again), 77, "{}", String::from_utf8_lossy(&again.stderr));

    let verify = || unefois(&["verify", &file, "--pin", &world.pin.to_string()]);
    assert_eq!(
        code(&verify()),
        0,
        "{}",
        String::from_utf8_lossy(&verify().stderr)
    );
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("eyJ", "eyK", 1)).unwrap();
    assert!([1, 65].contains(&code(&verify())), "a changed file is verified");
}

fn start_cnaf(world: &World) -> Process {
    Process::start(Path::new(PROGRAM), world, Member::Cnaf, &[]).unwrap()
}

/// With a head kept that the log does not reach, or that is no head, nothing passes; with the true one again, all does.
fn a_head_seen_before_is_held_against_the_log(world: &World) {
    let file = heads(world);
    let kept = std::fs::read_to_string(&file).unwrap();
    let mut larger: Value = serde_json::from_str(&kept).unwrap();
    larger[format!("{CNAF}/1")]["size"] = 1_000.into();
    // Other histories under the same key: of the same size, and of one that this log has grown beyond.
    let mut forked: Value = serde_json::from_str(&kept).unwrap();
    forked[format!("{CNAF}/1")]["root"] = Hash::of_leaf(b"another history").to_string().into();
    let mut parted = forked.clone();
    parted[format!("{CNAF}/1")]["size"] = 1.into();
    for (text, expected) in [
        (larger.to_string(), 1),
        (forked.to_string(), 1),
        (parted.to_string(), 1),
        ("{".to_owned(), 65),
        (kept, 0),
    ] {
        std::fs::write(&file, &text).unwrap();
        let output = audit_verify(world);
        assert_eq!(
            code(&output),
            expected,
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(expected == 0 || std::fs::read_to_string(&file).unwrap() == text);
    }
}

fn heads(world: &World) -> PathBuf {
    world.folder("auditor").join("heads.json")
}

fn audit_verify(world: &World) -> Output {
    let auditor = world.folder("auditor");
    let ca = world.folder("ca");
    let path = |folder: &Path, name: &str| folder.join(name).display().to_string();
    unefois(&[
        "audit",
        "verify",
        CNAF,
        "--heads",
        &heads(world).display().to_string(),
        "--cert",
        &path(&auditor, "tls.pem"),
        "--key",
        &path(&auditor, "tls.key"),
        "--authorities",
        &path(&ca, "ca.pem"),
        "--crls",
        &path(&ca, "ca.crl"),
        "--directory",
        &path(&auditor, "directory.jws"),
        "--catalogue",
        &path(&auditor, "catalogue.bin"),
        "--pin",
        &world.pin.to_string(),
    ])
}

fn vkey(world: &World) -> String {
    let text = std::fs::read_to_string(world.folder("auditor").join("directory.jws")).unwrap();
    let directory = unefois_jose::directory::verify(&text, &world.pin).unwrap();
    let (_, log) = directory.log(&format!("{CNAF}/1")).expect("the fund's log");
    log.vkey.clone()
}

async fn open(database: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite:{}", database.display()))
        .await
        .unwrap()
}

async fn execute(database: &Path, sql: &'static str) {
    let mut connection = open(database).await;
    let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
    connection.close().await.unwrap();
}

/// Changes the last bit of the entry of the release, as the story's last step does, or changes it back.
async fn flip(database: &Path) {
    let mut connection = open(database).await;
    let event = i16::from(Event::Released.code());
    let mut entry: Vec<u8> = sqlx::query_scalar("SELECT entry FROM ledger_entry WHERE event = $1")
        .bind(event)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    *entry.last_mut().expect("an entry") ^= 1;
    sqlx::query("UPDATE ledger_entry SET entry = $1 WHERE event = $2")
        .bind(entry)
        .bind(event)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}
