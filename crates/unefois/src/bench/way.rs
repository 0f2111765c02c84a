//! A way to the authority on which one direction can be held up, as a network does that loses one direction's packets:
//! nothing arrives until it is let go, and then all of it, late.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What of a connection does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// All of it arrives.
    Nothing,
    /// What the authority says.
    Answers,
    /// What the producer says.
    Calls,
}

/// The way, open as long as there is this.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) port: u16,
    held: watch::Sender<Held>,
    _accepting: JoinSet<()>,
}

/// A way that leads nowhere yet.
#[derive(Debug)]
pub(crate) struct Door(TcpListener);

impl Door {
    pub(crate) async fn open() -> std::io::Result<Self> {
        Ok(Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?))
    }

    pub(crate) fn port(&self) -> std::io::Result<u16> {
        Ok(self.0.local_addr()?.port())
    }

    /// From now on it leads to `port`.
    pub(crate) fn lead(self, port: u16) -> std::io::Result<Way> {
        let own = self.port()?;
        let held = watch::Sender::new(Held::Nothing);
        let mut accepting = JoinSet::new();
        let (listener, holds) = (self.0, held.clone());
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                connections.spawn(forward(client, to, holds.clone()));
            }
        });
        Ok(Way {
            port: own,
            held,
            _accepting: accepting,
        })
    }
}

impl Way {
    /// Holds a direction up on every connection, or lets all go on.
    pub(crate) fn hold(&self, held: Held) {
        self.held.send_replace(held);
    }
}

/// Whichever end closes, the other learns it.
async fn forward(mut client: TcpStream, to: SocketAddr, held: watch::Sender<Held>) {
    let Ok(mut server) = TcpStream::connect(to).await else {
        return;
    };
    // Without it, small messages would wait for each other.
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let ((mut calls, mut answers), (mut heard, mut told)) = (client.split(), server.split());
    tokio::select! {
        () = copy(&mut calls, &mut told, held.subscribe(), Held::Calls) => {}
        () = copy(&mut heard, &mut answers, held.subscribe(), Held::Answers) => {}
    }
}

async fn copy(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    mut held: watch::Receiver<Held>,
    mine: Held,
) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        let free = held.wait_for(|held| *held != mine).await.is_ok();
        if !free || to.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_held_up_arrives_late_and_the_other_direction_at_once() {
        let authority = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let way = Door::open().await.unwrap();
        let way = way.lead(authority.local_addr().unwrap().port()).unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, way.port)).await.unwrap();
        let (mut server, _) = authority.accept().await.unwrap();
        let mut got = [0; 4];

        way.hold(Held::Answers);
        client.write_all(b"ping").await.unwrap();
        server.read_exact(&mut got).await.unwrap();
        server.write_all(b"pong").await.unwrap();
        let late = tokio::time::timeout(Duration::from_millis(50), client.read_exact(&mut got));
        assert!(late.await.is_err(), "held up");
        way.hold(Held::Nothing);
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"pong");

        drop(server);
        assert_eq!(client.read(&mut got).await.unwrap(), 0, "the end is told");
    }
}
