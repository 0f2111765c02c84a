use std::path::PathBuf;

use serde::Deserialize;

/// `[consumer]`: what a node that asks for justificatifs offers to its own house.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerConfig {
    /// 32 secret bytes (raw, hexadecimal or base64) behind what is stored at rest: grants, refresh tokens, requests.
    /// Shared by all that the node serves, and by its replicas; never rotated while a grant lives.
    pub rest_key: PathBuf,
    /// The Unix socket of the node's own participant's back-office, open to the node's user and group.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// The address of the back-office service over mutual TLS, for certificates of this very participant, and of each body
    /// that the node hosts.
    #[serde(default)]
    pub listen: Option<std::net::SocketAddr>,
    /// How a Fetch spends its time.
    #[serde(default)]
    pub fetch: FetchConfig,
}

/// `[consumer.fetch]`: how a Fetch spends its time.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FetchConfig {
    /// Longest time for one Fetch, every attempt included; a back-office may set less.
    pub deadline_ms: u32,
    /// Most calls that one Fetch makes, under one request id.
    pub attempts: u8,
    /// Retries allowed in a row over all fetches; each fetch that needs none earns a tenth of one.
    pub retry_budget: u16,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            deadline_ms: 10_000,
            attempts: 3,
            retry_budget: 20,
        }
    }
}
