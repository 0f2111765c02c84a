//! What a log makes of witnesses' answers: only what verifies is kept, and nobody who is down is waited for.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::ServiceExt as _;
use unefois_core::Clock as _;
use unefois_ledger::{
    AskConfig, Growth, Ledger, Public, PublicError, WitnessConfig, Witnessed, peer_head_witness,
};
use unefois_tlog::{Cosignature, Cosigner, CosignerKey, SignedCheckpoint};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::forge::Forger;
use crate::raw::Raw;
use crate::registry::Lent;
use crate::scene::{Scene, verifier};
use crate::tiles::{append, get};

both_databases![
    a_witness_that_does_not_cosign_blocks_nothing_and_nothing_else_is_kept,
    a_witness_is_brought_up_from_the_head_that_it_holds,
    i7_a_witness_of_another_history_is_told_and_not_cosigned_by,
    i7_a_log_shown_differently_to_two_readers_is_refused_by_witness_and_peer,
    a_head_that_nobody_cosigns_is_an_alarm,
    a_witness_is_asked_in_one_way,
];

const PERIOD_MS: i64 = 600_000;

/// What the witness at an address does.
#[derive(Clone)]
enum Does {
    Cosign(Router),
    Answer(StatusCode, &'static str, String),
    /// Holds sizes that go round.
    Waver,
}

/// A witness whose answers a test chooses.
struct Chosen {
    does: Arc<Mutex<(Does, u64)>>,
    url: String,
    _serving: JoinSet<()>,
}

impl Chosen {
    async fn new(does: Does) -> Self {
        let does = Arc::new(Mutex::new((does, 0)));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&does));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(socket, router).await.unwrap() });
        Self {
            does,
            url,
            _serving: serving,
        }
    }

    fn now(&self, does: Does) {
        *self.does.lock().unwrap() = (does, 0);
    }

    /// How often it was asked since.
    fn asked(&self) -> u64 {
        self.does.lock().unwrap().1
    }
}

async fn answer(State(does): State<Arc<Mutex<(Does, u64)>>>, request: Request) -> Response {
    let (does, asked) = {
        let mut does = does.lock().unwrap();
        does.1 += 1;
        does.clone()
    };
    match does {
        Does::Cosign(router) => router.oneshot(request).await.unwrap(),
        Does::Answer(status, kind, body) => (status, [(CONTENT_TYPE, kind)], body).into_response(),
        Does::Waver => {
            let kind = [(CONTENT_TYPE, "text/x.tlog.size")];
            (StatusCode::CONFLICT, kind, format!("{}\n", asked % 2)).into_response()
        }
    }
}

/// A participant that cosigns the log of shard 1.
struct Witness {
    scene: Scene,
    router: Router,
    _folder: tempfile::TempDir,
}

impl Witness {
    async fn new() -> Self {
        let scene = Scene::new(TestDatabase::sqlite()).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness.key");
        let text = Cosigner::to_text("temoin.example/1".parse().unwrap(), &[3; 32]);
        std::fs::write(&path, text.as_bytes()).unwrap();
        let config = WitnessConfig {
            key: Some(path),
            ask: Vec::new(),
        };
        let lent = Lent::new(&scene, &[&verifier(1)]);
        let public = Public::open(scene.open(2).await, None, &config, lent.lend()).await;
        Self {
            router: public.unwrap().public_router(),
            scene,
            _folder: folder,
        }
    }
}

fn cosigner(seed: u8) -> Cosigner {
    Cosigner::new("temoin.example/1".parse().unwrap(), &[seed; 32])
}

fn key() -> CosignerKey {
    cosigner(3).verifier().clone()
}

async fn open(scene: &Scene, ledger: &Ledger, urls: &[&str]) -> Public {
    let ask = urls.iter().map(|url| AskConfig {
        vkey: key().to_string(),
        participant: None,
        url: Some((*url).to_owned()),
        ca: None,
    });
    let config = WitnessConfig {
        key: None,
        ask: ask.collect(),
    };
    let lent = Lent::new(scene, &[]);
    Public::open(ledger.clone(), None, &config, lent.lend())
        .await
        .unwrap()
}

