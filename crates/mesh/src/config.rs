use serde::Deserialize;

/// `[limits]`: what peers may ask of one listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections open at once.
    pub connections: u16,
    /// Connections open at once from one peer.
    pub connections_per_peer: u16,
    /// Connections open at once from one address (of IPv6: one network of 64 bits), where a listener has TLS.
    pub connections_per_address: u16,
    /// Handshakes under way at once; an eighth of them from one address. More wait as long as one may take.
    pub handshakes: u16,
    /// Longest time for a handshake.
    pub handshake_ms: u32,
    /// Streams open at once on one connection.
    pub streams: u16,
    /// Largest list of headers of a request.
    pub header_bytes: u32,
    /// Calls under way at once from one peer; one more gets RESOURCE_EXHAUSTED. The streams of the revocation and
    /// directory services do not count.
    pub concurrent_calls: u16,
    /// Longest time until a call's answer begins; a caller may set less.
    pub deadline_ms: u32,
    /// Largest request message, and largest body of a request that is not gRPC.
    pub request_bytes: u32,
    /// How long a part of an answer may wait for its peer to take it, over HTTP/2; then the stream is reset.
    pub write_ms: u32,
    /// How long a connection may have no call under way, from its start on; then it is asked to end.
    pub idle_ms: u32,
    /// Age at which a connection is asked to end, so that both sides' certificates are shown again.
    pub connection_age_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_peer: 32,
            connections_per_address: 128,
            handshakes: 64,
            handshake_ms: 5_000,
            streams: 128,
            header_bytes: 16 * 1024,
            concurrent_calls: 64,
            deadline_ms: 10_000,
            request_bytes: 256 * 1024,
            write_ms: 10_000,
            idle_ms: 60_000,
            connection_age_s: 3_600,
        }
    }
}
