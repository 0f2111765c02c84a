//! A log over HTTP: what anybody sees, what an auditor sees, and how it is asked for.

use axum::Router;
use axum::body::Body;
use futures_util::future::try_join_all;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use unefois_core::commitment::{Field, Salt};
use unefois_core::{Clock as _, Entry, Event, Micros, Sha256};
use unefois_ledger::{Draft, Error, Ledger, Public, PublicConfig, PublicError, WitnessConfig};
use unefois_mesh::{Limits, Peer, PeerId, Serial};
use unefois_store::evidence::evidence_read;
use unefois_tlog::{Hash, SignedCheckpoint, TileId, Tree};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::raw::Raw;
use crate::registry::Lent;
use crate::scene::{Scene, consumer, verifier};

both_databases![
    i6_entries_are_for_auditors_alone,
    i6_growth_shows_once_a_period,
    i7_a_restart_publishes_nothing_older_and_no_second_head_of_a_size,
    malformed_and_absent_tiles_are_refused,
    every_tile_is_recomputed_from_the_entries,
    an_auditor_s_reading_is_an_entry_once_an_hour,
    a_bundle_of_a_log_that_cannot_be_written_is_counted,
    a_log_is_shown_in_clear_on_loopback_alone,
];

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn checkpoint(&self) -> (u64, Hash) {
        let signed = SignedCheckpoint::parse(&self.body).unwrap();
        let said = signed.verify(&verifier(1)).unwrap();
        (said.size, said.root)
    }
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    }
}

async fn a_log_is_shown_in_clear_on_loopback_alone(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let lent = Lent::new(&scene, &[]);
    let open = async |listen: &str, every_s| {
        let config = PublicConfig {
            listen: listen.parse().unwrap(),
            certificate: None,
            every_s,
        };
        let none = WitnessConfig::default();
        let door = config.open(&lent.clock, &Limits::default()).await?;
        Public::open(ledger.clone(), Some(door), &none, lent.lend()).await
    };
    let everywhere = open("0.0.0.0:0", 600).await;
    assert!(
        matches!(
            everywhere,
            Err(PublicError::Mesh(unefois_mesh::Error::NotLoopback(_)))
        ),
        "{everywhere:?}"
    );
    let often = open("127.0.0.1:0", 9).await;
    assert!(matches!(often, Err(PublicError::Config(_))), "{often:?}");
    let public = open("127.0.0.1:0", 10).await.unwrap();
    assert!(public.address().is_some_and(|address| address.port() != 0));
}