async fn published(public: &Public) -> SignedCheckpoint {
    SignedCheckpoint::parse(&get(&public.public_router(), "/checkpoint").await.body).unwrap()
}

fn size_of(checkpoint: &SignedCheckpoint) -> u64 {
    checkpoint.verify(&verifier(1)).unwrap().size
}

async fn a_witness_that_does_not_cosign_blocks_nothing_and_nothing_else_is_kept(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    append(&scene, &ledger, 3).await;
    let head = SignedCheckpoint::clone(&ledger.head().checkpoint);
    let now_s = u64::try_from(scene.clock.now().secs()).unwrap();
    let line = |checkpoint: &SignedCheckpoint, key: &Cosigner, at_s: u64| {
        format!("{}\n", Cosignature::sign(checkpoint, key, at_s).unwrap())
    };
    let text = |body: String| Does::Answer(StatusCode::OK, "text/plain", body);
    let conflict = |kind, body: &str| Does::Answer(StatusCode::CONFLICT, kind, body.to_owned());
    let elsewhere = Forger::new("example.com/log", 7).checkpoint(0, 3);
    let mut forged = Cosignature::sign(&head, &cosigner(3), now_s).unwrap();
    forged.signature[71] ^= 1;

    let chosen = Chosen::new(Does::Waver).await;
    let mut public = open(&scene, &ledger, &["http://127.0.0.1:1", &chosen.url]).await;
    for (does, asked) in [
        (Does::Waver, 3),
        (
            Does::Answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", String::new()),
            1,
        ),
        (
            Does::Answer(StatusCode::NOT_FOUND, "text/plain", String::new()),
            1,
        ),
        (text(String::new()), 1),
        (text("no line\n".to_owned()), 1),
        (text("\n\n".to_owned()), 1),
        (text("x".repeat(1 << 20)), 1),
        (text(line(&head, &cosigner(4), now_s)), 1),
        (text(line(&elsewhere, &cosigner(3), now_s)), 1),
        (text(format!("{forged}\n")), 1),
        (text(line(&head, &cosigner(3), now_s + 1_000_000)), 1),
        (conflict("text/plain", "0\n"), 1),
        (conflict("text/x.tlog.size", "zero\n"), 1),
        (conflict("text/x.tlog.size", "-1\n"), 1),
    ] {
        chosen.now(does);
        public.publisher().turn().await.unwrap();
        assert_eq!(chosen.asked(), asked);
        let shown = published(&public).await;
        assert_eq!(shown, head, "the head alone");
        // No sooner than after a tenth of the period is it asked again.
        public.publisher().turn().await.unwrap();
        assert_eq!(chosen.asked(), asked);
        scene.clock.forward_ms(PERIOD_MS / 10);
    }
    assert_eq!(public.cosigned().alarm(), None, "not yet");

    let witness = Witness::new().await;
    witness
        .scene
        .clock
        .forward_ms(scene.clock.now().ms_since(witness.scene.clock.now()));
    chosen.now(Does::Cosign(witness.router));
    public.publisher().turn().await.unwrap();
    let shown = published(&public).await;
    assert_eq!(size_of(&shown), 3);
    let at_s = u64::try_from(scene.clock.now().secs()).unwrap();
    assert_eq!(shown.cosigned_at_s(&key()), Ok(at_s));
}

