//! Each check of the order, by the reason that it gives.

use std::time::Duration;

use tonic::Status;
use unefois_core::authorization::{Mode, ModeKind};
use unefois_core::directory::{ClosedWindow, Day, DirectoryDocument, WindowRow};
use unefois_core::revocation::Withdrawal;
use unefois_core::{Acr, Event, LegalBasis, Outcome, ParticipantId, Reason, RevocationView, SubjectKind};
use unefois_jose::{SigningKey, access_token};
use unefois_mesh::status::Refusal;
use unefois_proto::pb::exchange::v1 as pb;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::world::{
    Caller, Grant, Running, World, authority_id, case, consumer_id, producer_id, stranger_id, until, x5t,
};

const DOCUMENT: &str = r#"{"data":{"montant":900,"taux":12.50,"membres":[{"nom":"EXEMPLE"}]}}"#;

async fn world() -> World {
    World::new(&[("exemple.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await
}

/// The reason of a refusal, which stands in the ledger under the name of whoever called.
async fn recorded(
    node: &Running,
    caller: &Caller,
    requester: ParticipantId,
    request: pb::FetchRequest,
) -> (Reason, Status) {
    let before = node.entries().await.len();
    let (reason, status) = caller.refused(request).await;
    let entries = node.entries().await.split_off(before);
    let told: Vec<_> = (entries.iter().filter(|entry| entry.event == Event::Refused))
        .map(|entry| (entry.reason, entry.requester))
        .collect();
    assert_eq!(told, [(Some(reason), Some(requester))]);
    (reason, status)
}

/// What a test changes in a grant before its token is minted, and the reason that it must give.
type Spoiled = (&'static str, fn(&mut Grant), Reason);

/// The TLS key is the publisher's, the token names it beside its tenant, and the directory says whether that is so.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_fetches_for_the_tenants_that_list_it_alone() {
    let world = world().await;
    let database = TestDatabase::sqlite();
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.stranger);
    let through = || {
        let mut grant = world.grant("EXEMPLE", &["montant"]);
        grant.claims.act_client = Some(stranger_id());
        grant.claims.cnf.x5t_s256 = x5t(&world.stranger.credential().cert_sha256);
        grant
    };
    let refused = async || caller.refused(world.request(&through())).await.0;
    assert_eq!(refused().await, Reason::NotEntitled);
    let list = |d: &mut DirectoryDocument, publishers: Vec<ParticipantId>| {
        let tenant = d.participants.iter_mut().find(|row| row.id == consumer_id());
        tenant.expect("the consumer").publishers = publishers;
    };
    world.publish(&node, |d| list(d, vec![authority_id()])).await;
    assert_eq!(refused().await, Reason::NotEntitled);

    world.publish(&node, |d| list(d, vec![stranger_id()])).await;
    caller.fetch(world.request(&through())).await.expect("a document");
    // A token of the tenant's own does not serve its publisher.
    let mut own = world.grant("EXEMPLE", &["montant"]);
    own.claims.cnf.x5t_s256 = x5t(&world.stranger.credential().cert_sha256);
    assert_eq!(caller.refused(world.request(&own)).await.0, Reason::NotEntitled);
    // A habilitation that names a publisher is of no use to another one, nor to the tenant itself.
    world
        .publish(&node, |d| {
            list(d, vec![stranger_id(), authority_id()]);
            d.habilitations[0].habilitation.publisher = Some(authority_id());
        })
        .await;
    assert_eq!(refused().await, Reason::NotEntitled);
    let tenant = world.caller(&node, &world.consumer);
    let itself = world.request(&world.grant("EXEMPLE", &["montant"]));
    assert_eq!(tenant.refused(itself).await.0, Reason::NotEntitled);

    let entries = node.entries().await;
    let told: Vec<_> = entries
        .iter()
        .map(|e| (e.event, e.reason, e.requester, e.publisher))
        .collect();
    let (tenant, publisher) = (Some(consumer_id()), Some(stranger_id()));
    let not_entitled = Some(Reason::NotEntitled);
    assert_eq!(
        told,
        [
            // Nobody believes a caller that it speaks for somebody else: the entry names itself.
            (Event::Refused, not_entitled, publisher, None),
            (Event::Refused, not_entitled, publisher, None),
            (Event::Released, None, tenant, publisher),
            (Event::Refused, not_entitled, publisher, None),
            (Event::Refused, not_entitled, tenant, publisher),
            (Event::Refused, not_entitled, tenant, None),
        ]
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_claim_that_is_wrong_has_its_reason() {
    let world = world().await;
    let database = TestDatabase::sqlite();
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let spoiled: &[Spoiled] = &[
        (
            "another issuer",
            |g| g.claims.iss = "https://autre.example".into(),
            Reason::TokenInvalid,
        ),
        (
            "another audience",
            |g| g.claims.aud = stranger_id(),
            Reason::TokenInvalid,
        ),
        ("expired", |g| shift(g, -100), Reason::TokenInvalid),
        ("not yet valid", |g| shift(g, 60), Reason::TokenInvalid),
        (
            "another certificate",
            |g| g.claims.cnf.x5t_s256 = "A".repeat(43),
            Reason::TokenBinding,
        ),
        (
            "another client",
            |g| g.claims.client_id = stranger_id(),
            Reason::NotEntitled,
        ),
        (
            "an unknown client",
            |g| {
                g.claims.client_id = "urn:unefois:participant:13000495500014"
                    .parse()
                    .expect("as the test arranges it")
            },
            Reason::NotEntitled,
        ),
        (
            "a publisher that is none",
            |g| g.claims.act_client = Some(stranger_id()),
            Reason::NotEntitled,
        ),
        (
            "a later view",
            |g| g.claims.rvk = RevocationView { epoch: 1, seq: 9 },
            Reason::RevocationStateStale,
        ),
        (
            "a later epoch",
            |g| g.claims.rvk = RevocationView { epoch: 2, seq: 0 },
            Reason::RevocationStateStale,
        ),
        (
            "another operator",
            |g| g.details().locations = [stranger_id()],
            Reason::TokenInvalid,
        ),
        (
            "no such habilitation",
            |g| g.details().habilitation = "DP-2".parse().expect("as the test arranges it"),
            Reason::NotEntitled,
        ),
        (
            "another démarche",
            |g| g.details().demarche = "bourse".parse().expect("as the test arranges it"),
            Reason::NotEntitled,
        ),
        (
            "another datatype",
            |g| g.details().datatypes = ["cnaf/revenu@2".parse().expect("as the test arranges it")],
            Reason::NotEntitled,
        ),
        (
            "a basis that is not the datatype's",
            |g| g.details().legal_basis = LegalBasis::Consent,
            Reason::LegalBlock,
        ),
        (
            "a level too low",
            |g| g.claims.acr = Acr::Eidas1,
            Reason::AcrTooLow,
        ),
        (
            "a level that the issuer may not assert",
            |g| g.claims.acr = Acr::Eidas3,
            Reason::AcrTooLow,
        ),
        (
            "an unknown identity provider",
            |g| g.claims.idp_iss = "https://idp.example".into(),
            Reason::AcrTooLow,
        ),
        ("another handle", |g| g.details().gh = None, Reason::TokenInvalid),
        (
            "another pivot",
            |g| g.claims.pivot_hash = "A".repeat(43),
            Reason::TokenInvalid,
        ),
        (
            "a pivot of another kind",
            |g| g.details().subject.kind = SubjectKind::Entity,
            Reason::NotEntitled,
        ),
    ];
    for (what, spoil, expected) in spoiled {
        let mut grant = world.grant("EXEMPLE", &["montant"]);
        spoil(&mut grant);
        let (reason, status) = recorded(&node, &caller, consumer_id(), world.request(&grant)).await;
        assert_eq!(reason, *expected, "{what}");
        assert!(
            !status.message().contains("EXEMPLE") && !status.message().contains("2026-0412"),
            "{what}"
        );
    }
    assert!(
        node.entries()
            .await
            .iter()
            .all(|entry| entry.event != Event::Released)
    );
    node.stop().await;
}

fn shift(grant: &mut Grant, seconds: i64) {
    let claims = &mut grant.claims;
    (claims.iat, claims.nbf, claims.exp) = (claims.iat + seconds, claims.nbf + seconds, claims.exp + seconds);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_refused_by_its_fields() {
    let world = world().await;
    let database = TestDatabase::sqlite();
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);

    let mut request = world.request(&grant);
    request.nonce.clear();
    request.request_id = "x".into();
    let (reason, status) = caller.refused(request).await;
    assert_eq!(reason, Reason::InvalidRequest);
    let fields: Vec<String> = Refusal::of(&status)
        .expect("as the test arranges it")
        .fields
        .into_iter()
        .map(|f| f.field)
        .collect();
    assert_eq!(fields, ["request_id", "nonce"]);

    for (what, spoil) in [
        (
            "units",
            (|r| r.units = vec!["autre".into()]) as fn(&mut unefois_proto::pb::exchange::v1::FetchRequest),
        ),
        ("token", |r| r.access_token = "a.b.c".into()),
        ("pivot", |r| r.pivot_jwe = "a..b.c.d".into()),
        ("unit", |r| r.units = vec!["foyer".into()]),
        ("dossier", |r| r.dossier_ref = "2026-0413".into()),
        ("demarche", |r| r.demarche = "bourse".into()),
        ("period", |r| r.period = "2026-01".into()),
        ("datatype", |r| r.datatype = "cnaf/revenu@2".into()),
    ] {
        let mut request = world.request(&grant);
        spoil(&mut request);
        let expected = match what {
            "units" => Reason::InvalidRequest,
            "token" | "pivot" => Reason::TokenInvalid,
            _ => Reason::UnitNotGranted,
        };
        assert_eq!(caller.refused(request).await.0, expected, "{what}");
    }
    // The caller's own word for the datatype is in no entry.
    let last = node.entries().await.pop().expect("the last refusal");
    assert_eq!(
        last.datatype.as_ref(),
        Some(grant.claims.authorization_details[0].datatype())
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_counts_only_by_a_key_of_the_directory() {
    let world = world().await;
    let database = TestDatabase::sqlite();
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);
    let other = SigningKey::generate(world.random.ring()).expect("as the test arranges it");
    let mut request = world.request(&grant);
    request.access_token = access_token::sign(&other, &grant.claims).expect("as the test arranges it");
    assert_eq!(
        recorded(&node, &caller, consumer_id(), request).await.0,
        Reason::TokenInvalid
    );

    let mut request = world.request(&grant);
    let last = request.access_token.pop().expect("as the test arranges it");
    request.access_token.push(if last == 'A' { 'B' } else { 'A' });
    assert_eq!(
        recorded(&node, &caller, consumer_id(), request).await.0,
        Reason::TokenInvalid
    );
    node.stop().await;
}

both_databases![
    i5_a_token_is_useless_with_another_certificate,
    nothing_leaves_from_the_end_that_the_person_chose
];

/// I5: a token that leaks is of no use to whoever finds it.
async fn i5_a_token_is_useless_with_another_certificate(database: TestDatabase) {
    let world = world().await;
    let node = world.node(database.url()).await;
    let grant = world.grant("EXEMPLE", &["montant"]);
    let request = world.request(&grant);
    let thief = world.caller(&node, &world.stranger);
    assert_eq!(
        recorded(&node, &thief, stranger_id(), request.clone()).await.0,
        Reason::TokenBinding
    );
    // The same participant with another certificate of its own.
    let renewed = world.ca.issue(&consumer_id());
    let spki = renewed.credential().spki_sha256;
    world
        .publish(&node, |d| {
            let row = d
                .participants
                .iter_mut()
                .find(|row| row.id == consumer_id())
                .expect("as the test arranges it");
            row.tls.push(unefois_core::directory::TlsKey {
                spki_sha256: spki,
                status: unefois_core::directory::KeyStatus::Next,
            });
        })
        .await;
    let renewed = world.caller(&node, &renewed);
    assert_eq!(
        recorded(&node, &renewed, consumer_id(), request).await.0,
        Reason::TokenBinding
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_handle_a_quota_and_a_closed_window() {
    let world = world().await;
    let database = TestDatabase::sqlite();
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);
    caller.fetch(world.request(&grant)).await.expect("first use");
    assert_eq!(
        caller.refused(world.request(&grant)).await.0,
        Reason::TokenConsumed
    );

    let window = WindowRow {
        participant: producer_id(),
        datatype: None,
        window: ClosedWindow {
            day: Day::Daily,
            from: "00:00".parse().expect("as the test arranges it"),
            to: "00:00".parse().expect("as the test arranges it"),
        },
    };
    world.publish(&node, |d| d.closed_windows.push(window)).await;
    let (reason, status) = caller
        .refused(world.request(&world.grant("EXEMPLE", &["montant"])))
        .await;
    assert_eq!(reason, Reason::Maintenance);
    assert!(
        Refusal::of(&status)
            .expect("as the test arranges it")
            .retry_after
            .is_some()
    );

    world
        .publish(&node, |d| {
            d.closed_windows.clear();
            d.quotas[0].per_minute = 1;
        })
        .await;
    caller
        .fetch(world.request(&world.grant("EXEMPLE", &["montant"])))
        .await
        .expect("one a minute");
    let (reason, status) = caller
        .refused(world.request(&world.grant("EXEMPLE", &["montant"])))
        .await;
    assert_eq!(reason, Reason::QuotaConsumer);
    assert!(
        Refusal::of(&status)
            .expect("as the test arranges it")
            .retry_after
            .expect("as the test arranges it")
            <= Duration::from_secs(60)
    );

    world.publish(&node, |d| d.quotas.clear()).await;
    let (reason, status) = caller
        .refused(world.request(&world.grant("EXEMPLE", &["montant"])))
        .await;
    assert_eq!(
        (
            reason,
            Refusal::of(&status).expect("as the test arranges it").retry_after
        ),
        (Reason::QuotaConsumer, None)
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standing_handle_keeps_its_interval() {
    let world = world().await;
    let database = TestDatabase::sqlite();
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let mut grant = world.grant("EXEMPLE", &["montant"]);
    grant.details().mode = Mode {
        kind: ModeKind::Standing,
        max_count: Some(12),
        min_interval_s: Some(60),
        until: None,
    };
    caller.fetch(world.request(&grant)).await.expect("first use");
    let (reason, status) = caller.refused(world.request(&grant)).await;
    assert_eq!(reason, Reason::QuotaConsumer);
    let wait = Refusal::of(&status).and_then(|refusal| refusal.retry_after);
    let wait = wait.expect("it may come back").as_secs();
    assert!((50..=60).contains(&wait), "in {wait} s");
    let released = node
        .entries()
        .await
        .iter()
        .filter(|entry| entry.event == Event::Released)
        .count();
    assert_eq!(released, 1);
    node.stop().await;
}

/// Each token holds for a minute more: the end counts.
async fn nothing_leaves_from_the_end_that_the_person_chose(database: TestDatabase) {
    let world = world().await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let ends_in_ms = |ms| {
        let mut grant = world.grant("EXEMPLE", &["montant"]);
        grant.details().mode = Mode {
            kind: ModeKind::Standing,
            max_count: Some(12),
            min_interval_s: Some(0),
            until: Some(world.clock.now().plus_ms(ms)),
        };
        grant
    };
    for ended in [ends_in_ms(0), ends_in_ms(-1_000)] {
        let (reason, status) = caller.refused(world.request(&ended)).await;
        assert_eq!(reason, Reason::GrantRevoked);
        assert!(status.message().contains("has ended"), "{}", status.message());
    }
    let goes_on = ends_in_ms(60_000);
    caller
        .fetch(world.request(&goes_on))
        .await
        .expect("not ended yet");
    let entries = node.entries().await;
    let events: Vec<_> = entries.iter().map(|entry| (entry.event, entry.reason)).collect();
    let refused = (Event::Refused, Some(Reason::GrantRevoked));
    let told: Vec<_> = events.iter().filter(|event| **event == refused).collect();
    assert_eq!(told.len(), 2, "{events:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_a_withdrawn_client_or_certificate_stops_tokens_minted_before_and_a_key_all_of_its_tokens() {
    let world = world().await;
    let database = TestDatabase::sqlite();
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let minted_at = |view| {
        world
            .grant("EXEMPLE", &["montant"])
            .with(|claims| claims.rvk = view)
    };
    for withdrawal in [
        Withdrawal::Client(consumer_id()),
        Withdrawal::ClientCert(crate::world::x5t(&caller.cert)),
        Withdrawal::AllBefore,
    ] {
        let before = minted_at(world.authority.0.view());
        let place = world.authority.0.withdraw_everywhere(withdrawal).await;
        assert_eq!(
            recorded(&node, &caller, consumer_id(), world.request(&before))
                .await
                .0,
            Reason::GrantRevoked
        );
        caller
            .fetch(world.request(&minted_at(place)))
            .await
            .expect("minted after the withdrawal");
    }
    let before = world.authority.0.view();
    let key = Withdrawal::SigningKey(world.token_key.thumbprint().to_string());
    let place = world.authority.0.withdraw_everywhere(key).await;
    for view in [before, place] {
        let refused = recorded(&node, &caller, consumer_id(), world.request(&minted_at(view))).await;
        assert_eq!(refused.0, Reason::GrantRevoked, "whoever stole it writes the rvk");
    }
    node.stop().await;
}

/// I9: stale means refuse.
#[tokio::test(flavor = "multi_thread")]
async fn i9_an_expired_directory_refuses_everything() {
    let world = world().await;
    let database = TestDatabase::sqlite();
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);
    // One fetch, so that the connection is there before the directory expires.
    caller
        .fetch(world.request(&world.grant("EXEMPLE", &["montant"])))
        .await
        .expect("a document");
    let now = world.clock.now();
    let (version, jws) = world.change(|d| {
        d.issued_at = now.plus_ms(-3_000);
        d.next_update = now.plus_ms(-2_000);
        d.expires = now.plus_ms(-1_000);
    });
    let catalogue = std::fs::read(world.path("catalogue.json")).expect("as the test arranges it");
    // Offered at home, as the stream of the authority would be cut with the rest.
    assert!(
        node.foundation
            .directory
            .offer(&jws, &catalogue)
            .expect("newer, if expired")
    );
    assert_eq!(node.foundation.directory.edition().directory.version(), version);
    assert_eq!(
        caller.refused(world.request(&grant)).await.0,
        Reason::DirectoryStale
    );
    until(|| !node.producer.ready()).await;
    let last = node.entries().await.pop().expect("as the test arranges it");
    assert_eq!(
        (last.event, last.outcome, last.reason),
        (Event::Refused, Some(Outcome::Later), Some(Reason::DirectoryStale))
    );
    node.stop().await;
}
