//! The connection that batches of the ledger go through on PostgreSQL: one statement is one round trip. A connection of
//! the pool is asked for a sign of life when it is given back, which costs as much again.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;

use crate::Error;
use crate::open::ACQUIRE;

/// From when on a connection that lay idle is asked for a sign of life before it is used: its server may have been
/// started anew.
pub(crate) const STALE: Duration = Duration::from_secs(1);

/// A server that is gone does not answer; nothing was asked of it yet, so that nobody need wait until it does.
async fn within<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(ACQUIRE, answer)
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Connects when needed, and anew after each failure.
#[derive(Debug)]
pub(crate) struct Writer {
    options: PgConnectOptions,
    idle: Option<(PgConnection, Instant)>,
    closed: bool,
}

impl Writer {
    pub(crate) fn new(options: &PgConnectOptions) -> Self {
        Self {
            // Its one statement looks up a head by its key: planning it anew for each batch finds nothing better.
            options: options
                .clone()
                .options([("plan_cache_mode", "force_generic_plan")]),
            idle: None,
            closed: false,
        }
    }

    /// The connection, to be handed back with [`Writer::keep`]: one that is not is closed, and what it had begun undone.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(crate) async fn take(&mut self) -> Result<PgConnection, Error> {
        if self.closed {
            return Err(sqlx::Error::PoolClosed.into());
        }
        if let Some((mut conn, since)) = self.idle.take()
            && (since.elapsed() < STALE || within(conn.ping()).await.is_ok())
        {
            return Ok(conn);
        }
        Ok(within(PgConnection::connect_with(&self.options)).await?)
    }

    /// Keeps a connection on which nothing is under way.
    pub(crate) fn keep(&mut self, conn: PgConnection) {
        self.idle = Some((conn, Instant::now()));
    }

    /// Whether there is one that nobody uses.
    pub(crate) const fn is_connected(&self) -> bool {
        self.idle.is_some()
    }

    /// Connects no more.
    pub(crate) async fn close(&mut self) {
        self.closed = true;
        if let Some((conn, _)) = self.idle.take() {
            // The server notices by itself where this fails.
            let _closed = conn.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgSslMode;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What a server says to whoever it lets in without a password: so much, and that it is ready.
    const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

    async fn server() -> (TcpListener, Writer) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .username("unefois")
            .ssl_mode(PgSslMode::Disable);
        (listener, Writer::new(&options))
    }

    /// Whoever waits for a server that is gone waits for ever.
    async fn given_up(writer: &mut Writer) {
        let taken = tokio::time::timeout(10 * ACQUIRE, writer.take()).await;
        let taken = taken.expect("it is given up");
        assert!(
            matches!(taken, Err(Error::Database(sqlx::Error::PoolTimedOut))),
            "{taken:?}"
        );
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let (_silent, mut writer) = server().await;
        given_up(&mut writer).await;
    }

    #[tokio::test]
    async fn a_server_that_vanished_behind_an_idle_connection_is_given_up() {
        let (listener, mut writer) = server().await;
        let welcomed = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            stream.write_all(WELCOME).await.unwrap();
            stream
        };
        let (conn, _silent) = tokio::join!(writer.take(), welcomed);
        writer.idle = Some((conn.unwrap(), Instant::now() - STALE));
        // It is asked for a sign of life, then connected to anew.
        given_up(&mut writer).await;
        assert!(!writer.is_connected());
    }
}
