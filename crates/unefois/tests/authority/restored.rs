//! An authority whose database is lost and restored as its operator does it, with the producers that it had.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use unefois::demo::process::Process;
use unefois::demo::world::{CNAF, MESR, Member, World};
use unefois_store::authority::restored::standing_read;
use unefois_store::authority::revocation;
use unefois_store::{Component, Db};

use crate::database::TestDatabase;
use crate::{PROGRAM, READY_WITHIN, both_databases, said, unefois, world};

both_databases![i3_a_restored_authority_goes_on_once_its_producers_have_told_what_it_has_lost];

/// The status that has a supervisor start the process again (`EX_TEMPFAIL`).
const TRY_AGAIN: i32 = 75;
/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(10);
const UNSHOWN: &str = "later withdrawals that cannot be shown are known to";

/// An authority under a supervisor.
struct Supervised<'a> {
    world: &'a World,
    url: String,
    child: Child,
    /// How often it was started again.
    again: u32,
}

impl<'a> Supervised<'a> {
    fn start(world: &'a World, url: &str) -> Self {
        Self {
            world,
            url: url.to_owned(),
            child: started(world, url),
            again: 0,
        }
    }

    /// Waits until its probe answers so, and starts it again whenever it asks for that.
    async fn says(&mut self, words: &str) {
        let said = async {
            let mut look = tokio::time::interval(LOOK);
            loop {
                look.tick().await;
                if let Some(status) = self.child.try_wait().unwrap() {
                    assert_eq!(status.code(), Some(TRY_AGAIN), "{}", log(self.world));
                    self.child = started(self.world, &self.url);
                    self.again += 1;
                }
                if self.probe().await.unwrap_or_default().contains(words) {
                    return;
                }
            }
        };
        let said = tokio::time::timeout(READY_WITHIN, said).await;
        assert!(said.is_ok(), "{words}: {}", log(self.world));
    }

    async fn probe(&self) -> io::Result<String> {
        let admin = self.world.ports.admin(Member::Authority);
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, admin)).await?;
        let request = b"GET /readyz?verbose HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    fn withdraw(&self, what: &[&str]) -> (i32, String, String) {
        let config = self.world.file(Member::Authority).display().to_string();
        let args = [&["withdraw", "--config", &config, "--reason", "sinistre"], what].concat();
        said(&unefois(&[("UNEFOIS__DATABASE__URL", self.url.clone())], &args))
    }

    fn kill(mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "it runs");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Supervised<'_> {
    fn drop(&mut self) {
        // One that has ended cannot be killed, which is as well.
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

fn log_of(world: &World) -> PathBuf {
    world.folder(Member::Authority.name()).join("log")
}

fn log(world: &World) -> String {
    std::fs::read_to_string(log_of(world)).unwrap()
}

fn started(world: &World, url: &str) -> Child {
    let log = File::options().create(true).append(true).open(log_of(world));
    Command::new(PROGRAM)
        .args(["serve", "authority", "--config"])
        .arg(world.file(Member::Authority))
        .env("UNEFOIS__DATABASE__URL", url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.unwrap())
        .spawn()
        .unwrap()
}

async fn node(world: &World, member: Member) -> Process {
    let mut node = Process::start(Path::new(PROGRAM), world, member, &[]).unwrap();
    node.ready(READY_WITHIN).await.unwrap();
    node
}

/// The last number of the log of withdrawals, and whether the database is marked.
async fn kept(url: &str) -> (u64, bool) {
    let db = Db::open(url, Component::Authority).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let (head, _) = revocation::log(&mut tx, 0, u64::MAX).await.unwrap();
    drop(tx);
    let marked = standing_read(&db).await.unwrap().is_some();
    db.close().await;
    (head.seq, marked)
}

fn elsewhere(database: &TestDatabase) -> TestDatabase {
    match database.url().starts_with("sqlite:") {
        true => TestDatabase::sqlite(),
        false => TestDatabase::postgres(),
    }
}

async fn i3_a_restored_authority_goes_on_once_its_producers_have_told_what_it_has_lost(
    database: TestDatabase,
) {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path(), 200);
    let backup = folder.path().join("backup").display().to_string();
    let mut authority = Supervised::start(&world, database.url());
    authority.says("[+] withdrawals").await;
    let [cnaf, mesr] = [node(&world, Member::Cnaf).await, node(&world, Member::Mesr).await];
    let taken = unefois(
        &[],
        &["db", "backup", "--database", database.url(), "--to", &backup],
    );
    assert_eq!(said(&taken).0, 0, "{}", said(&taken).2);
    for _ in 0..2 {
        let (code, _, err) = authority.withdraw(&["all"]);
        assert_eq!(code, 0, "{err}");
    }
    authority.kill();
    assert_eq!(kept(database.url()).await, (2, false));

    let restored = elsewhere(&database);
    let restore = |to: &str| {
        let done = unefois(&[], &["db", "restore", "--from", &backup, "--database", to]);
        assert_eq!(said(&done).0, 0, "{}", said(&done).2);
    };
    restore(restored.url());
    assert_eq!(kept(restored.url()).await, (0, true));
    // What one of two has forgotten, the other shows.
    cnaf.kill().unwrap();
    let mut authority = Supervised::start(&world, restored.url());
    authority.says(&format!("watch of {CNAF}\n")).await;
    let (code, out, err) = authority.withdraw(&["all"]);
    assert_eq!((code, out.as_str()), (TRY_AGAIN, ""), "{err}");
    let cnaf = Process::start(Path::new(PROGRAM), &world, Member::Cnaf, &[]).unwrap();
    authority.says("[+] withdrawals").await;
    assert!(authority.again >= 2, "what was lost, then who has told");
    authority.kill();
    // The ledger went back too. That is found at any moment, also after this: it marks the database once more, for a
    // recovery like the one before.
    if kept(restored.url()).await == (2, true) {
        let mut authority = Supervised::start(&world, restored.url());
        authority.says("[+] withdrawals").await;
        authority.kill();
    }
    assert_eq!(kept(restored.url()).await, (2, false));

    // Where both have forgotten, nobody can show it any more.
    mesr.kill().unwrap();
    cnaf.kill().unwrap();
    let again = elsewhere(&database);
    restore(again.url());
    let mut authority = Supervised::start(&world, again.url());
    let _nodes = [Member::Cnaf, Member::Mesr]
        .map(|member| Process::start(Path::new(PROGRAM), &world, member, &[]).unwrap());
    let both = format!("{} {}, {}", UNSHOWN, CNAF.min(MESR), CNAF.max(MESR));
    authority.says(&both).await;
    let (code, out, err) = authority.withdraw(&["lost", "--without", CNAF]);
    assert_eq!((code, out.as_str()), (77, ""), "{err}");
    assert!(err.contains(MESR), "{err}");
    for wrong in [&["lost"][..], &["lost", "--without", "cnaf"]] {
        assert_eq!(authority.withdraw(wrong).0, 64);
    }
    // Nothing is ordered that the ledger does not keep: it went back as well, and has to be closed first.
    let (code, out, err) = authority.withdraw(&["lost", "--without", CNAF, "--without", MESR]);
    assert_eq!((code, out.as_str()), (TRY_AGAIN, ""), "{err}");
    assert_eq!(authority.again, 0);
    let status = unefois(&[], &["--json", "db", "status", "--database", again.url()]);
    authority.kill();
    assert_eq!(kept(again.url()).await, (0, true));
    let status: Value = serde_json::from_str(&said(&status).1).unwrap();
    assert_eq!(status["withdrawals_to_recover"]["seq"], 0, "{status}");
}
