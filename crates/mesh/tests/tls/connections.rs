//! What a reload does to connections that are open, and to those that come.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tonic_health::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use unefois_mesh::{Connector, Credential, HttpsClient, HttpsError, Identity, PeerId, PeerRefusal};

use crate::world::{DAY_MS, Pem, WAIT, World, leaf, participant, world};

async fn watch(world: &World, pem: &Pem) -> tonic::Streaming<HealthCheckResponse> {
    let mut client = world.health_client(pem);
    let mut stream = client
        .watch(HealthCheckRequest::default())
        .await
        .expect("connected")
        .into_inner();
    stream
        .message()
        .await
        .expect("a first answer")
        .expect("a first answer");
    stream
}

/// Waits for the end of a stream, which must be an error.
async fn cut(mut stream: tonic::Streaming<HealthCheckResponse>) {
    let ended = tokio::time::timeout(WAIT, stream.message())
        .await
        .expect("the stream is cut");
    ended.expect_err("a cut stream ends with an error");
}

/// A stream that lives passes on the next change.
async fn lives(world: &World, mut stream: tonic::Streaming<HealthCheckResponse>) {
    world
        .health
        .set_service_status("", ServingStatus::NotServing)
        .await;
    let next = tokio::time::timeout(WAIT, stream.message())
        .await
        .expect("an answer");
    next.expect("the stream lives").expect("an answer");
}

#[tokio::test]
async fn a_revoked_peer_is_cut_and_the_others_live_on() {
    let world = world().await;
    let (one, two) = (world.member(1), world.member(2));
    let (stream_one, stream_two) = (watch(&world, &one).await, watch(&world, &two).await);

    let crl = world.authority.crl(&[one.credential().serial]);
    world.trust.replace_pem(&world.authority.cert, &crl).unwrap();
    cut(stream_one).await;
    lives(&world, stream_two).await;

    world.stop().await;
    assert_eq!(world.refusals.of(PeerRefusal::Revoked), 1);
    assert!(world.log.text().contains("connection cut"));
}

#[tokio::test]
async fn a_key_that_leaves_the_directory_is_cut() {
    let world = world().await;
    let pem = world.member(1);
    let stream = watch(&world, &pem).await;

    let key = (PeerId::Participant(participant(1)), pem.credential().spki_sha256);
    world.directory.lock().unwrap().remove(&key);
    world.trust.touch();
    cut(stream).await;
    assert_eq!(world.refusals.of(PeerRefusal::NotInDirectory), 1);
}

#[tokio::test]
async fn i9_a_stale_crl_cuts_too() {
    let world = world().await;
    let stream = watch(&world, &world.member(1)).await;
    world.clock.advance_ms(DAY_MS + 1_000);
    world.trust.touch();
    cut(stream).await;
    assert_eq!(world.refusals.of(PeerRefusal::StaleCrl), 1);
}

/// A client drops its server too, before the next byte.
#[tokio::test]
async fn a_revoked_server_is_dropped() {
    let world = world().await;
    let stream = watch(&world, &world.member(1)).await;
    let crl = world.authority.crl(&[world.identity.current().serial.clone()]);
    world
        .client_trust
        .replace_pem(&world.authority.cert, &crl)
        .unwrap();
    world
        .health
        .set_service_status("", ServingStatus::NotServing)
        .await;
    cut(stream).await;
}

#[tokio::test]
async fn i9_a_client_whose_crl_is_stale_drops_its_server() {
    let world = world().await;
    let stream = watch(&world, &world.member(1)).await;
    world.clock.advance_ms(DAY_MS + 1_000);
    world
        .health
        .set_service_status("", ServingStatus::NotServing)
        .await;
    cut(stream).await;
}

#[tokio::test]
async fn a_reload_that_fails_changes_nothing() {
    let world = world().await;
    let pem = world.member(1);
    let stream = watch(&world, &pem).await;
    for (authorities, crls) in [
        ("", ""),
        ("garbage", ""),
        (
            world.authority.cert.as_str(),
            "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        ),
    ] {
        world
            .trust
            .replace_pem(authorities, crls)
            .expect_err("not a bundle");
    }
    assert!(
        Credential::from_pem(&pem.cert, &world.member(2).key).is_err(),
        "the key of another"
    );
    lives(&world, stream).await;
}

async fn whoami(client: &HttpsClient, world: &World) -> String {
    let url = format!("https://{}/whoami", world.address).parse().unwrap();
    let answer = client
        .request(Method::GET, &url, HeaderMap::new(), Bytes::new(), WAIT, 1024)
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body.to_vec()).unwrap()
}

async fn whoami_anew(connector: &Connector, world: &World) -> String {
    whoami(&connector.https(&world.target()), world).await
}

