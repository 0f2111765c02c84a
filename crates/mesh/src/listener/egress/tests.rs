//! Bytes of HTTP/2 by hand, over a pipe that holds no more than a kilobyte: what does not fit is in the process.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::routing::get;
use axum::{Extension, Router};
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::server::{Caller, Server};
use super::*;
use crate::Limits;

const WAIT: Duration = Duration::from_secs(60);
/// What the pipe holds.
const PIPE: usize = 1024;
/// More than HTTP/2 keeps of one answer, 400 KB, and as much as the peer's window.
const PIECES: usize = 64;

const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// One answer of 64 pieces, asked for and not read yet.
struct Scene {
    client: DuplexStream,
    egress: Egress,
    /// Whether pieces may leave.
    permits: Arc<AtomicBool>,
    /// Whether what was let out may still be sent.
    lasts: Arc<AtomicBool>,
    /// Notified when the body is dropped.
    dropped: Arc<Notify>,
}

struct Tell(Arc<Notify>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Scene {
    async fn new() -> Self {
        Self::with_window(1 << 20).await
    }

    /// The client has room for so many bytes.
    async fn with_window(window: u32) -> Self {
        let (permits, dropped) = (Arc::new(AtomicBool::new(true)), Arc::<Notify>::default());
        let lasts = Arc::new(AtomicBool::new(true));
        let lasting = Arc::clone(&lasts);
        let (tell, mut told) = mpsc::channel(1);
        let (asked, end) = (Arc::clone(&permits), Arc::clone(&dropped));
        let handler = move |Extension(egress): Extension<Egress>| async move {
            let passage = egress.guarded(
                move || asked.load(Ordering::SeqCst),
                move || lasting.load(Ordering::SeqCst),
            );
            tell.send(egress).await.expect("the test waits");
            let tell = Tell(end);
            let frames = std::iter::repeat_with(move || {
                let _held = &tell;
                Ok::<_, Infallible>(Bytes::from(vec![7; PIECE]))
            });
            (
                Extension(passage),
                Body::from_stream(stream::iter(frames.take(PIECES))),
            )
        };
        let server = Arc::new(Server {
            router: Router::new().route("/", get(handler)).route("/other", get(other)),
            calls: Arc::default(),
            handshakes: Arc::new(Semaphore::new(1)),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            limits: Limits::default(),
            refusals: Arc::default(),
        });
        let (mut client, io) = tokio::io::duplex(PIPE);
        let caller = Caller {
            peer: None,
            address: None,
        };
        let tasks = server.tasks.clone();
        tasks.spawn(server.plain(io, caller));
        let window = window.to_be_bytes();
        let request = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            // SETTINGS_INITIAL_WINDOW_SIZE
            &frame(4, 0, 0, &[&[0, 4], &window[..]].concat())[..],
            &frame(WINDOW_UPDATE, 0, 0, &window),
            // GET / of http://x, whole.
            &frame(1, 0x5, 1, &[0x82, 0x86, 0x84, 0x41, 1, b'x']),
        ];
        client.write_all(&request.concat()).await.unwrap();
        Self {
            client,
            egress: told.recv().await.unwrap(),
            permits,
            lasts,
            dropped,
        }
    }

    /// Asks for another answer, of nobody's withdrawal, on the same connection.
    async fn ask(&mut self, stream: u8) {
        // GET /other of http://x, whole.
        let head = [&[0x82, 0x86, 0x44, 6][..], b"/other", &[0x41, 1, b'x']].concat();
        self.client
            .write_all(&frame(1, 0x5, stream, &head))
            .await
            .unwrap();
    }

    /// Makes room for so many bytes more: of a stream, or of the connection (0).
    async fn make_room(&mut self, stream: u8, bytes: u32) {
        let room = frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
        self.client.write_all(&room).await.unwrap();
    }

    /// The next frame: its type and payload.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let (kind, _, _, payload) = self.whole_frame().await;
        (kind, payload)
    }

    /// The next frame: its type, flags, stream and payload.
    async fn whole_frame(&mut self) -> (u8, u8, u8, Vec<u8>) {
        let mut head = [0; 9];
        let mut payload = Vec::new();
        let read = async {
            self.client.read_exact(&mut head).await.unwrap();
            payload.resize(usize::from(u16::from_be_bytes([head[1], head[2]])), 0);
            self.client.read_exact(&mut payload).await.unwrap();
        };
        tokio::time::timeout(WAIT, read).await.unwrap();
        (head[3], head[4], head[8], payload)
    }

    async fn over(&self) {
        tokio::time::timeout(WAIT, self.egress.over()).await.unwrap();
        assert!(self.egress.is_over());
    }
}

