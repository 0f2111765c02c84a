use std::os::unix::fs::PermissionsExt as _;

use super::*;

const SIRET: &str = "urn:unefois:participant:13000495500014";

fn now() -> Micros {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

fn random() -> unefois_mesh::SystemRandom {
    unefois_mesh::SystemRandom::new()
}

fn ca() -> Ca {
    Ca::new("Test CA", Validity::days(now(), 365), &random()).unwrap()
}

fn node() -> LeafRequest {
    LeafRequest {
        profile: Profile::Node,
        identity: Some(SIRET.parse().unwrap()),
        common_name: "node".to_owned(),
        names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        validity: Validity::days(now(), 90),
    }
}

#[test]
fn refuses_what_does_not_fit_the_profile() {
    let mut ca = ca();
    let auditor = "urn:unefois:auditor:cour".parse().ok();
    let refused: [(&str, LeafRequest); 7] = [
        (
            "nobody",
            LeafRequest {
                identity: None,
                ..node()
            },
        ),
        (
            "an auditor",
            LeafRequest {
                identity: auditor.clone(),
                ..node()
            },
        ),
        (
            "no name",
            LeafRequest {
                names: vec![],
                ..node()
            },
        ),
        (
            "a wrong name",
            LeafRequest {
                names: vec!["a b".to_owned()],
                ..node()
            },
        ),
        (
            "a participant on the web",
            LeafRequest {
                profile: Profile::Web,
                ..node()
            },
        ),
        (
            "an auditor with names",
            LeafRequest {
                profile: Profile::Auditor,
                identity: auditor,
                ..node()
            },
        ),
        (
            "an empty validity",
            LeafRequest {
                validity: Validity {
                    not_before: now(),
                    not_after: now(),
                },
                ..node()
            },
        ),
    ];
    for (what, request) in refused {
        ca.issue(&request, &random()).expect_err(what);
    }
    assert!(ca.index().issued.is_empty());
}

#[test]
fn a_serial_is_revoked_once_and_only_if_issued() {
    let mut ca = ca();
    let issued = ca.issue(&node(), &random()).unwrap();
    let stranger = Serial::from_bytes(&[1]);
    assert!(matches!(
        ca.revoke(&stranger, now()),
        Err(Error::UnknownSerial(_))
    ));
    ca.revoke(&issued.serial, now()).unwrap();
    assert!(matches!(
        ca.revoke(&issued.serial, now()),
        Err(Error::AlreadyRevoked(_))
    ));
}

#[test]
fn every_profile_makes_the_certificate_it_describes() {
    let mut ca = ca();
    for profile in Profile::ALL {
        let names = matches!(profile, Profile::Node | Profile::Authority | Profile::Web);
        let identity = match profile {
            Profile::Auditor => Some("urn:unefois:auditor:cour"),
            Profile::Web => None,
            Profile::Node | Profile::Authority | Profile::Client => Some(SIRET),
        };
        let request = LeafRequest {
            profile,
            identity: identity.map(|id| id.parse().unwrap()),
            names: if names { node().names } else { vec![] },
            ..node()
        };
        let issued = ca.issue(&request, &random()).unwrap();
        let facts = facts("-", &issued.cert_pem).unwrap().remove(0);

        let uri = identity.map(|id| format!("URI:{id}"));
        let names = if names {
            &["DNS:localhost", "IP:127.0.0.1"][..]
        } else {
            &[]
        };
        let sans: Vec<_> = uri
            .into_iter()
            .chain(names.iter().map(|&n| n.to_owned()))
            .collect();
        assert_eq!(facts.sans, sans, "{profile}");
        let usages: &[_] = match profile {
            Profile::Node | Profile::Authority => &["serverAuth", "clientAuth"],
            Profile::Client | Profile::Auditor => &["clientAuth"],
            Profile::Web => &["serverAuth"],
        };
        assert_eq!(facts.usages, usages, "{profile}");
        assert_eq!(facts.serial, issued.serial.to_string());
        assert_eq!(issued.serial.as_bytes().len(), 16);
        assert_eq!(facts.not_after, request.validity.not_after.to_rfc3339());
        assert!(!facts.ca);
    }
}

#[test]
fn a_crl_names_what_was_revoked_and_counts() {
    let mut ca = ca();
    let issued = ca.issue(&node(), &random()).unwrap();
    let kept = ca.issue(&node(), &random()).unwrap();
    ca.revoke(&issued.serial, now()).unwrap();
    assert!(matches!(ca.crl(now(), now()), Err(Error::InvalidValidity)));

    let pem = ca.crl(now(), now().plus_ms(1000)).unwrap();
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let (_, crl) = x509_parser::parse_x509_crl(&block.contents).unwrap();
    let serials: Vec<_> = crl
        .iter_revoked_certificates()
        .map(|r| Serial::from_bytes(r.raw_serial()))
        .collect();
    assert_eq!(serials, [issued.serial]);
    assert_ne!(serials, [kept.serial]);
    assert_eq!(ca.index().crl_number, 1);
}

#[test]
fn a_folder_is_not_overwritten_and_remembers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca");
    let window = (now(), now().plus_ms(86_400_000));
    let mut folder = CaFolder::init(&path, "Test CA", Validity::days(now(), 365), window, &random()).unwrap();
    let issued = folder.issue(&node(), &random()).unwrap();
    folder.revoke(&issued.serial, now()).unwrap();
    drop(folder);

    let again = CaFolder::init(&path, "Other", Validity::days(now(), 365), window, &random());
    assert!(matches!(again, Err(Error::Exists(_))));
    let mode = std::fs::metadata(path.join("ca.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut folder = CaFolder::open(&path).unwrap();
    assert!(matches!(
        folder.revoke(&issued.serial, now()),
        Err(Error::AlreadyRevoked(_))
    ));
    folder.crl(window.0, window.1).unwrap();
    assert_eq!(folder.ca().index().crl_number, 2);

    let stem = dir.path().join("node");
    let (_, key) = folder::write_pair(&stem, &issued).unwrap();
    assert!(matches!(
        folder::write_pair(&stem, &issued),
        Err(Error::Exists(_))
    ));
    assert_eq!(
        std::fs::metadata(key).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_text_that_is_no_certificate_is_said_so() {
    for text in [
        "",
        "hello",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert!(
            matches!(facts("x.pem", text), Err(Error::Malformed { .. })),
            "{text}"
        );
    }
}

#[derive(Debug)]
struct FixedClock;

impl unefois_core::Clock for FixedClock {
    fn now(&self) -> Micros {
        now()
    }

    fn boottime(&self) -> unefois_core::Boot {
        unefois_core::Boot::new(0)
    }
}

#[tokio::test]
async fn the_mesh_accepts_what_is_issued_and_refuses_what_is_revoked() {
    use std::sync::Arc;
    use unefois_mesh::{
        ConnectError, Connector, Credential, Identity, Limits, Listener, PeerGate, Target, Trust,
    };

    let mut ca = ca();
    let identity = |issued: &Issued| {
        Arc::new(Identity::new(
            Credential::from_pem(&issued.cert_pem, &issued.key_pem).unwrap(),
        ))
    };
    let server = ca.issue(&node(), &random()).unwrap();
    let auditor = LeafRequest {
        profile: Profile::Auditor,
        identity: "urn:unefois:auditor:cour".parse().ok(),
        names: vec![],
        ..node()
    };
    let client = ca.issue(&auditor, &random()).unwrap();
    let crl = ca.crl(now(), now().plus_ms(1_000)).unwrap();
    let trust = Arc::new(Trust::from_pem(ca.cert_pem(), &crl).unwrap());
    let gate: PeerGate = Arc::new(|_| Ok(()));
    let clock: Arc<dyn unefois_core::Clock> = Arc::new(FixedClock);

    let any_port = ([127, 0, 0, 1], 0).into();
    let server = identity(&server);
    let listener = Listener::mesh(
        any_port,
        &server,
        &trust,
        Arc::clone(&gate),
        &clock,
        Limits::default(),
    );
    let listener = listener.await.unwrap();
    let target = Target {
        peer: "urn:unefois:participant:13000495500014".parse().unwrap(),
        authority: listener.local_addr().unwrap().to_string().parse().unwrap(),
    };
    let tasks = tokio_util::task::TaskTracker::new();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let router = axum::Router::new().route("/", axum::routing::get(|| async { "ici" }));
    tasks.spawn(listener.serve(router, shutdown.clone()));
    let connector = Connector::new(Arc::clone(&trust), gate, identity(&client), clock);
    let url: http::Uri = format!("https://{}/", target.authority).parse().unwrap();
    let ask = async || {
        let (get, wait) = (http::Method::GET, std::time::Duration::from_secs(10));
        let https = connector.https(&target);
        https
            .request(get, &url, http::HeaderMap::new(), Default::default(), wait, 64)
            .await
    };
    assert_eq!(ask().await.unwrap().body, "ici");

    ca.revoke(&client.serial, now()).unwrap();
    let crl = ca.crl(now(), now().plus_ms(1_000)).unwrap();
    trust.replace_pem(ca.cert_pem(), &crl).unwrap();
    let refused = ask().await.expect_err("revoked");
    assert!(
        matches!(refused.connect_error(), Some(ConnectError::RefusedByPeer { .. })),
        "{refused:?}"
    );
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
}
