//! `suspend` as its operator types it, beside a producer's process that serves.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../../../tests/kit/database.rs"]
pub mod database;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use unefois::demo::asker::Asker;
use unefois::demo::browser::Browser;
use unefois::demo::process::Process;
use unefois::demo::script::Script;
use unefois::demo::stage::Props;
use unefois::demo::world::{CLAMART, CNAF, Member, Setting, World};
use unefois_core::{Clock as _, Entry, Event, Random, Reason};
use unefois_mesh::status::reason_of;
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_proto::pb::backoffice::v1::FetchRequest;

use database::TestDatabase;

both_databases![a_suspended_habilitation_is_refused_until_it_is_resumed];

const PROGRAM: &str = env!("CARGO_BIN_EXE_unefois");
const READY_WITHIN: Duration = Duration::from_secs(120);
const HABILITATION: &str = "DEMO-clamart-qf";
const REASON: &str = "incident 12, décision 2026-0412";
/// A call that begins so much later finds what was typed.
const FOLLOWED_WITHIN_US: i64 = 1_000_000;

/// The operator of the fund's node.
struct Operator<'a> {
    config: String,
    database: &'a str,
}

impl Operator<'_> {
    /// Types `suspend`; its exit code and what it prints.
    fn types(&self, args: &[&str]) -> (i32, Vec<Value>) {
        let mut command = Command::new(PROGRAM);
        let output = command
            .args(["--json", "suspend"])
            .args(args)
            .args(["--config", &self.config])
            .env("UNEFOIS__DATABASE__URL", self.database)
            .output()
            .expect("the program runs");
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap());
        (output.status.code().expect("an exit code"), lines.collect())
    }
}

/// One element at the fund that a person granted, under one request: asked for again, it is given again.
async fn granted(asker: &mut Asker) -> FetchRequest {
    let (grant, _) = asker.authorize("2026-0412").await.unwrap();
    let element = grant.elements.into_iter().find(|e| e.producer == CNAF);
    let random = SystemRandom::new();
    FetchRequest {
        handle: element.expect("the fund's element").handle,
        request_id: (&random as &dyn Random)
            .exchange_id(SystemClock.now())
            .to_string(),
        ..Default::default()
    }
}

/// Why the commune's back-office is refused; `None` where it is answered.
async fn outcome(asker: &mut Asker, request: &FetchRequest) -> Option<Reason> {
    match asker.backoffice.fetch(request.clone()).await {
        Ok(_) => None,
        Err(status) => Some(reason_of(&status).expect("a reason")),
    }
}

/// Asks until it is `expected`. Of a suspension: a call that begins a second from now is answered in no case.
async fn becomes(asker: &mut Asker, request: &FetchRequest, expected: Option<Reason>) {
    let since = SystemClock.boottime();
    let expectation = async {
        loop {
            let later = SystemClock.boottime().micros_since(since);
            let outcome = outcome(asker, request).await;
            if outcome == expected {
                return;
            }
            assert!(
                outcome.is_some() || later < FOLLOWED_WITHIN_US,
                "a call {later} µs later is answered"
            );
        }
    };
    tokio::time::timeout(Duration::from_secs(60), expectation)
        .await
        .expect("in time");
}

async fn entries(url: &str) -> Vec<Entry> {
    const SQL: &str = "SELECT entry FROM ledger_entry ORDER BY idx";
    let bytes: Vec<Vec<u8>> = match url.starts_with("sqlite:") {
        true => {
            let mut database = SqliteConnection::connect(url).await.unwrap();
            sqlx::query_scalar(SQL).fetch_all(&mut database).await.unwrap()
        }
        false => {
            let mut database = PgConnection::connect(url).await.unwrap();
            sqlx::query_scalar(SQL).fetch_all(&mut database).await.unwrap()
        }
    };
    bytes.iter().map(|bytes| Entry::decode(bytes).unwrap()).collect()
}