async fn a_witness_is_brought_up_from_the_head_that_it_holds(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    append(&scene, &ledger, 3).await;
    let witness = Witness::new().await;
    let chosen = Chosen::new(Does::Cosign(witness.router)).await;
    let mut public = open(&scene, &ledger, &[&chosen.url]).await;
    public.publisher().turn().await.unwrap();
    assert_eq!(chosen.asked(), 1);
    assert!(published(&public).await.cosigned_at_s(&key()).is_ok());

    // The next head is proved from the one cosigned; a start knows which that was.
    append(&scene, &ledger, 4).await;
    scene.clock.forward_ms(PERIOD_MS);
    let mut restarted = open(&scene, &ledger, &[&chosen.url]).await;
    assert!(
        published(&restarted).await.cosigned_at_s(&key()).is_ok(),
        "kept over a restart"
    );
    restarted.publisher().turn().await.unwrap();
    assert_eq!(chosen.asked(), 2);
    let shown = published(&restarted).await;
    assert_eq!(size_of(&shown), 7);
    assert!(shown.cosigned_at_s(&key()).is_ok());

    // One that knows nothing any more is told, and proves from there.
    let mut raw = Raw::open(&scene.database).await;
    assert_eq!(raw.execute("DELETE FROM ledger_checkpoint").await, 1);
    append(&scene, &ledger, 2).await;
    let mut forgetful = open(&scene, &ledger, &[&chosen.url]).await;
    forgetful.publisher().turn().await.unwrap();
    assert_eq!(chosen.asked(), 4);
    let shown = published(&forgetful).await;
    assert_eq!(size_of(&shown), 9);
    assert!(shown.cosigned_at_s(&key()).is_ok());
    // Each period the cosignature is asked anew, whether or not the log grew.
    scene.clock.forward_ms(PERIOD_MS);
    forgetful.publisher().turn().await.unwrap();
    assert_eq!(chosen.asked(), 5);
}

/// One key, two histories: a log restored from an old copy, which then went on.
async fn i7_a_witness_of_another_history_is_told_and_not_cosigned_by(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    append(&scene, &ledger, 5).await;
    let witness = Witness::new().await;
    let chosen = Chosen::new(Does::Cosign(witness.router)).await;
    let mut public = open(&scene, &ledger, &[&chosen.url]).await;
    public.publisher().turn().await.unwrap();
    assert!(published(&public).await.cosigned_at_s(&key()).is_ok());

    let other = Scene::new(TestDatabase::sqlite()).await;
    other.clock.forward_ms(1);
    let restored = other.open(1).await;
    let mut forked = open(&other, &restored, &[&chosen.url]).await;
    // Behind the witness, at its size, and beyond it.
    for more in [3, 2, 3] {
        append(&other, &restored, more).await;
        other.clock.forward_ms(PERIOD_MS);
        forked.publisher().turn().await.unwrap();
        let shown = published(&forked).await;
        assert_eq!(size_of(&shown), restored.head().size, "nothing is held up");
        assert!(shown.cosigned_at_s(&key()).is_err());
        assert_eq!(
            forked.cosigned().alarm(),
            Some("a witness holds a head that this log does not have")
        );
    }
    // The history that was cosigned goes on being.
    append(&scene, &ledger, 1).await;
    scene.clock.forward_ms(PERIOD_MS);
    public.publisher().turn().await.unwrap();
    assert!(published(&public).await.cosigned_at_s(&key()).is_ok());
    assert_eq!(public.cosigned().alarm(), None);
}

