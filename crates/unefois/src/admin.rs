//! The admin listener: whether the process lives and can serve, its metrics and its version.
//!
//! Probes hold no certificate, so nothing here is personal or secret: a check that fails says so in words written in
//! this program, and names of the directory, never in an error's words.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use opentelemetry::KeyValue;
use serde::Deserialize;
use serde_json::json;
use unefois_mesh::metrics;

use crate::telemetry::Metrics;

/// `[admin]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Plain HTTP: loopback, or an address that only the machine's supervision reaches.
    pub listen: SocketAddr,
}

/// One thing that must hold for the process to serve, or that it should know of.
pub struct Check {
    name: &'static str,
    /// Whether the process serves all the same.
    advice: bool,
    holds: Box<dyn Fn() -> Result<(), Cow<'static, str>> + Send + Sync>,
}

impl Check {
    /// `holds` answers at once, from memory; where it does not hold it says what is missing.
    pub fn new(
        name: &'static str,
        holds: impl Fn() -> Result<(), Cow<'static, str>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            advice: false,
            holds: Box::new(holds),
        }
    }

    /// As [`Check::new`], of something without which the process serves, and which an operator should mend.
    pub fn advice(
        name: &'static str,
        holds: impl Fn() -> Result<(), Cow<'static, str>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            advice: true,
            ..Self::new(name, holds)
        }
    }

    fn fails(&self) -> bool {
        !self.advice && (self.holds)().is_err()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The checks of one process; clones share them. They are others once a process that waited serves.
#[derive(Clone, Debug)]
pub struct Checks(Arc<RwLock<Arc<[Check]>>>);

impl Checks {
    /// What holds from now on decides.
    pub fn new(checks: Vec<Check>) -> Self {
        Self(Arc::new(RwLock::new(checks.into())))
    }

    /// These decide from now on.
    pub fn replace(&self, checks: Vec<Check>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = checks.into();
    }

    fn all(&self) -> Arc<[Check]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The routes of the admin listener of one role: `/livez`, `/readyz` (`?verbose` lists `checks`), `/metrics`,
/// `/version`. The metric `unefois.ready` of `role` follows the same checks.
pub fn router(role: &'static str, checks: Checks, metrics: Metrics) -> Router {
    let gauged = checks.clone();
    metrics::meter()
        .u64_observable_gauge(metrics::READY)
        .with_callback(move |ready| {
            let value = !gauged.all().iter().any(Check::fails);
            ready.observe(value.into(), &[KeyValue::new(metrics::ROLE, role)]);
        })
        .build();
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(checks))
        .route("/metrics", get(exposition).with_state(metrics))
        .route("/version", get(version))
}

async fn readyz(State(checks): State<Checks>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let mut ready = true;
    let mut list = String::new();
    for Check { name, advice, holds } in checks.all().iter() {
        // Writing to a string cannot fail.
        let _ = match holds() {
            Ok(()) => writeln!(list, "[+] {name}"),
            Err(missing) if *advice => writeln!(list, "[!] {name}: {missing}"),
            Err(missing) => {
                ready = false;
                writeln!(list, "[-] {name}: {missing}")
            }
        };
    }
    let (status, verdict) = match ready {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    };
    let verbose = query.is_some_and(|query| query == "verbose" || query.starts_with("verbose="));
    (
        status,
        if verbose {
            list + verdict
        } else {
            verdict.to_owned()
        },
    )
}

async fn exposition(State(metrics): State<Metrics>) -> impl IntoResponse {
    match metrics.text() {
        Ok(text) => (
            StatusCode::OK,
            [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            text,
        ),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be shown");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
                "metrics cannot be shown; the log says why\n".to_owned(),
            )
        }
    }
}

async fn version() -> impl IntoResponse {
    Json(json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") }))
}
