//! Every role of the demonstration, started from its configuration file in one process.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::Clock;
use unefois_jose::{DecryptionKey, EncryptionKey, Pkcs8, SigningKey};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_node::producer::Producer;
use unefois_node::{Node, Surroundings};
use zeroize::Zeroizing;

use super::backend;
use super::idp::{Face, IdentityProvider, IdpKind, RelyingParty};
use super::persona::OFFICERS;
use super::process::Process;
use super::script::Script;
use super::world::{Member, World};
use crate::config::load;

/// How long the producers may take until their leases are fresh.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Where roles run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles<'a> {
    /// All in this process.
    Here,
    /// Each in a process of its own, of this program.
    Processes(&'a Path),
}

/// The running roles.
#[derive(Debug)]
pub struct Stage {
    authority: Actor,
    /// None once it is stopped.
    cnaf: Option<Actor>,
    others: Vec<Actor>,
    props: Props,
}

/// One role under way.
#[derive(Debug)]
enum Actor {
    Authority(Box<unefois_authority::Running>),
    Node(Running),
    Process(Process),
}

impl Actor {
    /// Waits until it may do its part.
    async fn ready(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Authority(_) => Ok(()),
            Self::Node(node) => node.ready().await,
            Self::Process(process) => process.ready(READY_WITHIN).await,
        }
    }

    /// Ends it, and what it was doing.
    async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Authority(authority) => authority.stop().await,
            Self::Node(node) => node.stop().await,
            Self::Process(process) => process.stop().await?,
        }
        Ok(())
    }
}

/// A node under way.
#[derive(Debug)]
struct Running {
    producer: Option<Producer>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    fn start(node: Node) -> Self {
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let producer = node.producer().cloned();
        tasks.spawn(node.serve(shutdown.clone()));
        tasks.close();
        Self {
            producer,
            shutdown,
            tasks,
        }
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let ready = async {
            let mut look = tokio::time::interval(Duration::from_millis(10));
            while !self.producer.as_ref().is_none_or(Producer::ready) {
                look.tick().await;
            }
        };
        let within = tokio::time::timeout(READY_WITHIN, ready).await;
        within.with_context(|| {
            format!(
                "a producer holds no fresh lease after {} s",
                READY_WITHIN.as_secs()
            )
        })
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.wait().await;
    }
}

impl Stage {
    /// Starts everything in `world`, for the people of `script`, and waits until both producers may answer.
    ///
    /// # Errors
    /// A role does not start, or no lease becomes fresh in time.
    pub async fn raise(world: &World, script: &Arc<Script>, roles: Roles<'_>) -> anyhow::Result<Self> {
        let props = Props::raise(world, script).await?;
        let (clock, random): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), SystemRandom::new());
        let surroundings = Surroundings {
            clock: Arc::clone(&clock),
            random: random.clone(),
        };
        let authority = match roles {
            Roles::Here => {
                let config = load(&world.file(Member::Authority), &[])?.role;
                let (lent, ring) = (Arc::new(random.clone()), random.ring().clone());
                let authority = unefois_authority::start(config, clock, lent, ring).await;
                Actor::Authority(Box::new(authority.context("the authority does not start")?))
            }
            Roles::Processes(program) => process(program, world, Member::Authority)?,
        };
        let node = async |member: Member| match roles {
            Roles::Here => {
                let config = load(&world.file(member), &[])?.role;
                let node = Node::build(config, surroundings.clone()).await;
                let node = node.with_context(|| format!("the node {} does not start", member.name()))?;
                anyhow::Ok(Actor::Node(Running::start(node)))
            }
            Roles::Processes(program) => process(program, world, member),
        };
        let cnaf = node(Member::Cnaf).await?;
        let mut others = vec![node(Member::Mesr).await?, node(Member::Clamart).await?];
        if world.has_dgfip {
            others.push(node(Member::Dgfip).await?);
        }
        let mut stage = Self {
            authority,
            cnaf: Some(cnaf),
            others,
            props,
        };
        stage.ready().await?;
        Ok(stage)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        self.authority.ready().await?;
        for actor in self.cnaf.iter_mut().chain(&mut self.others) {
            actor.ready().await?;
        }
        Ok(())
    }

    /// Stops the CNAF's node, so that its database can be looked at.
    ///
    /// # Errors
    /// Its process ended badly.
    pub async fn stop_cnaf(&mut self) -> anyhow::Result<()> {
        match self.cnaf.take() {
            Some(cnaf) => cnaf.stop().await,
            None => Ok(()),
        }
    }

    /// Stops everything and waits for its end.
    ///
    /// # Errors
    /// A process ended badly.
    pub async fn lower(mut self) -> anyhow::Result<()> {
        self.stop_cnaf().await?;
        for actor in self.others {
            actor.stop().await?;
        }
        self.authority.stop().await?;
        self.props.lower().await;
        Ok(())
    }
}

