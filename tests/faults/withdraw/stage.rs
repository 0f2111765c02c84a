//! The world of a run: an authority in one of two places, a producer, the link between them, and what is behind the
//! producer.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

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
use super::place::{FAKETIME, Place, beside, clock, faketime, recipe};
use super::source::{self, Source};
use crate::{Database, UNGUARDED};

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

pub(crate) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
