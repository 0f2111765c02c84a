//! Every role of the demonstration, started from its configuration file in one process.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::Clock;
use unefois_jose::{Pkcs8, SigningKey};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_node::producer::Producer;
use unefois_node::{Node, Surroundings};

use super::backend;
use super::idp::{IdentityProvider, RelyingParty};
use super::script::Script;
use super::world::World;
use crate::config::load;

/// How long the producers may take until their leases are fresh.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The running roles.
#[derive(Debug)]
pub struct Stage {
    authority: Option<unefois_authority::Running>,
    cnaf: Running,
    others: Vec<Running>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
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

    async fn stop(&mut self) {
        self.shutdown.cancel();
        self.tasks.wait().await;
        // The last handle on the database closes it.
        self.producer = None;
    }
}

impl Stage {
    /// Starts everything in `world`, for the people of `script`, and waits until both producers may answer.
    ///
    /// # Errors
    /// A role does not start, or no lease becomes fresh in time.
    pub async fn raise(world: &World, script: &Arc<Script>) -> anyhow::Result<Self> {
        let (clock, random): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), SystemRandom::new());
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let ports = world.ports;

        let key =
            Pkcs8::generate(random.ring()).and_then(|key| SigningKey::from_pkcs8(&key, random.ring()))?;
        let party = RelyingParty {
            client_id: "unefois".to_owned(),
            client_secret: world.idp_secret.clone(),
            redirect_uris: vec![format!("http://localhost:{}/fc/retour", ports.portal)],
        };
        let issuer = format!("http://127.0.0.1:{}", ports.idp);
        let idp = IdentityProvider::new(
            issuer,
            key,
            vec![party],
            script.people.clone(),
            Arc::clone(&clock),
            Arc::new(random.clone()),
        );
        serve(&tasks, &shutdown, ports.idp, idp.router()).await?;
        serve(
            &tasks,
            &shutdown,
            ports.backend,
            backend::router(Arc::clone(script)),
        )
        .await?;
        tasks.close();

        let authority = load(&world.folder("authority").join("authority.toml"), &[])?.role;
        let lent = Arc::new(random.clone());
        let authority = unefois_authority::start(authority, Arc::clone(&clock), lent, random.ring().clone())
            .await
            .context("the authority does not start")?;

        let surroundings = Surroundings { clock, random };
        let build = async |member: &str| {
            let config = load(&world.folder(member).join("node.toml"), &[])?.role;
            let node = Node::build(config, surroundings.clone()).await;
            anyhow::Ok(Running::start(
                node.with_context(|| format!("the node {member} does not start"))?,
            ))
        };
        let cnaf = build("cnaf").await?;
        let others = vec![build("mesr").await?, build("clamart").await?];
        let stage = Self {
            authority: Some(authority),
            cnaf,
            others,
            shutdown,
            tasks,
        };
        stage.wait_until_ready().await?;
        Ok(stage)
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let ready = async {
            let mut look = tokio::time::interval(Duration::from_millis(10));
            let producers = || {
                self.others
                    .iter()
                    .chain([&self.cnaf])
                    .filter_map(|node| node.producer.as_ref())
            };
            while !producers().all(Producer::ready) {
                look.tick().await;
            }
        };
        if tokio::time::timeout(READY_WITHIN, ready).await.is_err() {
            bail!(
                "the producers hold no fresh lease after {} s",
                READY_WITHIN.as_secs()
            );
        }
        Ok(())
    }

    /// Stops the CNAF's node, so that its database can be looked at.
    pub async fn stop_cnaf(&mut self) {
        self.cnaf.stop().await;
    }

    /// Stops everything and waits for its end.
    pub async fn lower(mut self) {
        self.cnaf.stop().await;
        for node in &mut self.others {
            node.stop().await;
        }
        if let Some(authority) = self.authority.take() {
            authority.stop().await;
        }
        self.shutdown.cancel();
        self.tasks.wait().await;
    }
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
