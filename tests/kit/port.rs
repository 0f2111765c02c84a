//! A port for a process that a test starts.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// A port below those that the system gives out by itself and those of demonstrations, so that nobody takes it between
/// this and its use.
///
/// # Panics
/// All of them are in use.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(64);
    let ports = (0..10_000).map(|_| {
        let n = first.wrapping_add(NEXT.fetch_add(1, Ordering::SeqCst));
        u16::try_from(10_000 + n % 10_000).unwrap_or(0)
    });
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("a free port")
}
