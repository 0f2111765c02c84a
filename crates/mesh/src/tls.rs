use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig};
use unefois_core::Clock;

use crate::Identity;
use crate::trust::{Admission, ClientSide, ServerSide};

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// The cryptography of every TLS connection.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The time of handshakes is the process's clock.
struct Time(Arc<dyn Clock>);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(&*self.0))
    }
}

pub(crate) fn unix_time(clock: &dyn Clock) -> UnixTime {
    let secs = u64::try_from(clock.now().secs()).unwrap_or(0);
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs))
}

/// A server that wants a client certificate where `admission` is given.
///
/// TLS 1.3 only. No session is resumed: a resumed one would not be verified again, so that a revoked certificate
/// would go on being served.
pub(crate) fn server(
    identity: &Arc<Identity>,
    admission: Option<Admission>,
    clock: &Arc<dyn Clock>,
) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_details(provider(), Arc::new(Time(Arc::clone(clock))))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has the cipher suites of TLS 1.3");
    let builder = match admission {
        Some(admission) => builder.with_client_cert_verifier(Arc::new(ServerSide(admission))),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(identity) as Arc<_>);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    Arc::new(config)
}

/// A client that accepts the one server that `admission` expects, and shows `identity`.
pub(crate) fn client(
    identity: Arc<dyn rustls::client::ResolvesClientCert>,
    admission: Admission,
    clock: &Arc<dyn Clock>,
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(Time(Arc::clone(clock))))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has the cipher suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ClientSide(admission)))
        .with_client_cert_resolver(identity);
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![H2.to_vec()];
    Arc::new(config)
}