/// Two logs of one key that part after their third entry, both sound: each reader who saw the one refuses the other,
/// whatever is shown as a proof.
async fn i7_a_log_shown_differently_to_two_readers_is_refused_by_witness_and_peer(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let other = Scene::new(TestDatabase::sqlite()).await;
    let (one, two) = (scene.open(1).await, other.open(1).await);
    append(&scene, &one, 3).await;
    append(&other, &two, 3).await;
    assert_eq!(one.head().root, two.head().root, "one history so far");
    other.clock.forward_ms(1);
    append(&scene, &one, 4).await;
    append(&other, &two, 6).await;

    let reader = Witness::new().await;
    let (peer_db, log_key) = (&reader.scene.db, verifier(1));
    let chosen = Chosen::new(Does::Cosign(reader.router)).await;
    for (scene, log) in [(&scene, &one), (&other, &two)] {
        let first = std::ptr::eq(log, &one);
        let mut public = open(scene, log, &[&chosen.url]).await;
        public.publisher().turn().await.unwrap();
        let cosigned = published(&public).await.cosigned_at_s(&key());
        assert_eq!(cosigned.is_ok(), first, "{cosigned:?}");

        let (head, now) = (log.head(), scene.clock.now());
        let hashes = log.consistency(7, head.size).await.unwrap();
        let growth = Growth {
            from: 7,
            to: head.size,
            hashes: &hashes,
        };
        let seen = peer_head_witness(peer_db, &log_key, &head.checkpoint, Some(growth), now);
        match (seen.await.unwrap(), first) {
            (Witnessed::Kept, true) => {}
            (Witnessed::Forked(held), false) => assert_eq!(held.checkpoint, one.head().checkpoint.as_str()),
            (seen, _) => panic!("{seen:?}"),
        }
    }
    // Where they did not part yet, neither reader can tell, and both accept.
    let before = two.checkpoint(3).await.unwrap();
    let hashes = one.consistency(3, 7).await.unwrap();
    let growth = Growth {
        from: 3,
        to: 7,
        hashes: &hashes,
    };
    let seen = peer_head_witness(peer_db, &log_key, &before, Some(growth), scene.clock.now());
    assert_eq!(seen.await.unwrap(), Witnessed::Kept);
}

async fn a_head_that_nobody_cosigns_is_an_alarm(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    append(&scene, &ledger, 1).await;
    let mut unwitnessed = open(&scene, &ledger, &[]).await;
    unwitnessed.publisher().turn().await.unwrap();

    let gone = Does::Answer(StatusCode::BAD_GATEWAY, "text/plain", String::new());
    let chosen = Chosen::new(gone.clone()).await;
    let mut public = open(&scene, &ledger, &[&chosen.url]).await;
    public.publisher().turn().await.unwrap();
    scene.clock.forward_ms(3 * PERIOD_MS);
    assert_eq!(public.cosigned().alarm(), None);
    scene.clock.forward_ms(1);
    assert_eq!(
        public.cosigned().alarm(),
        Some("no witness has cosigned for three periods")
    );
    assert_eq!(unwitnessed.cosigned().alarm(), None, "nobody was to");

    let witness = Witness::new().await;
    witness.scene.clock.forward_ms(3 * PERIOD_MS + 1);
    chosen.now(Does::Cosign(witness.router));
    public.publisher().turn().await.unwrap();
    assert_eq!(public.cosigned().alarm(), None);
    // What it gave stays while it is away, and grows old.
    chosen.now(gone);
    scene.clock.forward_ms(3 * PERIOD_MS + 1_000);
    public.publisher().turn().await.unwrap();
    assert!(published(&public).await.cosigned_at_s(&key()).is_ok());
    assert!(public.cosigned().alarm().is_some());
}

async fn a_witness_is_asked_in_one_way(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let lent = Lent::new(&scene, &[]);
    let ask = |vkey: &str, url: Option<&str>, participant: bool| AskConfig {
        vkey: vkey.to_owned(),
        participant: participant.then(crate::scene::consumer),
        url: url.map(str::to_owned),
        ca: None,
    };
    let (vkey, log) = (key().to_string(), verifier(1).to_string());
    let url = Some("http://127.0.0.1:9");
    for (ask, count) in [
        (ask("", url, false), 1),
        (ask(&log, url, false), 1),
        (ask(&vkey, None, false), 1),
        (ask(&vkey, url, true), 1),
        (ask(&vkey, url, false), 17),
    ] {
        let config = WitnessConfig {
            key: None,
            ask: vec![ask; count],
        };
        let opened = Public::open(ledger.clone(), None, &config, lent.lend()).await;
        assert!(matches!(opened, Err(PublicError::Config(_))), "{opened:?}");
    }
    for url in ["http://temoin.example", "https://temoin.example"] {
        let config = WitnessConfig {
            key: None,
            ask: vec![ask(&vkey, Some(url), false)],
        };
        let opened = Public::open(ledger.clone(), None, &config, lent.lend()).await;
        assert!(matches!(opened, Err(PublicError::Mesh(_))), "{url}: {opened:?}");
    }
}
