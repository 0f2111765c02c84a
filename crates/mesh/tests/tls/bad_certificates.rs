//! Each bad certificate is refused, with its reason in the listener's record and log, and a client that can say
//! which peer refused and what to check.

use std::sync::Arc;

use rcgen::ExtendedKeyUsagePurpose;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic_health::pb::HealthCheckRequest;
use unefois_mesh::{ConnectError, PeerRefusal};

use crate::world::{Authority, DAY_MS, Leaf, Pem, WAIT, World, leaf, participant, self_signed, start, world};

/// Calls with `pem`, which must be refused for `refusal` alone, and returns what the client can tell its operator.
async fn refused(world: &World, pem: &Pem, refusal: PeerRefusal) -> String {
    let status = world
        .health_client(pem)
        .check(HealthCheckRequest::default())
        .await
        .expect_err("refused");
    let error = ConnectError::of(&status).unwrap_or_else(|| panic!("no reason in {status:?}"));
    assert!(matches!(error, ConnectError::RefusedByPeer { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.starts_with(&participant(0).to_string()) && text.contains(&world.address.to_string()),
        "{text}"
    );

    world.stop().await;
    for other in PeerRefusal::ALL {
        assert_eq!(world.refusals.of(other), u64::from(other == refusal), "{other}");
    }
    let log = world.log.text();
    assert!(
        log.contains("handshake refused") && log.contains(&format!("reason={refusal}")),
        "{log}"
    );
    text
}

#[tokio::test]
async fn expired() {
    let world = world().await;
    let pem = world.list(
        1,
        world.authority.issue(&Leaf {
            not_after: start().plus_ms(-1_000),
            ..leaf(1)
        }),
    );
    let text = refused(&world, &pem, PeerRefusal::Expired).await;
    assert!(text.contains("expired or not yet valid"), "{text}");
}

#[tokio::test]
async fn not_yet_valid() {
    let world = world().await;
    let pem = world.list(
        1,
        world.authority.issue(&Leaf {
            not_before: start().plus_ms(DAY_MS),
            ..leaf(1)
        }),
    );
    let text = refused(&world, &pem, PeerRefusal::NotYetValid).await;
    assert!(text.contains("expired or not yet valid"), "{text}");
}

#[tokio::test]
async fn other_authority() {
    let world = world().await;
    let pem = world.list(1, Authority::new("elsewhere").issue(&leaf(1)));
    let text = refused(&world, &pem, PeerRefusal::UnknownIssuer).await;
    assert!(text.contains("issuer is not trusted"), "{text}");
}

/// An authority of the same name with another key is no issuer either.
#[tokio::test]
async fn other_authority_of_the_same_name() {
    let world = world().await;
    let pem = world.list(1, Authority::new("mesh").issue(&leaf(1)));
    refused(&world, &pem, PeerRefusal::Invalid).await;
}

#[tokio::test]
async fn no_client_auth() {
    let world = world().await;
    let pem = world.list(
        1,
        world.authority.issue(&Leaf {
            usages: vec![ExtendedKeyUsagePurpose::ServerAuth],
            ..leaf(1)
        }),
    );
    let text = refused(&world, &pem, PeerRefusal::WrongUsage).await;
    assert!(text.contains("clientAuth"), "{text}");
}

/// No usage at all is not every usage.
#[tokio::test]
async fn no_usage() {
    let world = world().await;
    let pem = world.list(
        1,
        world.authority.issue(&Leaf {
            usages: vec![],
            ..leaf(1)
        }),
    );
    refused(&world, &pem, PeerRefusal::WrongUsage).await;
}

#[tokio::test]
async fn no_san() {
    let world = world().await;
    let pem = world.list(
        1,
        world.authority.issue(&Leaf {
            sans: vec![],
            ..leaf(1)
        }),
    );
    let text = refused(&world, &pem, PeerRefusal::NoParticipantName).await;
    assert!(text.contains("names no participant"), "{text}");
}

#[tokio::test]
async fn two_names() {
    let world = world().await;
    let sans = vec![participant(1).to_string(), participant(2).to_string()];
    let pem = world.list(1, world.authority.issue(&Leaf { sans, ..leaf(1) }));
    refused(&world, &pem, PeerRefusal::SeveralNames).await;
}

#[tokio::test]
async fn revoked() {
    let world = world().await;
    let pem = world.member(1);
    let crl = world.authority.crl(&[pem.credential().serial]);
    world.trust.replace_pem(&world.authority.cert, &crl).unwrap();
    let text = refused(&world, &pem, PeerRefusal::Revoked).await;
    assert!(text.contains("revoked"), "{text}");
}

#[tokio::test]
async fn i9_stale_crl_refuses() {
    let world = world().await;
    let pem = world.member(1);
    // The certificate holds on; the CRL ended.
    world.clock.advance_ms(DAY_MS + 1_000);
    world
        .client_trust
        .replace_pem(&world.authority.cert, &world.authority.crl(&[]))
        .unwrap();
    let status = world
        .health_client(&pem)
        .check(HealthCheckRequest::default())
        .await
        .expect_err("stale here");
    let text = ConnectError::of(&status).expect("a reason").to_string();
    assert!(text.contains("stale CRL") && text.contains("ca crl"), "{text}");

    // The client's own CRL is stale too; one whose CRL is fresh is refused by the server.
    let fresh_client = tls_client(&pem);
    let alert = first_word(&world, &fresh_client).await.expect_err("stale there");
    assert_eq!(alert, AlertDescription::UnknownCA);
    world.stop().await;
    assert_eq!(world.refusals.of(PeerRefusal::StaleCrl), 1);
    assert!(world.log.text().contains("reason=stale CRL"));
}

#[tokio::test]
async fn i9_no_crl_refuses() {
    let world = world().await;
    let pem = world.member(1);
    world.trust.replace_pem(&world.authority.cert, "").unwrap();
    refused(&world, &pem, PeerRefusal::NoCrl).await;
}

/// A CRL of another authority says nothing of ours.
#[tokio::test]
async fn i9_crl_of_another_issuer_refuses() {
    let world = world().await;
    let pem = world.member(1);
    world
        .trust
        .replace_pem(&world.authority.cert, &Authority::new("elsewhere").crl(&[]))
        .unwrap();
    refused(&world, &pem, PeerRefusal::NoCrl).await;
}

#[tokio::test]
async fn self_signed_certificate() {
    let world = world().await;
    let pem = world.list(1, self_signed(&leaf(1)));
    refused(&world, &pem, PeerRefusal::UnknownIssuer).await;
}

#[tokio::test]
async fn san_not_in_the_directory() {
    let world = world().await;
    let pem = world.authority.issue(&leaf(1));
    let text = refused(&world, &pem, PeerRefusal::NotInDirectory).await;
    assert!(text.contains("directory"), "{text}");
}

#[tokio::test]
async fn key_not_in_the_directory() {
    let world = world().await;
    world.member(1);
    let other_key = world.authority.issue(&leaf(1));
    let text = refused(&world, &other_key, PeerRefusal::KeyNotInDirectory).await;
    assert!(text.contains("directory"), "{text}");
}

#[tokio::test]
async fn no_certificate() {
    let world = world().await;
    let config = client_builder().with_no_client_auth();
    let alert = first_word(&world, &Arc::new(config)).await.expect_err("refused");
    assert_eq!(alert, AlertDescription::CertificateRequired);
    world.stop().await;
    assert_eq!(world.refusals.of(PeerRefusal::NoCertificate), 1);
}

/// A client that keeps its sessions is verified again all the same.
#[tokio::test]
async fn revoked_with_a_kept_session_cache() {
    let world = world().await;
    let pem = world.member(1);
    let client = tls_client(&pem);
    assert_eq!(first_word(&world, &client).await, Ok(HandshakeKind::Full));
    assert_eq!(
        first_word(&world, &client).await,
        Ok(HandshakeKind::Full),
        "no session to resume"
    );

    let crl = world.authority.crl(&[pem.credential().serial]);
    world.trust.replace_pem(&world.authority.cert, &crl).unwrap();
    assert_eq!(
        first_word(&world, &client).await,
        Err(AlertDescription::CertificateRevoked)
    );
    world.stop().await;
    let log = world.log.text();
    let refused = log
        .lines()
        .filter(|line| line.contains("handshake refused") && line.contains("reason=revoked"));
    assert_eq!(refused.count(), 1, "{log}");
}

/// A certificate chain that a client refuses is named by the client alone.
#[tokio::test]
async fn a_server_that_is_not_the_one_called() {
    let world = world().await;
    let pem = world.member(1);
    let mut target = world.target();
    target.peer = participant(2);
    let channel = world.connector(&pem).channel(&target, WAIT);
    let mut client = tonic_health::pb::health_client::HealthClient::new(channel);
    let status = client
        .check(HealthCheckRequest::default())
        .await
        .expect_err("another participant");
    let error = ConnectError::of(&status).expect("a reason");
    assert!(
        matches!(
            error,
            ConnectError::PeerRefused {
                refusal: PeerRefusal::OtherParticipant,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_revoked() {
    let world = world().await;
    let pem = world.member(1);
    let crl = world.authority.crl(&[world.identity.current().serial.clone()]);
    world
        .client_trust
        .replace_pem(&world.authority.cert, &crl)
        .unwrap();
    let status = world
        .health_client(&pem)
        .check(HealthCheckRequest::default())
        .await
        .expect_err("revoked");
    let error = ConnectError::of(&status).expect("a reason");
    assert!(
        matches!(
            error,
            ConnectError::PeerRefused {
                refusal: PeerRefusal::Revoked,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_there() {
    let world = world().await;
    let pem = world.member(1);
    world.stop().await;
    let status = world
        .health_client(&pem)
        .check(HealthCheckRequest::default())
        .await
        .expect_err("closed");
    let error = ConnectError::of(&status).expect("a reason");
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

/// A foreign client with rustls' defaults, session cache included, that accepts any server.
fn tls_client(pem: &Pem) -> Arc<ClientConfig> {
    let chain = CertificateDer::pem_slice_iter(pem.cert.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).unwrap();
    Arc::new(client_builder().with_client_auth_cert(chain, key).unwrap())
}

fn client_builder() -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
}

/// Connects and reads the server's first bytes, or the alert that comes instead.
async fn first_word(world: &World, client: &Arc<ClientConfig>) -> Result<HandshakeKind, AlertDescription> {
    let mut config = (**client).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(world.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .expect("TLS 1.3: done first");
    match stream.read_u8().await {
        Ok(_) => Ok(stream.get_ref().1.handshake_kind().unwrap()),
        Err(error) => match error.get_ref().and_then(|e| e.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => Err(*alert),
            other => panic!("neither word nor alert: {other:?}"),
        },
    }
}

#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
