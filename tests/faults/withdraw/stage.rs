//! The world of a run: an authority in one of two places, a producer, the link between them, and what is behind the
//! producer.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use kit::database::TestDatabase;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois::demo::world::{Member, Ports, Setting, World};
use unefois_core::Clock as _;
use unefois_mesh::{SystemClock, SystemRandom};

use super::Network;
use super::grants::{Given, give};
use super::link::{Leads, Link};
use super::net::Net;
use super::server::{Recipe, Server};
use super::source::{self, Source};
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

/// Where a process may run, and what runs there.
pub(crate) struct Place {
    recipe: Recipe,
    /// Where it listens.
    pub(crate) at: SocketAddr,
    server: Option<Server>,
    /// Whether what runs there waits for its turn.
    pub(crate) waits: bool,
}

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) link: Link,
    /// The wires around the producer, or why there are none.
    net: Result<Net, String>,
    /// Where consumers reach the authority.
    pub(crate) authority_at: SocketAddr,
    /// Where the authority may run, and the one that holds it.
    pub(crate) authorities: [Place; 2],
    pub(crate) holder: usize,
    producer: Place,
    /// Where producer and consumers are led to.
    leads: [watch::Sender<Leads>; 2],
    authority_database: TestDatabase,
    producer_database: TestDatabase,
    /// The wall clock of both processes may be set wrong.
    pub(crate) clocks: bool,
    /// Another process of the authority may wait for its turn: their database is one that two can open.
    pub(crate) two: bool,
    _source: Source,
    folder: TempDir,
    /// Keeps the ports that are not the world's.
    _guard: TcpListener,
    over: CancellationToken,
    tasks: TaskTracker,
}

impl Place {
    const fn new(recipe: Recipe, at: SocketAddr) -> Self {
        Self {
            recipe,
            at,
            server: None,
            waits: false,
        }
    }

    /// Starts its process, which does not run; one of the authority takes the epoch, or `waits` for it.
    pub(crate) fn start(&mut self, waits: bool) -> anyhow::Result<()> {
        ensure!(self.server.is_none(), "it runs");
        let mut recipe = self.recipe.clone();
        if waits {
            let standby = ("UNEFOIS__AUTHORITY__STANDBY", "true");
            recipe
                .variables
                .push((standby.0.to_owned(), standby.1.to_owned()));
        }
        (self.server, self.waits) = (Some(Server::start(&recipe)?), waits);
        Ok(())
    }

    /// What runs there.
    pub(crate) fn running(&mut self) -> anyhow::Result<&mut Server> {
        self.server.as_mut().context("it does not run")
    }

    /// What ran there has ended.
    pub(crate) fn clear(&mut self) {
        self.server = None;
    }

    /// Kills what runs there.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.server.take().context("it does not run")?.kill()
    }
}

impl Stage {
    /// Makes the world and `count` grants, then starts all of it; the producer without its guard where it is not
    /// `guarded`.
    pub(crate) async fn raise(
        (kind, network): (Database, Network),
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
        // The directory names the link. Nobody answers where it names nodes that do not take part: who asks them hears so.
        let (more, guard) = Ports::free()?;
        let held_at = loopback(more.cnaf);
        let leads = [(); 2].map(|()| {
            watch::Sender::new(Leads {
                to: held_at,
                breaks: true,
            })
        });
        let net = lay(network, folder.path())?;
        let (here, producer) = match &net {
            Ok(net) => (net.here(), net.producer()),
            Err(_) => (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST),
        };
        let producer_at = SocketAddr::from((producer, world.ports.mesr));
        let link_at = SocketAddr::from((here, world.ports.authority));
        let link = Link::open(link_at, leads[0].subscribe(), &tasks, &over).await?;
        if net.is_ok() {
            // Everybody else finds both where the directory says, in this namespace.
            let (_, there) = watch::channel(Leads {
                to: producer_at,
                breaks: true,
            });
            Link::open(loopback(world.ports.mesr), there, &tasks, &over).await?;
            let authority = loopback(world.ports.authority);
            Link::open(authority, leads[1].subscribe(), &tasks, &over).await?;
        }

        let clocks = Path::new(FAKETIME).exists();
        let program = std::env::current_exe()?;
        let mut authority = recipe(&world, Member::Authority, &program, authority_database.url());
        let listen = ("UNEFOIS__LISTEN__MESH".to_owned(), held_at.to_string());
        authority.variables.push(listen);
        let given = give(&world, &authority, authority_database.url(), clamart.url(), count).await?;
        let authority_at = loopback(more.clamart);
        Link::open(authority_at, leads[1].subscribe(), &tasks, &over).await?;

        let unguarded = folder.path().join(UNGUARDED);
        std::os::unix::fs::symlink(&program, &unguarded)?;
        let serves = if guarded { &program } else { &unguarded };
        let mut producer = recipe(&world, Member::Mesr, serves, producer_database.url());
        producer.variables.push(source::configured(world.ports.backend));
        let before = net.as_ref().map(Net::within).unwrap_or_default();
        let source = Source::start(&before, world.ports.backend)?;
        producer.command.splice(..0, before);
        producer.probe.set_ip(producer_at.ip());
        let listens = [
            ("UNEFOIS__LISTEN__MESH", producer_at),
            ("UNEFOIS__ADMIN__LISTEN", producer.probe),
        ];
        let listens = listens.map(|(name, at)| (name.to_owned(), at.to_string()));
        producer.variables.extend(listens);
        if clocks {
            for (recipe, role) in [(&mut authority, Role::Authority), (&mut producer, Role::Producer)] {
                let file = clock(folder.path(), role);
                std::fs::write(&file, "+0")?;
                recipe.variables.extend(faketime(&file));
            }
        }
        let (other, other_at) = beside(&world, &more, &authority);
        let mut stage = Self {
            link,
            net,
            authority_at,
            world,
            authorities: [Place::new(authority, held_at), Place::new(other, other_at)],
            holder: 0,
            producer: Place::new(producer, producer_at),
            leads,
            authority_database,
            producer_database,
            clocks,
            two: kind == Database::Postgres,
            _source: source,
            folder,
            _guard: guard,
            over,
            tasks,
        };
        let waits = stage.two;
        stage.start(Role::Authority, waits)?;
        stage.ready(Role::Authority).await?;
        stage.start(Role::Producer, false)?;
        stage.ready(Role::Producer).await?;
        Ok((stage, given))
    }

