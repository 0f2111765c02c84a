//! Every role of the demonstration, started from the samples of `deploy/` in one process.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toml::Value;
use unefois_core::Clock;
use unefois_jose::{Pkcs8, SigningKey};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_node::producer::Producer;
use unefois_node::{Node, Surroundings};

use super::backend;
use super::idp::{IdentityProvider, RelyingParty};
use super::script::Script;
use super::world::{CNAF, MESR, World};

const AUTHORITY_TOML: &str = include_str!("../../../../deploy/authority.toml");
const PRODUCER_TOML: &str = include_str!("../../../../deploy/node-producer.toml");
const CONSUMER_TOML: &str = include_str!("../../../../deploy/node-consumer.toml");

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
        let backend = backend::router(Arc::clone(script));
        serve(&tasks, &shutdown, ports.backend, backend).await?;
        tasks.close();

        let authority = world.config(
            AUTHORITY_TOML,
            "authority",
            &[
                (
                    "authority.issuer",
                    format!("http://localhost:{}", ports.portal).into(),
                ),
                (
                    "authority.mesh_url",
                    format!("https://localhost:{}", ports.authority).into(),
                ),
                ("listen.mesh", loopback(ports.authority)),
                ("listen.portal", loopback(ports.portal)),
                ("login", Value::Array(vec![login(world)])),
                ("demo.personas", true.into()),
            ],
        )?;
        let lent = Arc::new(random.clone());
        let authority = unefois_authority::start(authority, Arc::clone(&clock), lent, random.ring().clone())
            .await
            .context("the authority does not start")?;

        let surroundings = Surroundings { clock, random };
        let build = async |sample: &str, member: &str, overrides: &[(&str, Value)]| {
            let config = world.config(sample, member, overrides)?;
            let node = Node::build(config, surroundings.clone()).await;
            anyhow::Ok(Running::start(
                node.with_context(|| format!("the node {member} does not start"))?,
            ))
        };
        let url = format!("http://127.0.0.1:{}/quotient-familial", ports.backend);
        let produce = |datatype: &str, source: &str, value: Value| {
            let row = toml::Table::from_iter([
                ("datatype".to_owned(), datatype.into()),
                (source.to_owned(), value),
            ]);
            Value::Array(vec![Value::Table(row)])
        };
        let http = toml::Table::from_iter([("url".to_owned(), url.into())]);
        let cnaf = build(
            PRODUCER_TOML,
            "cnaf",
            &[
                ("node.participant", CNAF.into()),
                ("listen.mesh", loopback(ports.cnaf)),
                (
                    "producer.produce",
                    produce("cnaf/quotient-familial@1", "http", Value::Table(http)),
                ),
            ],
        )
        .await?;
        let mesr = build(
            PRODUCER_TOML,
            "mesr",
            &[
                ("node.participant", MESR.into()),
                ("listen.mesh", loopback(ports.mesr)),
                (
                    "producer.produce",
                    produce("mesr/statut-etudiant@1", "sandbox", "./cases".into()),
                ),
            ],
        )
        .await?;
        let clamart = build(
            CONSUMER_TOML,
            "clamart",
            &[("listen.mesh", loopback(ports.clamart))],
        )
        .await?;
        let stage = Self {
            authority: Some(authority),
            cnaf,
            others: vec![mesr, clamart],
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

fn loopback(port: u16) -> Value {
    format!("127.0.0.1:{port}").into()
}

/// `[[login]]` as the sample has it, at this world's provider.
fn login(world: &World) -> Value {
    let levels = toml::Table::from_iter([("eidas1".to_owned(), "eidas1".into())]);
    Value::Table(toml::Table::from_iter([
        ("name".to_owned(), "fc".into()),
        ("label".to_owned(), "FranceConnect".into()),
        ("issuer".to_owned(), world.idp_issuer.clone().into()),
        ("client_id".to_owned(), "unefois".into()),
        ("client_secret".to_owned(), "./fc.secret".into()),
        ("levels".to_owned(), Value::Table(levels)),
    ]))
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