/// The peer that handlers see is the certificate of the connection, so that a token bound to another certificate of
/// the same participant does not match it.
#[tokio::test]
async fn i5_the_peer_is_the_certificate_of_the_connection() {
    let world = world().await;
    let (first, second) = (world.member(1), world.member(1));
    let (seen_first, seen_second) = (
        whoami_anew(&world.connector(&first), &world).await,
        whoami_anew(&world.connector(&second), &world).await,
    );
    for (pem, seen) in [(&first, &seen_first), (&second, &seen_second)] {
        let der =
            <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(
                pem.cert.as_bytes(),
            );
        let peer = unefois_mesh::Peer::from_der(&der.unwrap()).unwrap();
        assert_eq!(
            *seen,
            format!("{} {} {}", participant(1), peer.serial, peer.x5t_s256())
        );
    }
    assert_ne!(seen_first, seen_second);
}

#[tokio::test]
async fn a_new_client_certificate_shows_without_a_restart() {
    let world = world().await;
    let (old, new) = (world.member(1), world.member(1));
    let identity = Arc::new(Identity::new(old.credential()));
    let connector = world.connector_of(&identity);
    let kept = connector.https(&world.target());
    let before = whoami(&kept, &world).await;
    let pinned = connector.with_credential(identity.current());

    identity.replace(new.credential());
    assert_eq!(whoami(&kept, &world).await, before, "an open connection goes on");
    assert_ne!(whoami_anew(&connector, &world).await, before);
    assert_eq!(
        whoami_anew(&pinned, &world).await,
        before,
        "a token's credential stays usable"
    );
    world.stop().await;
    assert!(
        PeerRefusal::ALL
            .iter()
            .all(|refusal| world.refusals.of(*refusal) == 0),
        "no call was refused"
    );
}

#[tokio::test]
async fn a_new_server_certificate_shows_without_a_restart() {
    let world = world().await;
    let connector = world.connector(&world.member(1));
    let kept = connector.https(&world.target());
    whoami(&kept, &world).await;

    // The clients' directory drops the old key: only the new certificate can please them.
    let old = world.identity.current().spki_sha256;
    world
        .identity
        .replace(world.list(0, world.authority.issue(&leaf(0))).credential());
    world
        .directory
        .lock()
        .unwrap()
        .remove(&(PeerId::Participant(participant(0)), old));
    whoami_anew(&connector, &world).await;
    whoami(&kept, &world).await;
}

#[tokio::test]
async fn files_are_read_again_and_a_half_written_pair_is_not_taken_up() {
    let world = world().await;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (old, new) = (world.member(1), world.member(1));
    std::fs::write(path("cert.pem"), &old.cert).unwrap();
    std::fs::write(path("cert.key"), &old.key).unwrap();
    let identity = Identity::load(path("cert.pem"), path("cert.key")).unwrap();

    std::fs::write(path("cert.pem"), &new.cert).unwrap();
    identity.reload().expect_err("the key is still the old one");
    assert_eq!(identity.current().cert_sha256, old.credential().cert_sha256);
    std::fs::write(path("cert.key"), &new.key).unwrap();
    identity.reload().unwrap();
    assert_eq!(identity.current().cert_sha256, new.credential().cert_sha256);

    let crl = world.authority.crl(&[]);
    std::fs::write(path("ca.pem"), &world.authority.cert).unwrap();
    std::fs::write(path("ca.crl"), &crl).unwrap();
    let trust = unefois_mesh::Trust::load(path("ca.pem"), path("ca.crl")).unwrap();
    let half = &crl[..crl.len() / 2];
    for unfinished in [
        "",
        half,
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    ] {
        std::fs::write(path("ca.crl"), unfinished).unwrap();
        trust.reload().expect_err(unfinished);
    }
    std::fs::write(path("ca.crl"), &crl).unwrap();
    trust.reload().unwrap();
}

#[tokio::test]
async fn https_answers_are_bounded_and_stay_at_the_participant() {
    let world = world().await;
    let client = world.connector(&world.member(1)).https(&world.target());
    let url = format!("https://{}/whoami", world.address).parse().unwrap();
    let ask = |url, most| client.request(Method::GET, url, HeaderMap::new(), Bytes::new(), WAIT, most);
    assert!(matches!(ask(&url, 8).await, Err(HttpsError::TooLarge)));
    for foreign in [
        "https://elsewhere.example/whoami",
        &format!("http://{}/whoami", world.address),
        "/whoami",
    ] {
        let foreign = foreign.parse().unwrap();
        let answer = client
            .request(Method::GET, &foreign, HeaderMap::new(), Bytes::new(), WAIT, 1024)
            .await;
        assert!(matches!(answer, Err(HttpsError::ForeignUrl(_))), "{foreign}");
    }
    world.stop().await;
    let failed = ask(&url, 1024).await.expect_err("stopped");
    assert!(failed.connect_error().is_some(), "{failed:?}");
}
