//! What surrounds a role in a process of its own: telemetry, the admin listener, signals and the service manager.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::IgnoredAny;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_mesh::{Limits, Listener};

use crate::admin::{self, Checks};
use crate::config::{Process, load, overrides};
use crate::failure::{Failure, Kind};
use crate::notify::{State, notify};
use crate::telemetry::{self, Telemetry};

/// How often certificates, CRLs and the log's filter are read again without being asked to.
const REREAD: Duration = Duration::from_secs(60);

/// The surroundings of a role, from [`Host::start`] to [`Host::end`].
#[derive(Debug)]
pub struct Host {
    file: PathBuf,
    telemetry: Telemetry,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Host {
    /// Starts telemetry, for the process that `file` configures. Called before the role is made, so that all of its
    /// instruments count.
    ///
    /// # Errors
    /// `[telemetry]` is wrong.
    pub fn start(file: &Path, config: &telemetry::Config) -> Result<Self, Failure> {
        let telemetry = telemetry::init(config).map_err(|e| {
            Failure::new(Kind::Configuration, "la télémétrie ne démarre pas")
                .because(unefois_mesh::status::chain(&e))
        })?;
        Ok(Self {
            file: file.to_owned(),
            telemetry,
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Opens the admin listener of `role`, ready while `checks` hold.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn admin(
        &mut self,
        role: &'static str,
        config: &admin::Config,
        checks: Checks,
    ) -> Result<(), Failure> {
        let listener = Listener::probes(config.listen, Limits::default())
            .await
            .map_err(|e| {
                Failure::new(Kind::Configuration, "admin.listen ne peut pas être ouvert")
                    .because(unefois_mesh::status::chain(&e))
            })?;
        let router = admin::router(role, checks, self.telemetry.metrics());
        self.tasks.spawn(listener.serve(router, self.shutdown.clone()));
        Ok(())
    }

    /// Tells the service manager that the role listens.
    pub fn ready(&self) {
        tell(State::Ready);
    }

    /// Tells the service manager that the role ends.
    pub fn stopping(&self) {
        tell(State::Stopping);
    }

    /// Reads again what may change under a running role, at each SIGHUP and each minute: `reload` its certificates and
    /// CRLs, then the filter of logs. What cannot be read leaves what was in use, and is logged. Never ends.
    pub async fn reloads<E: std::error::Error + 'static>(&self, reload: impl Fn() -> Result<(), E>) {
        let mut every = tokio::time::interval_at(tokio::time::Instant::now() + REREAD, REREAD);
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = every.tick() => {}
                _ = hangup.recv() => tracing::info!("certificates, CRLs and the log's filter are read again"),
            }
            if let Err(error) = reload() {
                let error = unefois_mesh::status::chain(&error);
                tracing::error!(error, "certificates or CRLs cannot be read again");
            }
            let process: Result<Process<IgnoredAny>, _> = load(&self.file, &overrides(std::env::vars_os()));
            match process.map(|process| self.telemetry.set_log_filter(&process.telemetry.log_filter)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "telemetry.log_filter is wrong"),
                Err(error) => tracing::error!(%error, "the configuration cannot be read again"),
            }
        }
    }

    /// Closes the admin listener and sends what telemetry is left.
    pub async fn end(self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Err(error) = self.telemetry.shutdown().await {
            let error = unefois_mesh::status::chain(&error);
            tracing::warn!(error, "the last of the telemetry was not taken");
        }
    }
}

fn tell(state: State) {
    if let Err(error) = notify(state) {
        tracing::warn!(%error, "the service manager was not told");
    }
}

/// Ends with SIGINT or SIGTERM.
pub fn interrupted() -> impl Future<Output = ()> {
    // Registered now: a signal that comes before the first poll counts.
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
