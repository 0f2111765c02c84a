//! The demonstration's mesh, a few exchanges on it, and the program that audits them.

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use unefois::command::audit::Reader;
use unefois::demo::asker::Asker;
use unefois::demo::browser::Browser;
use unefois::demo::script::Script;
use unefois::demo::stage::{Roles, Stage};
use unefois::demo::world::{AUTHORITY, CNAF, Setting, World};
use unefois_auditor::{Asked, read_log};
use unefois_core::{Clock as _, Entry, Event};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_proto::pb::backoffice::v1::{FetchRequest, Grant};

/// A lease for longer than the machine may stand still, which the demonstration's is not.
const LONG_MS: u32 = 60_000;

/// The world of one test.
pub(crate) struct Mesh {
    pub(crate) world: World,
    pub(crate) stage: Stage,
    _folder: TempDir,
}

impl Mesh {
    /// Raises every role, and lets the commune fetch `n` times from the fund, and once more with a used handle.
    pub(crate) async fn with_exchanges(n: usize) -> Self {
        Self::raised(n, LONG_MS).await.0
    }

    /// The same, and one more fetch that the fund refuses: it does not know the person.
    pub(crate) async fn with_a_refusal(n: usize) -> Self {
        let (mesh, _) = Self::raised(n, LONG_MS).await;
        let mut script = Script::default();
        script.people.rotate_left(1);
        let mut stranger = Asker::new(&mesh.world, Arc::new(script), Browser::default());
        let (grant, _) = stranger.authorize("2026-0599").await.unwrap();
        let handle = handle_at_cnaf(grant);
        fetch(&mut stranger, &handle).await.expect_err("a stranger");
        mesh
    }

    /// The commune fetches from the fund, the person stops the grant, and the authority has logged that this has taken effect.
    pub(crate) async fn with_a_withdrawal() -> Self {
        Self::with_a_proof().await.0
    }

    /// The same, and what the person downloads of it: the proof, and the receipt of the grant.
    pub(crate) async fn with_a_proof() -> (Self, String, String) {
        // Nothing takes effect before leases of an epoch before would be over.
        let (mesh, mut asker) = Self::raised(1, LONG_MS / 4).await;
        let (grant, _) = asker.authorize("2026-0599").await.unwrap();
        let elements = grant.elements.len();
        fetch(&mut asker, &handle_at_cnaf(grant.clone())).await.unwrap();
        mesh.stop(&mut asker, &grant).await;
        let mut look = tokio::time::interval(Duration::from_millis(50));
        let effective = async || {
            let entries = mesh.entries(AUTHORITY).await;
            let events = entries.iter().map(|bytes| Entry::decode(bytes).unwrap().event);
            events.filter(|event| *event == Event::Effective).count()
        };
        while effective().await < elements {
            look.tick().await;
        }
        let portal = format!("http://localhost:{}", mesh.world.ports.portal);
        let mut file = async |name| {
            let address = format!("{portal}/autorisations/{}/{name}", grant.grant_id);
            asker.browser.open(&address, "").await.unwrap().body
        };
        let (proof, receipt) = (file("preuve.json").await, file("recu.json").await);
        (mesh, proof, receipt)
    }

    /// The person stops a grant.
    async fn stop(&self, asker: &mut Asker, grant: &Grant) {
        let base = format!("http://localhost:{}", self.world.ports.portal);
        let stop = format!("{base}/autorisations/{}/arreter", grant.grant_id);
        let page = asker.browser.open(&stop, "").await.unwrap();
        let (csrf, action) = (page.hidden("csrf").unwrap(), page.url.path().to_owned());
        let stopped = asker.browser.submit(&page, &action, &[("csrf", &csrf)], "").await;
        stopped.unwrap();
    }

