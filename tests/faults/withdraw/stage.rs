//! The world of a run: an authority, a producer, the link between them, and what is behind the producer.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use kit::database::TestDatabase;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois::demo::world::{Member, Setting, World};
use unefois_core::Clock as _;
use unefois_mesh::{SystemClock, SystemRandom};

use super::grants::{Given, give};
use super::link::Link;
use super::server::{Recipe, Server};
use super::source;
use crate::{Database, UNGUARDED};

/// What sets the wall clock of a process wrong, where it is installed.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// Clocks go back by an hour: what is signed at the start was in force before.
const BEFORE_MS: i64 = 2 * 3_600_000;

/// A process of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Authority,
    Producer,
}

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) link: Link,
    pub(crate) authority_at: SocketAddr,
    pub(crate) producer_at: SocketAddr,
    authority: (Recipe, Option<Server>),
    producer: (Recipe, Option<Server>),
    authority_database: TestDatabase,
    producer_database: TestDatabase,
    /// The wall clock of both processes may be set wrong.
    pub(crate) clocks: bool,
    folder: TempDir,
    over: CancellationToken,
    tasks: TaskTracker,
}

impl Stage {
    /// Makes the world and `count` grants, then starts all of it; the producer without its guard where it is not
    /// `guarded`.
    pub(crate) async fn raise(
        kind: Database,
        count: usize,
        guarded: bool,
    ) -> anyhow::Result<(Self, Vec<Given>)> {
        let folder = tempfile::tempdir()?;
        let began = SystemClock.now().plus_ms(-BEFORE_MS);
        let root = folder.path().join("world");
        let world = World::create(&root, Setting::default(), began, &SystemRandom::new())?;
        let database = || match kind {
            Database::Postgres => TestDatabase::postgres(),
            Database::Sqlite | Database::Both => TestDatabase::sqlite(),
        };
        let (authority_database, producer_database, clamart) = (database(), database(), database());
        let (over, tasks) = (CancellationToken::new(), TaskTracker::new());
        // The directory names the link; the fund, whose port this was, does not take part.
        let authority_at = loopback(world.ports.cnaf);
        let (_, there) = watch::channel(authority_at);
        let link = Link::open(loopback(world.ports.authority), there, &tasks, &over).await?;

        let clocks = Path::new(FAKETIME).exists();
        let program = std::env::current_exe()?;
        let mut authority = recipe(&world, Member::Authority, &program, authority_database.url());
        let listen = ("UNEFOIS__LISTEN__MESH".to_owned(), authority_at.to_string());
        authority.variables.push(listen);
        let given = give(&world, &authority, authority_database.url(), clamart.url(), count).await?;

        let unguarded = folder.path().join(UNGUARDED);
        std::os::unix::fs::symlink(&program, &unguarded)?;
        let serves = if guarded { &program } else { &unguarded };
        let mut producer = recipe(&world, Member::Mesr, serves, producer_database.url());
        producer.variables.push(source::configured(world.ports.backend));
        source::open(loopback(world.ports.backend), &tasks, &over).await?;
        if clocks {
            for (recipe, role) in [(&mut authority, Role::Authority), (&mut producer, Role::Producer)] {
                let file = clock(folder.path(), role);
                std::fs::write(&file, "+0")?;
                recipe.variables.extend(faketime(&file));
            }
        }
        let mut stage = Self {
            link,
            authority_at,
            producer_at: loopback(world.ports.mesr),
            world,
            authority: (authority, None),
            producer: (producer, None),
            authority_database,
            producer_database,
            clocks,
            folder,
            over,
            tasks,
        };
        stage.start(Role::Authority)?;
        stage.ready(Role::Authority).await?;
        stage.start(Role::Producer)?;
        stage.ready(Role::Producer).await?;
        Ok((stage, given))
    }

    /// The address of a role's database.
    pub(crate) fn database(&self, role: Role) -> &str {
        match role {
            Role::Authority => self.authority_database.url(),
            Role::Producer => self.producer_database.url(),
        }
    }

    const fn place(&mut self, role: Role) -> &mut (Recipe, Option<Server>) {
        match role {
            Role::Authority => &mut self.authority,
            Role::Producer => &mut self.producer,
        }
    }

    /// Starts a role's process, which does not run.
    pub(crate) fn start(&mut self, role: Role) -> anyhow::Result<()> {
        let (recipe, server) = self.place(role);
        ensure!(server.is_none(), "it runs");
        *server = Some(Server::start(recipe)?);
        Ok(())
    }

    /// Waits until a role may do its part.
    pub(crate) async fn ready(&mut self, role: Role) -> anyhow::Result<()> {
        let server = self.place(role).1.as_mut();
        server.context("it does not run")?.ready().await
    }

    /// Stops a role in its tracks, or lets it go on.
    pub(crate) fn signal(&mut self, role: Role, signal: Signal) -> anyhow::Result<()> {
        let server = self.place(role).1.as_ref();
        server.context("it does not run")?.signal(signal)
    }

    /// Kills a role's process.
    pub(crate) fn kill(&mut self, role: Role) -> anyhow::Result<()> {
        self.place(role).1.take().context("it does not run")?.kill()
    }

    /// Sets the wall clock of a role's process wrong by these hours.
    pub(crate) fn set_clock(&self, role: Role, hours: i64) -> anyhow::Result<()> {
        let file = clock(self.folder.path(), role);
        // Whole at every moment: it is read again while it is written.
        let next = file.with_extension("next");
        std::fs::write(&next, format!("{:+}", hours * 3_600))?;
        Ok(std::fs::rename(next, file)?)
    }

    /// Ends both processes and all that was around them; their databases stay.
    pub(crate) async fn lower(&mut self) -> anyhow::Result<()> {
        for role in [Role::Producer, Role::Authority] {
            if let Some(server) = self.place(role).1.take() {
                server.stop().await?;
            }
        }
        self.over.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        Ok(())
    }
}

fn recipe(world: &World, member: Member, program: &Path, database: &str) -> Recipe {
    let folder = world.folder(member.name());
    Recipe {
        command: vec![program.into()],
        role: member.role(),
        config: world.file(member),
        variables: [
            ("UNEFOIS__DATABASE__URL", database),
            // One consumer of the run stands for many.
            ("UNEFOIS__LIMITS__CONNECTIONS_PER_PEER", "1024"),
            ("UNEFOIS__LIMITS__CONNECTIONS_PER_ADDRESS", "1024"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        probe: loopback(world.ports.admin(member)),
        log: folder.join("log"),
    }
}

fn clock(folder: &Path, role: Role) -> PathBuf {
    folder.join(match role {
        Role::Authority => "authority.clock",
        Role::Producer => "producer.clock",
    })
}

/// Reads the wall clock's error from `file`, again each second; every other clock stays true.
fn faketime(file: &Path) -> Vec<(String, String)> {
    let file = file.display().to_string();
    [
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_CACHE_DURATION", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DISABLE_SHM", "1"),
        ("NO_FAKE_STAT", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

pub(crate) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