pub(crate) async fn get(router: &Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn get_as(router: &Router, peer: Peer, path: &str) -> Answer {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    request.extensions_mut().insert(peer);
    send(router, request).await
}

fn peer(id: PeerId, key: &[u8]) -> Peer {
    Peer {
        id,
        serial: Serial::from_bytes(&[1]),
        spki_sha256: Sha256::of(key),
        cert_sha256: Sha256::of(b"certificate"),
        not_after: Micros::from_secs(2_000_000_000),
    }
}

fn auditor() -> Peer {
    peer(PeerId::Auditor("cnil-1".to_owned()), b"auditor")
}

async fn open(scene: &Scene, ledger: &Ledger) -> Result<Public, PublicError> {
    let lent = Lent::new(scene, &[]);
    Public::open(ledger.clone(), None, &WitnessConfig::default(), lent.lend()).await
}

pub(crate) async fn append(scene: &Scene, ledger: &Ledger, count: usize) {
    let entry = Entry::new(Event::Admin, scene.clock.now());
    let appends = (0..count).map(|_| ledger.append(Draft::new(entry.clone())));
    try_join_all(appends).await.unwrap();
}

async fn i6_entries_are_for_auditors_alone(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    append(&scene, &ledger, 3).await;
    let mut public = open(&scene, &ledger).await.unwrap();
    public.publisher().turn().await.unwrap();
    let (anybody, mesh) = (public.public_router(), public.mesh_router());

    for path in ["/checkpoint", "/tile/0/000.p/3", "/tile/entries/000.p/3"] {
        for answer in [
            get(&mesh, path).await,
            get_as(&mesh, peer(PeerId::Participant(consumer()), b"key"), path).await,
        ] {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
            assert!(answer.body.starts_with(b"NOT_ENTITLED"), "{path}");
        }
    }
    for path in ["/tile/entries/000.p/3", "/tile/entries/000"] {
        let answer = get_as(&anybody, auditor(), path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
    }
    let bundle = get_as(&mesh, auditor(), "/tile/entries/000.p/3").await;
    assert_eq!(bundle.status, StatusCode::OK);
    assert!(bundle.header("cache-control").starts_with("private"));
    let entries = ledger.entries(0, 3).await.unwrap();
    let expected: Vec<u8> = entries
        .iter()
        .flat_map(|entry| [&u16::try_from(entry.len()).unwrap().to_be_bytes()[..], entry].concat())
        .collect();
    assert_eq!(bundle.body, expected);
}

async fn i6_growth_shows_once_a_period(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let mut public = open(&scene, &ledger).await.unwrap();
    let (anybody, mesh) = (public.public_router(), public.mesh_router());
    public.publisher().turn().await.unwrap();
    assert_eq!(get(&anybody, "/checkpoint").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        get(&anybody, "/tile/0/000.p/1").await.status,
        StatusCode::NOT_FOUND
    );

    append(&scene, &ledger, 3).await;
    public.publisher().turn().await.unwrap();
    append(&scene, &ledger, 2).await;
    scene.clock.forward_ms(599_999);
    public.publisher().turn().await.unwrap();
    let shown = get(&anybody, "/checkpoint").await;
    assert_eq!(shown.checkpoint().0, 3);
    assert_eq!(shown.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(shown.header("cache-control"), "public, max-age=5");
    for path in ["/tile/0/000.p/4", "/tile/0/000.p/5", "/tile/0/000"] {
        assert_eq!(get(&anybody, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(
        get_as(&mesh, auditor(), "/checkpoint").await.checkpoint().0,
        5,
        "an auditor sees the present head"
    );

    scene.clock.forward_ms(1);
    public.publisher().turn().await.unwrap();
    assert_eq!(get(&anybody, "/checkpoint").await.checkpoint().0, 5);
    assert_eq!(get(&anybody, "/tile/0/000.p/5").await.status, StatusCode::OK);
    // What was shown before stays.
    assert_eq!(get(&anybody, "/tile/0/000.p/3").await.body.len(), 96);

    // A clock that goes back silences nobody for ever.
    append(&scene, &ledger, 1).await;
    scene.clock.forward_ms(-86_400_000);
    public.publisher().turn().await.unwrap();
    assert_eq!(get(&anybody, "/checkpoint").await.checkpoint().0, 6);
}

async fn i7_a_restart_publishes_nothing_older_and_no_second_head_of_a_size(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    append(&scene, &ledger, 3).await;
    let mut public = open(&scene, &ledger).await.unwrap();
    public.publisher().turn().await.unwrap();
    let before = get(&public.public_router(), "/checkpoint").await.body;
    append(&scene, &ledger, 2).await;

    let again = scene.open(1).await;
    let mut restarted = open(&scene, &again).await.unwrap();
    restarted.publisher().turn().await.unwrap();
    let after = get(&restarted.public_router(), "/checkpoint").await.body;
    assert_eq!(before, after, "neither older nor, within the period, newer");

    // The process that was replaced cannot go back on what its successor published.
    scene.clock.forward_ms(600_000);
    append(&scene, &again, 1).await;
    restarted.publisher().turn().await.unwrap();
    let refused = public.publisher().turn().await;
    assert!(matches!(refused, Err(Error::Fenced)), "{refused:?}");
    again.close().await;

    // A log that was rolled back under the head that was published of it.
    let mut raw = Raw::open(&scene.database).await;
    for change in [
        "UPDATE ledger_checkpoint SET size = 7",
        "UPDATE ledger_checkpoint SET size = 5",
    ] {
        assert_eq!(raw.execute(change).await, 1);
        let refused = open(&scene, &scene.open(1).await).await;
        assert!(
            matches!(refused, Err(PublicError::Ledger(Error::Corrupt(_)))),
            "{change}: {refused:?}"
        );
    }
}

async fn malformed_and_absent_tiles_are_refused(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    append(&scene, &ledger, 3).await;
    let mut public = open(&scene, &ledger).await.unwrap();
    public.publisher().turn().await.unwrap();
    let (anybody, mesh) = (public.public_router(), public.mesh_router());
    for path in [
        "/tile/0/0",
        "/tile/0/0000",
        "/tile/00/000",
        "/tile/0/000/",
        "/tile/0//000",
        "/tile/0/x000/000",
        "/tile/0/001/000",
        "/tile/0/000.p/0",
        "/tile/0/000.p/03",
        "/tile/0/000.p/256",
        "/tile/0/000.p/",
        "/tile/0/000.P/3",
        "/tile/0/%30%30%30.p/3",
        "/tile/0/000.p/3?",
        "/tile/0/000.p/3?x",
        "/tile/0/../0/000.p/3",
        "/tile/8/000.p/1",
        "/tile/-1/000",
        "/tile/0/",
        "/tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(
            get(&anybody, path).await.status,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
        let entries = path.replacen("/tile/0/", "/tile/entries/", 1);
        if entries != path {
            let answer = get_as(&mesh, auditor(), &entries).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{entries}");
        }
    }
    for path in [
        "/",
        "/tile",
        "/tile/",
        "/checkpoint/",
        "/tile/0/000",
        "/tile/0/000.p/4",
        "/tile/0/001.p/1",
        "/tile/1/000.p/1",
        "/tile/7/000.p/1",
        "/tile/0/x001/x234/067",
    ] {
        let answer = get(&anybody, path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(!answer.header("cache-control").contains("immutable"), "{path}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let request = Request::builder()
            .method(&method)
            .uri("/tile/0/000.p/3")
            .body(Body::empty());
        let answer = send(&anybody, request.unwrap()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    for (path, length) in [("/tile/0/000.p/3", "96"), ("/checkpoint", "")] {
        let request = Request::head(path).body(Body::empty()).unwrap();
        let answer = send(&anybody, request).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0), "{path}");
        assert!(answer.header("content-length").ends_with(length), "{path}");
    }
    let tile = get(&anybody, "/tile/0/000.p/3").await;
    assert_eq!(tile.header("content-type"), "application/octet-stream");
    assert_eq!(
        tile.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    assert_eq!(tile.header("content-encoding"), "");
}

async fn every_tile_is_recomputed_from_the_entries(database: TestDatabase) {
    const FIRST: usize = 600;
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    append(&scene, &ledger, FIRST).await;
    let mut public = open(&scene, &ledger).await.unwrap();
    public.publisher().turn().await.unwrap();
    // What comes after completes a tile that is published as a partial one.
    append(&scene, &ledger, 200).await;
    let (anybody, mesh) = (public.public_router(), public.mesh_router());
    let leaves = async |from: u64, to: u64| -> Vec<Hash> {
        let entries = ledger.entries(from, to).await.unwrap();
        entries.iter().map(|entry| Hash::of_leaf(entry)).collect()
    };
    let bytes = |hashes: &[Hash]| -> Vec<u8> { hashes.iter().flat_map(|hash| *hash.as_bytes()).collect() };

    let (size, root) = get(&anybody, "/checkpoint").await.checkpoint();
    let mut tree = Tree::new();
    let full = tree.append(&leaves(0, size).await).unwrap();
    assert_eq!((size, tree.root()), (FIRST as u64, root));
    for tile in &full {
        assert_eq!(
            get(&anybody, &format!("/{}", tile.id())).await.body,
            tile.to_bytes()
        );
        for width in [1, 100, 255] {
            let narrow = tile.narrowed(width).unwrap();
            let shown = get(&anybody, &format!("/{}", narrow.id())).await;
            assert_eq!(shown.body, narrow.to_bytes(), "{}", narrow.id());
        }
    }
    let partials = TileId::partials(size);
    assert_eq!(partials.len(), 2);
    assert_eq!(
        get(&anybody, &format!("/{}", partials[0])).await.body,
        bytes(&leaves(512, 600).await)
    );
    let roots: Vec<Hash> = full.iter().filter_map(unefois_tlog::Tile::root).collect();
    assert_eq!(
        get(&anybody, &format!("/{}", partials[1])).await.body,
        bytes(&roots)
    );

    // An auditor sees what came after too, full and partial.
    assert_eq!(get(&anybody, "/tile/0/002").await.status, StatusCode::NOT_FOUND);
    for (path, from, to) in [("/tile/0/002", 512, 768), ("/tile/0/003.p/32", 768, 800)] {
        let shown = get_as(&mesh, auditor(), path).await.body;
        assert_eq!(shown, bytes(&leaves(from, to).await), "{path}");
    }
    assert_eq!(get_as(&mesh, auditor(), "/tile/1/000.p/3").await.body.len(), 96);

    // A tile shortened behind the ledger's back is not passed on.
    let mut raw = Raw::open(&scene.database).await;
    raw.execute("UPDATE ledger_tile SET hashes = '' WHERE level = 0 AND idx = 0")
        .await;
    assert_eq!(
        get(&anybody, "/tile/0/000").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

async fn an_auditor_s_reading_is_an_entry_once_an_hour(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    append(&scene, &ledger, 3).await;
    let mesh = open(&scene, &ledger).await.unwrap().mesh_router();
    let read = async |reader: Peer| {
        let answer = get_as(&mesh, reader, "/tile/entries/000.p/3").await;
        assert_eq!(answer.status, StatusCode::OK);
    };
    // Hash tiles and what is not there are no reading of entries.
    get_as(&mesh, auditor(), "/tile/0/000.p/3").await;
    get_as(&mesh, auditor(), "/tile/entries/000.p/4").await;
    assert_eq!(ledger.head().size, 3);

    let both = futures_util::future::join(read(auditor()), read(auditor()));
    both.await;
    assert_eq!(ledger.head().size, 4, "two at once are one reading");
    read(peer(PeerId::Auditor("cour".to_owned()), b"another key")).await;
    read(auditor()).await;
    assert_eq!(ledger.head().size, 5, "each auditor has its own");
    scene.clock.forward_ms(3_600_000);
    read(auditor()).await;
    assert_eq!(ledger.head().size, 6, "each hour has its own");

    let entry = Entry::decode(&ledger.entries(3, 4).await.unwrap()[0]).unwrap();
    assert_eq!(entry.event, Event::Queried);
    let evidence = evidence_read(&scene.db, 1, 3).await.unwrap().unwrap();
    let salt = Salt::from_bytes(evidence.salt);
    assert_eq!(
        entry.evidence_commit,
        Some(salt.commit(Field::Evidence, &evidence.body))
    );
    let text = String::from_utf8(evidence.body).unwrap();
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    assert_eq!(line("reader "), "urn:unefois:auditor:cnil-1");
    assert_eq!(
        line("what "),
        "any entry, for an hour",
        "the next bundle may lie before this one"
    );
    let actor: Sha256 = line("actor_salt ").parse().unwrap();
    let actor = Salt::from_bytes(*actor.as_bytes()).commit(Field::Actor, Sha256::of(b"auditor").as_bytes());
    assert_eq!(entry.actor_commit, Some(actor));
}

async fn a_bundle_of_a_log_that_cannot_be_written_is_counted(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    append(&scene, &ledger, 3).await;
    let mesh = open(&scene, &ledger).await.unwrap().mesh_router();
    let mut raw = Raw::open(&scene.database).await;
    raw.break_head().await;
    for _ in 0..2 {
        let answer = get_as(&mesh, auditor(), "/tile/entries/000.p/3").await;
        assert_eq!(answer.status, StatusCode::OK, "who has to find out why reads");
    }
    raw.mend_head().await;
    let tally = ledger.tally(scene.clock.now()).await.unwrap();
    let evidence = evidence_read(&scene.db, 1, tally.index()).await.unwrap().unwrap();
    let text = String::from_utf8(evidence.body).unwrap();
    assert!(text.ends_with("read urn:unefois:auditor:cnil-1 2\n"), "{text}");
    // What could not be recorded then is recorded as soon as it can be.
    let size = ledger.head().size;
    get_as(&mesh, auditor(), "/tile/entries/000.p/3").await;
    assert_eq!(ledger.head().size, size + 1);
}