fn process(program: &Path, world: &World, member: Member) -> anyhow::Result<Actor> {
    Process::start(program, world, member, &[]).map(Actor::Process)
}

/// What others would bring: the identity providers, and the API behind the CNAF's node.
#[derive(Debug)]
pub struct Props {
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Props {
    /// Serves them in this process, at the addresses of `world`.
    ///
    /// # Errors
    /// An address is taken.
    pub async fn raise(world: &World, script: &Arc<Script>) -> anyhow::Result<Self> {
        let (clock, random): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), SystemRandom::new());
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let ports = world.ports;

        let mut idps = Router::new();
        for kind in IdpKind::ALL {
            let key =
                Pkcs8::generate(random.ring()).and_then(|key| SigningKey::from_pkcs8(&key, random.ring()))?;
            let party = RelyingParty {
                client_id: "unefois".to_owned(),
                client_secret: world.idps[kind as usize].secret.clone(),
                redirect_uris: vec![format!(
                    "http://localhost:{}/{}/retour",
                    ports.portal,
                    kind.name()
                )],
                encrypt_to: match kind {
                    IdpKind::FranceConnectPlus => Some(encryption_key(world)?),
                    IdpKind::FranceConnect | IdpKind::ProConnect => None,
                },
            };
            let faces = match kind {
                IdpKind::FranceConnect | IdpKind::FranceConnectPlus => {
                    script.people.iter().map(Face::person).collect()
                }
                IdpKind::ProConnect => OFFICERS.iter().map(Face::officer).collect(),
            };
            let base = format!("http://127.0.0.1:{}", ports.idp);
            let (clock, random) = (Arc::clone(&clock), random.clone());
            let idp = IdentityProvider::new(kind, &base, key, vec![party], faces, clock, random);
            idps = idps.merge(idp.router());
        }
        serve(&tasks, &shutdown, ports.idp, idps).await?;
        serve(
            &tasks,
            &shutdown,
            ports.backend,
            backend::router(Arc::clone(script)),
        )
        .await?;
        tasks.close();
        Ok(Self { shutdown, tasks })
    }

    /// Ends both.
    pub async fn lower(self) {
        self.shutdown.cancel();
        self.tasks.wait().await;
    }
}

/// The key that FranceConnect+ encrypts to: the authority's own.
fn encryption_key(world: &World) -> anyhow::Result<EncryptionKey> {
    let file = world.folder(Member::Authority.name()).join("fcp.key");
    let key = Pkcs8::from_file(Zeroizing::new(std::fs::read(file)?))?;
    Ok(DecryptionKey::from_pkcs8(&key)?.encryption_key().clone())
}

async fn serve(
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
    port: u16,
    router: Router,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let until = shutdown.clone().cancelled_owned();
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(until).await {
            tracing::error!(%error, "a loopback server ended");
        }
    });
    Ok(())
}
