//! Two processes of one authority on one PostgreSQL: one serves, the other waits for its silence.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use unefois::demo::world::{Member, World};

use crate::database::TestDatabase;
use crate::{PROGRAM, READY_WITHIN, said, unefois, world};

/// The status that has a supervisor start the process again (`EX_TEMPFAIL`).
const TRY_AGAIN: i32 = 75;
/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// A place that a process of the authority runs at: its listeners, and what it keeps beside the database.
struct Place {
    variables: Vec<(&'static str, String)>,
    admin: SocketAddr,
    config: PathBuf,
    log: PathBuf,
}

impl Place {
    /// One that uses the ports of `member`, which does not run.
    fn of(world: &World, database: &TestDatabase, member: Member, (mesh, portal): (u16, u16)) -> Self {
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (folder, admin) = (world.folder(member.name()), at(world.ports.admin(member)));
        let variables = [
            ("UNEFOIS__AUTHORITY__STANDBY", "true".to_owned()),
            (
                "UNEFOIS__AUTHORITY__MESH_URL",
                format!("https://localhost:{mesh}"),
            ),
            ("UNEFOIS__DATABASE__URL", database.url().to_owned()),
            ("UNEFOIS__LISTEN__MESH", at(mesh).to_string()),
            ("UNEFOIS__LISTEN__PORTAL", at(portal).to_string()),
            ("UNEFOIS__ADMIN__LISTEN", admin.to_string()),
            (
                "UNEFOIS__PUBLIC__LISTEN",
                at(world.ports.public(member)).to_string(),
            ),
            (
                "UNEFOIS__LEDGER__ANCHOR",
                folder.join("authority.anchor").display().to_string(),
            ),
        ];
        Self {
            variables: variables.into(),
            admin,
            config: world.file(Member::Authority),
            log: folder.join("authority.log"),
        }
    }

    fn start(&self) -> Held {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let child = Command::new(PROGRAM)
            .args(["serve", "authority", "--config"])
            .arg(&self.config)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Held(child)
    }

    /// Waits until the process here answers its probe so.
    async fn answers(&self, status: &str, with: &str) {
        let answered = async {
            let mut look = tokio::time::interval(LOOK);
            loop {
                look.tick().await;
                let text = self.probe().await.unwrap_or_default();
                if text.starts_with(&format!("HTTP/1.1 {status} ")) && text.contains(with) {
                    return;
                }
            }
        };
        let answered = tokio::time::timeout(READY_WITHIN, answered).await;
        let log = || std::fs::read_to_string(&self.log).unwrap();
        assert!(answered.is_ok(), "{status}: {}", log());
    }

    async fn probe(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.admin).await?;
        let request = b"GET /readyz?verbose HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Withdraws everything, of the process here: the epoch and the number of the record.
    fn withdraw_all(&self) -> (u64, u64) {
        let config = self.config.display().to_string();
        let args = [
            "--json", "withdraw", "--config", &config, "--reason", "relève", "all",
        ];
        let (code, out, err) = said(&unefois(&self.variables, &args));
        assert_eq!(code, 0, "{err}");
        let told: Value = serde_json::from_str(&out).unwrap();
        (told["epoch"].as_u64().unwrap(), told["seq"].as_u64().unwrap())
    }
}

/// A process, killed where it is dropped.
struct Held(Child);

impl Held {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id().cast_signed()).expect("a process number");
        kill_process(pid, signal).unwrap();
    }

    /// Kills it as a power cut would.
    fn kill(mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None, "it runs");
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Waits until it has ended, and says how.
    async fn ended(&mut self) -> Option<i32> {
        let ended = async {
            let mut look = tokio::time::interval(LOOK);
            loop {
                look.tick().await;
                if let Some(status) = self.0.try_wait().unwrap() {
                    return status.code();
                }
            }
        };
        tokio::time::timeout(READY_WITHIN, ended).await.expect("it ends")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // One that has ended cannot be killed, which is as well.
        if self.0.kill().is_ok() {
            let _ = self.0.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_a_standby_takes_over_and_the_superseded_one_ends_to_be_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let (world, database) = (world(folder.path(), 200), TestDatabase::postgres());
    let ports = world.ports;
    let here = Place::of(
        &world,
        &database,
        Member::Clamart,
        (ports.authority, ports.portal),
    );
    let there = Place::of(&world, &database, Member::Cnaf, (ports.cnaf, ports.mesr));

    let first = here.start();
    here.answers("200", "ready").await;
    assert_eq!(here.withdraw_all(), (1, 1));
    let mut second = there.start();
    there.answers("503", "[-] standby: waiting").await;
    assert_eq!(here.withdraw_all(), (1, 2), "it serves as before");

    first.kill();
    there.answers("200", "[+] withdrawals").await;
    assert_eq!(there.withdraw_all(), (2, 3), "the records go on");

    let third = here.start();
    here.answers("503", "[-] standby: waiting").await;
    second.signal(Signal::STOP);
    here.answers("200", "[+] withdrawals").await;
    assert_eq!(here.withdraw_all(), (3, 4));
    second.signal(Signal::CONT);
    assert_eq!(second.ended().await, Some(TRY_AGAIN));
    let log = std::fs::read_to_string(&there.log).unwrap();
    assert!(log.contains("cette autorité ne sert plus"), "{log}");
    assert_eq!(
        here.withdraw_all(),
        (3, 5),
        "nothing of the superseded one came between"
    );

    // A supervisor starts it again: it waits its turn, and ends well where it is told to.
    let mut fourth = there.start();
    there.answers("503", "[-] standby: waiting").await;
    fourth.signal(Signal::TERM);
    assert_eq!(fourth.ended().await, Some(0));
    here.answers("200", "[+] withdrawals").await;
    drop(third);
}