async fn a_suspended_habilitation_is_refused_until_it_is_resumed(database: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemClock.now();
    let world = World::create(folder.path(), Setting::default(), now, &SystemRandom::new()).unwrap();
    let operator = Operator {
        config: world.file(Member::Cnaf).display().to_string(),
        database: database.url(),
    };
    let until = now.plus_ms(86_400_000).to_rfc3339();
    let suspend = [
        "--habilitation",
        HABILITATION,
        "--until",
        &until,
        "--reason",
        REASON,
    ];
    assert_eq!(
        operator.types(&suspend).0,
        66,
        "no node has written to this database"
    );

    let script = Arc::new(Script::default());
    let props = Props::raise(&world, &script).await.unwrap();
    let mut processes = Vec::new();
    for member in [Member::Authority, Member::Cnaf, Member::Clamart] {
        let own = [("UNEFOIS__DATABASE__URL", database.url())];
        let variables = match member {
            Member::Cnaf => &own[..],
            _ => &[],
        };
        let mut process = Process::start(Path::new(PROGRAM), &world, member, variables).unwrap();
        process.ready(READY_WITHIN).await.unwrap();
        processes.push(process);
    }
    let mut asker = Asker::new(&world, script, Browser::default());
    let first = granted(&mut asker).await;
    assert_eq!(outcome(&mut asker, &first).await, None);

    // What is typed wrongly suspends nothing.
    let past = now.to_rfc3339();
    for wrong in [
        &[
            "--habilitation",
            HABILITATION,
            "--until",
            &past,
            "--reason",
            REASON,
        ][..],
        &["--habilitation", HABILITATION, "--until", &until],
        &["--habilitation", HABILITATION, "--reason", REASON],
        &[
            "--habilitation",
            HABILITATION,
            "--until",
            &until,
            "--reason",
            "deux\nlignes",
        ],
        &["--until", &until, "--reason", REASON],
        &[
            "--habilitation",
            HABILITATION,
            "--peer",
            CLAMART,
            "--until",
            &until,
            "--reason",
            REASON,
        ],
    ] {
        assert_eq!(operator.types(wrong).0, 64, "{wrong:?}");
    }
    assert_eq!(operator.types(&["list"]), (0, Vec::new()));

    let (code, told) = operator.types(&suspend);
    assert_eq!((code, told.len()), (0, 1));
    let id = told[0]["id"].as_str().unwrap().to_owned();
    becomes(&mut asker, &first, Some(Reason::Suspended)).await;
    let second = granted(&mut asker).await;
    assert_eq!(outcome(&mut asker, &second).await, Some(Reason::Suspended));
    let (_, listed) = operator.types(&["list"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
    let row = &listed[0];
    assert_eq!(
        (
            &row["id"],
            &row["kind"],
            &row["key"],
            &row["reason"],
            &row["holds"]
        ),
        (
            &id.as_str().into(),
            &"habilitation".into(),
            &HABILITATION.into(),
            &REASON.into(),
            &true.into()
        )
    );

    let end = ["end", &id, "--reason", "réglé"];
    assert_eq!(operator.types(&end).0, 0);
    assert_eq!(operator.types(&end).0, 1, "it is over");
    becomes(&mut asker, &second, None).await;
    assert_eq!(operator.types(&["list"]).1[0]["holds"], false);
    for process in processes.into_iter().rev() {
        process.stop().await.unwrap();
    }
    props.lower().await;

    let entries = entries(database.url()).await;
    let refused = entries.iter().filter(|e| e.event == Event::Refused);
    let told: Vec<_> = refused.map(|e| (e.reason, e.requester)).collect();
    let commune = Some(CLAMART.parse().unwrap());
    assert!(told.len() >= 2, "{told:?}");
    assert!(
        told.iter()
            .all(|told| *told == (Some(Reason::Suspended), commune)),
        "{told:?}"
    );
    let admin = entries.iter().filter(|e| e.event == Event::Admin);
    assert_eq!(admin.count(), 2, "begun and ended");
}