    /// Where consumers reach the producer.
    pub(crate) const fn producer_at(&self) -> SocketAddr {
        self.producer.at
    }

    /// What cuts the network.
    pub(crate) fn cut_by(&self) -> String {
        match &self.net {
            Ok(_) => "by the kernel, in a router between two network namespaces".to_owned(),
            Err(why) => format!("by the run itself ({why})"),
        }
    }

    /// From now on nothing goes to the authority, or comes from it.
    pub(crate) fn cut(&self, up: bool, down: bool) -> anyhow::Result<()> {
        match &self.net {
            Ok(net) => net.cut(up, down),
            Err(_) => {
                self.link.cut(up, down);
                Ok(())
            }
        }
    }

    /// Ends a cut.
    pub(crate) fn mend(&self, up: bool, down: bool) -> anyhow::Result<()> {
        match &self.net {
            Ok(net) => net.mend(up, down),
            Err(_) => {
                self.link.free();
                Ok(())
            }
        }
    }

    /// The address of a role's database.
    pub(crate) fn database(&self, role: Role) -> &str {
        match role {
            Role::Authority => self.authority_database.url(),
            Role::Producer => self.producer_database.url(),
        }
    }

    fn place(&mut self, role: Role) -> &mut Place {
        match role {
            Role::Authority => &mut self.authorities[self.holder],
            Role::Producer => &mut self.producer,
        }
    }

    /// Starts a role's process, which does not run; an authority's `waits` for the epoch, or takes it.
    pub(crate) fn start(&mut self, role: Role, waits: bool) -> anyhow::Result<()> {
        self.place(role).start(waits)
    }

    /// Waits until a role may do its part.
    pub(crate) async fn ready(&mut self, role: Role) -> anyhow::Result<()> {
        self.place(role).running()?.ready().await
    }

    /// Stops a role in its tracks, or lets it go on.
    pub(crate) fn signal(&mut self, role: Role, signal: Signal) -> anyhow::Result<()> {
        self.place(role).running()?.signal(signal)
    }

    /// Kills a role's process.
    pub(crate) fn kill(&mut self, role: Role) -> anyhow::Result<()> {
        self.place(role).kill()
    }

    /// From now on the authority is held in this place, and everybody is led there; the producer's connections to where
    /// it was are broken, or stay as long as their ends do.
    pub(crate) fn move_to(&mut self, place: usize, breaks: bool) {
        self.holder = place;
        let to = self.authorities[place].at;
        self.leads[0].send_replace(Leads { to, breaks });
        self.leads[1].send_replace(Leads { to, breaks: true });
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
            if let Some(server) = self.place(role).server.take() {
                server.stop().await?;
            }
        }
        self.over.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        Ok(())
    }
}

/// The wires, or why there are none.
fn lay(network: Network, folder: &Path) -> anyhow::Result<Result<Net, String>> {
    match network {
        Network::Link => Ok(Err("as asked for".to_owned())),
        Network::Namespaces => Net::lay(folder).map(Ok),
        Network::Any => Ok(Net::lay(folder).map_err(|error| format!("{error:#}"))),
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

/// The authority's second place: one database, keys and directory, with addresses and an anchor of its own.
fn beside(world: &World, ports: &Ports, authority: &Recipe) -> (Recipe, SocketAddr) {
    let (at, probe) = (
        loopback(ports.authority),
        loopback(ports.admin(Member::Authority)),
    );
    let folder = world.folder(Member::Authority.name());
    let mut recipe = authority.clone();
    recipe.variables.extend(
        [
            ("UNEFOIS__LISTEN__MESH", at.to_string()),
            ("UNEFOIS__LISTEN__PORTAL", loopback(ports.portal).to_string()),
            (
                "UNEFOIS__PUBLIC__LISTEN",
                loopback(ports.public(Member::Authority)).to_string(),
            ),
            ("UNEFOIS__ADMIN__LISTEN", probe.to_string()),
            (
                "UNEFOIS__LEDGER__ANCHOR",
                folder.join("second.anchor").display().to_string(),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    (recipe.probe, recipe.log) = (probe, folder.join("second.log"));
    (recipe, at)
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