    async fn raised(n: usize, lease_ms: u32) -> (Self, Asker) {
        let folder = tempfile::tempdir().unwrap();
        let setting = Setting {
            has_dgfip: false,
            lease_ms,
            ..Setting::default()
        };
        let world = World::create(folder.path(), setting, SystemClock.now(), &SystemRandom::new()).unwrap();
        let script = Arc::new(Script::default());
        let stage = Stage::raise(&world, &script, Roles::Here).await.unwrap();
        let mut asker = Asker::new(&world, script, Browser::default());
        let mut used = String::new();
        for dossier in 0..n {
            let (grant, _) = asker.authorize(&format!("2026-05{dossier:02}")).await.unwrap();
            used = handle_at_cnaf(grant);
            fetch(&mut asker, &used).await.unwrap();
        }
        fetch(&mut asker, &used).await.expect_err("a used handle");
        let mesh = Self {
            world,
            stage,
            _folder: folder,
        };
        (mesh, asker)
    }

    /// The entries of the only log of `participant`, as its node serves them.
    pub(crate) async fn entries(&self, participant: &str) -> Vec<Vec<u8>> {
        let session = reader(&self.world).open().unwrap();
        let logs = session.logs(&participant.parse().unwrap()).unwrap();
        let [log] = logs.as_slice() else {
            unreachable!("the demonstration's participants have one log each")
        };
        let read = async |channel| {
            let mut entries = Vec::new();
            let keep = |visited: unefois_auditor::Visited<'_>| {
                entries.push(visited.bytes.to_vec());
                Ok(())
            };
            read_log(channel, &Asked::all(&log.origin, &log.key), keep, |_, _| {}).await?;
            Ok(entries)
        };
        session.read(log, read).await.unwrap()
    }
}

fn handle_at_cnaf(grant: Grant) -> String {
    let element = grant.elements.into_iter().find(|e| e.producer == CNAF);
    element.expect("an element at the fund").handle
}

async fn fetch(asker: &mut Asker, handle: &str) -> Result<(), tonic::Status> {
    let request = FetchRequest {
        handle: handle.to_owned(),
        ..Default::default()
    };
    asker.backoffice.fetch(request).await.map(drop)
}

fn reader(world: &World) -> Reader {
    let (auditor, ca) = (world.folder("auditor"), world.folder("ca"));
    Reader {
        cert: auditor.join("tls.pem"),
        key: auditor.join("tls.key"),
        authorities: ca.join("ca.pem"),
        crls: ca.join("ca.crl"),
        directory: auditor.join("directory.jws"),
        catalogue: auditor.join("catalogue.bin"),
        pin: world.pin.to_string(),
    }
}

/// The arguments that say who reads, and what it trusts.
pub(crate) fn arguments(world: &World) -> Vec<String> {
    let reader = reader(world);
    let files = [
        ("--cert", &reader.cert),
        ("--key", &reader.key),
        ("--authorities", &reader.authorities),
        ("--crls", &reader.crls),
        ("--directory", &reader.directory),
        ("--catalogue", &reader.catalogue),
    ];
    let mut arguments: Vec<String> = files
        .into_iter()
        .flat_map(|(name, path)| [name.to_owned(), path.display().to_string()])
        .collect();
    arguments.extend(["--pin".to_owned(), reader.pin]);
    arguments
}

/// Runs `unefois --json audit …` as the world's auditor.
pub(crate) fn audit(world: &World, args: &[&str]) -> Output {
    run(world, &["--json", "audit"], args)
}

/// What `unefois audit …` prints for people.
pub(crate) fn audit_text(world: &World, args: &[&str]) -> String {
    text(&run(world, &["audit"], args))
}

fn run(world: &World, begin: &[&str], args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unefois"))
        .args(begin)
        .args(args)
        .args(arguments(world))
        .output()
        .expect("the program runs")
}

/// Runs what blocks beside the runtime that serves the mesh.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it ends well")
}

/// What `output` says on standard output.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The exit code of `output`, and its lines of JSON.
pub(crate) fn said(output: &Output) -> (i32, Vec<Value>) {
    let lines = String::from_utf8_lossy(&output.stdout);
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"));
    (output.status.code().expect("an exit code"), lines.collect())
}