/// An answer of as many pieces, which may always leave.
async fn other(Extension(egress): Extension<Egress>) -> (Extension<Passage>, Body) {
    let passage = egress.guarded(|| true, || true);
    let frames = std::iter::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![9; PIECE])));
    (
        Extension(passage),
        Body::from_stream(stream::iter(frames.take(PIECES))),
    )
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A frame of 16 KiB is in HTTP/2's hands, and the pipe does not take it: neither an end of the body nor a reset get rid
/// of it.
#[tokio::test]
async fn what_the_socket_does_not_take_is_not_over_until_it_is_cut() {
    let mut scene = Scene::new().await;
    // The frames before are some tens of bytes.
    let mut begin = vec![0; 2 * PIPE];
    scene.client.read_exact(&mut begin).await.unwrap();
    assert!(scene.egress.has_begun() && !scene.egress.is_over());

    scene.egress.reset();
    scene.dropped.notified().await;
    assert!(!scene.egress.is_over() && scene.egress.waits());

    scene.egress.cut();
    scene.over().await;
    let mut rest = Vec::new();
    scene.client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() <= PIPE, "{}", rest.len());
}

#[tokio::test]
async fn a_piece_that_may_not_leave_resets_the_stream() {
    let mut scene = Scene::new().await;
    let mut read = 0;
    let reason = loop {
        match scene.frame().await {
            (DATA, payload) => {
                scene.permits.store(false, Ordering::SeqCst);
                read += payload.len();
            }
            (RST_STREAM, reason) => break reason,
            _ => {}
        }
    };
    assert_eq!(reason, CANCEL);
    assert!(read < PIECES * PIECE, "{read}");
    scene.over().await;
}

/// As after a freeze: the peer has made room long ago, and what was let out before is no longer to be sent.
#[tokio::test]
async fn what_waits_in_http2_and_may_not_be_sent_any_more_is_reset_before_it_leaves() {
    const ROOM: u32 = 100;
    let mut scene = Scene::with_window(ROOM).await;
    let mut read = 0;
    while read < ROOM as usize {
        if let (DATA, payload) = scene.frame().await {
            read += payload.len();
        }
    }
    scene.lasts.store(false, Ordering::SeqCst);
    scene.make_room(1, 1 << 20).await;
    let reason = loop {
        match scene.frame().await {
            (RST_STREAM, reason) => break reason,
            (kind, _) => assert_ne!(kind, DATA),
        }
    };
    assert_eq!(reason, CANCEL);
    scene.over().await;
}

/// Both wait in HTTP/2 for their peer's window, on one connection: what may not be sent any more of the one is kept back, and
/// the other, and one that is asked for later, arrive whole.
#[tokio::test]
async fn i3_an_answer_that_is_kept_back_takes_no_other_of_its_connection_with_it() {
    const ROOM: u32 = 100;
    const WHOLE: usize = PIECES * PIECE;
    let mut scene = Scene::with_window(ROOM).await;
    scene.ask(3).await;
    let mut read = [0; 2];
    while read != [ROOM as usize; 2] {
        if let (DATA, _, stream, payload) = scene.whole_frame().await {
            read[usize::from(stream / 2)] += payload.len();
        }
    }
    scene.lasts.store(false, Ordering::SeqCst);
    scene.make_room(0, 1 << 30).await;
    for stream in [1, 3] {
        scene.make_room(stream, 1 << 20).await;
    }
    let (mut other, mut reset) = (read[1], None);
    loop {
        match scene.whole_frame().await {
            (RST_STREAM, _, 1, reason) => reset = Some(reason),
            (DATA, flags, 3, payload) => {
                assert!(payload.iter().all(|byte| *byte == 9));
                other += payload.len();
                if flags & END_STREAM != 0 {
                    break;
                }
            }
            (kind, _, stream, _) => assert!(![DATA, RST_STREAM].contains(&kind), "{kind} of {stream}"),
        }
    }
    assert_eq!((other, reset), (WHOLE, Some(CANCEL.to_vec())));
    scene.over().await;

    scene.ask(5).await;
    scene.make_room(5, 1 << 20).await;
    let mut later = 0;
    while later < WHOLE {
        match scene.whole_frame().await {
            (DATA, _, 5, payload) => later += payload.len(),
            (kind, _, stream, _) => assert!(![DATA, RST_STREAM].contains(&kind), "{kind} of {stream}"),
        }
    }
    assert_eq!(later, WHOLE);
}

#[tokio::test]
async fn what_waits_for_the_socket_and_may_not_be_sent_any_more_cuts_the_connection() {
    let mut scene = Scene::new().await;
    let mut begin = vec![0; 2 * PIPE];
    scene.client.read_exact(&mut begin).await.unwrap();
    scene.lasts.store(false, Ordering::SeqCst);
    let mut rest = Vec::new();
    scene.client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() <= 2 * PIPE, "{}", rest.len());
    scene.over().await;
}

#[tokio::test]
async fn an_answer_that_was_read_is_over() {
    let mut scene = Scene::new().await;
    assert!(!scene.egress.is_over());
    let mut read = 0;
    while read < PIECES * PIECE {
        if let (DATA, payload) = scene.frame().await {
            assert!(payload.len() <= PIECE);
            read += payload.len();
        }
    }
    scene.over().await;
    assert_eq!(read, PIECES * PIECE);
}

#[tokio::test]
async fn an_answer_that_nobody_asks_for_any_more_is_over() {
    let scene = Scene::new().await;
    drop(scene.client);
    tokio::time::timeout(WAIT, scene.egress.over()).await.unwrap();
}
