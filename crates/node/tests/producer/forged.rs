//! Tokens and pivots that a thief or a dishonest signer could send. Each is refused for its reason, and the refusal is in
//! the ledger under the name of the certificate that sent it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use ring::{aead, agreement, hmac};
use unefois_core::directory::{KeyStatus, ParticipantRow, TlsKey};
use unefois_core::{Event, ParticipantId, Random, Reason, SealedSubject, Sha256};
use unefois_jose::{PublicKey, access_token, jwe};
use unefois_proto::pb::exchange::v1 as pb;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::i4::units;
use crate::world::{Caller, Grant, Running, World, case, consumer_id, person, stranger_id, x5t};

both_databases![
    a_token_of_another_place_or_time_is_refused_and_recorded,
    a_token_serves_one_request,
    a_token_of_another_service_of_the_same_body_is_refused_and_recorded,
    a_token_in_another_form_is_refused_and_recorded,
    a_pivot_in_another_form_is_refused_and_recorded
];

const DOCUMENT: &str = r#"{"data":{"montant":900}}"#;

/// What a test changes in a grant before its token is signed.
type Spoiled = (&'static str, fn(&mut Grant));

async fn world() -> World {
    World::new(&[
        ("a.yaml", &case("EXEMPLE", 200, DOCUMENT)),
        ("b.yaml", &case("AUTRE", 200, DOCUMENT)),
    ])
    .await
}

/// The reason is the one given, the refusal in the log, and in the person's history only where the token is authentic.
async fn assert_refused(
    node: &Running,
    caller: &Caller,
    requester: ParticipantId,
    request: pb::FetchRequest,
    (expected, handle): (Reason, Option<&Grant>),
    what: &str,
) {
    let before = node.entries().await.len();
    let (reason, status) = caller.refused(request).await;
    assert_eq!(reason, expected, "{what}");
    assert!(!status.message().contains("EXEMPLE"), "{what}");
    let entries = node.entries().await;
    assert_eq!(entries.len(), before + 1, "{what}");
    let entry = entries.last().expect("an entry");
    assert_eq!(
        (entry.event, entry.reason, entry.requester),
        (Event::Refused, Some(expected), Some(requester)),
        "{what}"
    );
    assert_eq!(entry.grant_commit.is_some(), handle.is_some(), "{what}");
    if let Some(grant) = handle {
        assert_eq!(node.of_handle(&grant.claims.gh).await, 1, "{what}");
    }
}

async fn a_token_of_another_place_or_time_is_refused_and_recorded(database: TestDatabase) {
    let world = world().await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let spoiled: &[Spoiled] = &[
        ("for another node", |g| g.claims.aud = stranger_id()),
        ("for another service of the same body", |g| {
            g.claims.aud = sibling("18003506500028");
        }),
        ("of another authority", |g| {
            g.claims.iss = "https://autorite.example.org".into();
        }),
        ("expired", |g| shift(g, -66)),
        ("from the future", |g| shift(g, 20)),
        ("not valid before long", |g| g.claims.nbf += 20),
        ("for longer than any token lives", |g| {
            g.claims.iat -= 290;
            g.claims.nbf -= 290;
        }),
    ];
    for (what, spoil) in spoiled {
        let mut grant = world.grant("EXEMPLE", &["montant"]);
        let good = world.request(&grant);
        spoil(&mut grant);
        let claims = serde_json::to_string(&grant.claims).expect("claims");
        let access_token = world.forged(&world.header("ES256", access_token::TYP, ""), &claims);
        let request = pb::FetchRequest { access_token, ..good };
        let refused = (Reason::TokenInvalid, None);
        assert_refused(&node, &caller, consumer_id(), request, refused, what).await;
    }
    assert!(
        node.entries()
            .await
            .iter()
            .all(|entry| entry.event != Event::Released)
    );
    node.stop().await;
}

/// A token that was seen serves whoever has seen it for nothing: not with another certificate, not for another request.
async fn a_token_serves_one_request(database: TestDatabase) {
    let world = world().await;
    let node = world.node(database.url()).await;
    let (caller, thief) = (
        world.caller(&node, &world.consumer),
        world.caller(&node, &world.stranger),
    );
    let grant = world.grant("EXEMPLE", &["montant"]);
    let request = world.request(&grant);
    let answer = caller.fetch(request.clone()).await.expect("a document");
    let (reason, _) = thief.refused(request.clone()).await;
    assert_eq!(reason, Reason::TokenBinding);
    for (what, replayed, expected) in [
        (
            "another request",
            pb::FetchRequest {
                request_id: world.request(&grant).request_id,
                ..request.clone()
            },
            Reason::TokenConsumed,
        ),
        (
            "the same request with another nonce",
            pb::FetchRequest {
                nonce: vec![7; 32],
                ..request.clone()
            },
            Reason::RetryMismatch,
        ),
    ] {
        let (reason, _) = caller.refused(replayed).await;
        assert_eq!(reason, expected, "{what}");
        let entry = node.entries().await.pop().expect("an entry");
        assert_eq!(
            (entry.event, entry.reason, entry.requester),
            (Event::Refused, Some(expected), Some(consumer_id())),
            "{what}"
        );
    }
    // The very same request is a retry: the same content, said to be sent again.
    let again = caller.fetch(request).await.expect("a retry");
    assert_eq!(again.entry.event, Event::ReleasedAgain);
    assert_eq!(units(&world, &again), units(&world, &answer));
    node.stop().await;
}

/// Two services of one SIREN are two participants: the certificate, and who is named, must be of the one that asked.
async fn a_token_of_another_service_of_the_same_body_is_refused_and_recorded(database: TestDatabase) {
    let world = world().await;
    let node = world.node(database.url()).await;
    let other = sibling("21920023500022");
    assert_eq!(other.siren(), consumer_id().siren());
    let pem = world.ca.issue(&other);
    let spki_sha256 = pem.credential().spki_sha256;
    world
        .publish(&node, |d| {
            let row = d.participants.iter().find(|row| row.id == consumer_id());
            let tls = vec![TlsKey {
                spki_sha256,
                status: KeyStatus::Current,
            }];
            let row = row.expect("the consumer").clone();
            d.participants.push(ParticipantRow {
                id: other,
                tls,
                habilitation_keys: Vec::new(),
                ..row
            });
        })
        .await;
    let caller = world.caller(&node, &pem);
    let binding = x5t(&caller.cert);

    let grant = world.grant("EXEMPLE", &["montant"]);
    let request = world.request(&grant);
    let refused = (Reason::TokenBinding, Some(&grant));
    assert_refused(&node, &caller, other, request, refused, "bound to the other").await;

    let named = world.grant("EXEMPLE", &["montant"]).with(|claims| {
        claims.cnf.x5t_s256.clone_from(&binding);
    });
    let request = world.request(&named);
    let refused = (Reason::NotEntitled, Some(&named));
    assert_refused(&node, &caller, other, request, refused, "names the other").await;

    // Minted for this service, under the other's habilitation.
    let own = world.grant("EXEMPLE", &["montant"]).with(|claims| {
        claims.cnf.x5t_s256 = binding;
        claims.client_id = other;
    });
    let request = world.request(&own);
    let refused = (Reason::NotEntitled, Some(&own));
    assert_refused(
        &node,
        &caller,
        other,
        request,
        refused,
        "habilitated is the other",
    )
    .await;
    node.stop().await;
}

async fn a_token_in_another_form_is_refused_and_recorded(database: TestDatabase) {
    let world = world().await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);
    let claims = serde_json::to_string(&grant.claims).expect("claims");
    let good = world.mint(&grant.claims);
    let parts: Vec<&str> = good.split('.').collect();
    let signed = |alg: &str, typ: &str, more: &str| world.forged(&world.header(alg, typ, more), &claims);
    let typ = access_token::TYP;

    let mut forms: Vec<(String, String)> = Vec::new();
    let unsigned = format!("{}.{}", b64(world.header("none", typ, "")), b64(&claims));
    forms.push(("alg none, unsigned".into(), format!("{unsigned}.")));
    forms.push(("alg none, two parts".into(), unsigned));
    forms.push(("no signature".into(), format!("{}.{}.", parts[0], parts[1])));
    for alg in ["none", "HS256", "RS256", "ES384", "EdDSA"] {
        forms.push((format!("alg {alg}, signed all the same"), signed(alg, typ, "")));
    }
    let input = format!("{}.{}", b64(world.header("HS256", typ, "")), b64(&claims));
    // The public key as a shared secret.
    for secret in [
        world.token_key.verifying_key().public().to_jwk().into_bytes(),
        world.token_key.verifying_key().public().to_spki_der(),
    ] {
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input.as_bytes());
        forms.push((
            "HS256 under the public key".into(),
            format!("{input}.{}", b64(mac)),
        ));
    }
    let ring = world.random.ring();
    for alg in ["ES256", "ES384"] {
        let curve = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(curve, ring).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(curve, pkcs8.as_ref(), ring).expect("a key");
        let input = format!("{}.{}", b64(world.header(alg, typ, "")), b64(&claims));
        let signature = pair.sign(ring, input.as_bytes()).expect("a signature");
        forms.push((
            format!("a P-384 key as {alg}"),
            format!("{input}.{}", b64(signature)),
        ));
    }
    for other in [
        "JWT",
        "dc+sd-jwt",
        "unefois-directory+jws",
        "AT+JWT",
        "application/at+jwt",
        "",
    ] {
        forms.push((format!("typ {other}"), signed("ES256", other, "")));
    }
    let jwk = world.token_key.verifying_key().public().to_jwk();
    for more in [
        r#","jku":"https://autorite.example/as/jwks""#.to_owned(),
        r#","x5u":"https://autorite.example/cert""#.to_owned(),
        format!(r#","jwk":{jwk}"#),
        r#","x5c":[]"#.to_owned(),
        r#","x5t#S256":"AA""#.to_owned(),
        r#","crit":["exp"]"#.to_owned(),
        r#","b64":false,"crit":["b64"]"#.to_owned(),
        r#","zip":"DEF""#.to_owned(),
        r#","cty":"JWT""#.to_owned(),
        r#","alg":"ES256""#.to_owned(),
        r#","\u0061lg":"none""#.to_owned(),
        format!(r#","x":{}{}"#, "[".repeat(40), "]".repeat(40)),
    ] {
        forms.push((format!("header with {more}"), signed("ES256", typ, &more)));
    }
    let header = world.header("ES256", typ, "");
    let deep = format!(r#""jti":{}1{}"#, "[".repeat(40), "]".repeat(40));
    for (what, payload) in [
        ("a claim named twice", claims.replacen('{', r#"{"exp":1,"#, 1)),
        (
            "a claim named twice, escaped",
            claims.replacen('{', r#"{"\u0061ud":1,"#, 1),
        ),
        (
            "an unknown claim",
            claims.replacen('{', r#"{"email":"a@example.org","#, 1),
        ),
        ("claims too deep", claims.replacen(r#""jti":"jti""#, &deep, 1)),
        ("a token within a token", good.clone()),
        ("no object", format!("[{claims}]")),
        ("two texts", format!("{claims}{claims}")),
    ] {
        forms.push((what.to_owned(), world.forged(&header, &payload)));
    }
    let nested = jwe::seal_nested(&world.pivot, &good, ring).expect("sealed");
    forms.push(("encrypted".into(), nested));
    forms.push(("followed by more".into(), format!("{good}.e30")));
    forms.push(("padded".into(), format!("{good}=")));

    for (what, access_token) in &forms {
        let access_token = access_token.clone();
        let request = pb::FetchRequest {
            access_token,
            ..world.request(&grant)
        };
        let refused = (Reason::TokenInvalid, None);
        assert_refused(&node, &caller, consumer_id(), request, refused, what).await;
    }
    // More than a field may hold is no message of the schema.
    let long = claims.replacen(r#""jti""#, &format!(r#""jti":"{}","x""#, "x".repeat(16_384)), 1);
    let access_token = world.forged(&header, &long);
    let request = pb::FetchRequest {
        access_token,
        ..world.request(&grant)
    };
    let refused = (Reason::InvalidRequest, None);
    assert_refused(&node, &caller, consumer_id(), request, refused, "oversized").await;
    eprintln!("{} forms of a token, all refused and recorded", forms.len() + 1);
    caller
        .fetch(world.request(&grant))
        .await
        .expect("the token itself is good");
    node.stop().await;
}

/// The token speaks of this very text, so that what refuses is what the text is.
async fn a_pivot_in_another_form_is_refused_and_recorded(database: TestDatabase) {
    let world = world().await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let about = |pivot_jwe: String| {
        let mut grant = world.grant("EXEMPLE", &["montant"]);
        grant.claims.pivot_hash = x5t(&Sha256::of(pivot_jwe.as_bytes()));
        grant.pivot_jwe = pivot_jwe;
        grant
    };

    let grant = world.grant("EXEMPLE", &["montant"]);
    let other = world.grant("AUTRE", &["montant"]);
    for (what, pivot_jwe) in [
        ("another person's", other.pivot_jwe.clone()),
        (
            "the same identity, sealed again",
            world.grant("EXEMPLE", &["montant"]).pivot_jwe,
        ),
        ("one character more", format!("{}=", grant.pivot_jwe)),
    ] {
        let swapped = Grant {
            claims: fresh(&world),
            ..grant.clone()
        };
        let request = pb::FetchRequest {
            pivot_jwe,
            ..world.request(&swapped)
        };
        let refused = (Reason::TokenInvalid, Some(&swapped));
        assert_refused(&node, &caller, consumer_id(), request, refused, what).await;
    }

    let json = serde_json::to_string(&SealedSubject::Person(person("EXEMPLE"))).expect("an identity");
    let padded = format!("{json:1024}");
    let head = |epk: &str, more: &str| {
        let kid = world.pivot.thumbprint();
        format!(r#"{{"alg":"ECDH-ES","enc":"A256GCM","kid":"{kid}","epk":{epk}{more}}}"#)
    };
    let seal = |text: &str, header: &dyn Fn(&str) -> String| world.encrypted(text, header);
    let stranger = unefois_jose::Pkcs8::generate(world.random.ring()).expect("a key");
    let stranger = unefois_jose::DecryptionKey::from_pkcs8(&stranger).expect("a key");
    let mut forms = vec![
        ("zip", seal(&padded, &|epk| head(epk, r#","zip":"DEF""#))),
        (
            "crit",
            seal(&padded, &|epk| head(epk, r#","crit":["exp"],"exp":1"#)),
        ),
        (
            "jwk",
            seal(&padded, &|epk| head(epk, &format!(r#","jwk":{epk}"#))),
        ),
        (
            "enc A128GCM",
            seal(&padded, &|epk| head(epk, "").replace("A256GCM", "A128GCM")),
        ),
        (
            "enc A256CBC-HS512",
            seal(&padded, &|epk| head(epk, "").replace("A256GCM", "A256CBC-HS512")),
        ),
        (
            "alg ECDH-ES+A256KW",
            seal(&padded, &|epk| head(epk, "").replace("ECDH-ES", "ECDH-ES+A256KW")),
        ),
        (
            "alg dir",
            seal(&padded, &|epk| head(epk, "").replace("ECDH-ES", "dir")),
        ),
        (
            "enc named twice",
            seal(&padded, &|epk| head(epk, r#","enc":"A256GCM""#)),
        ),
        ("not padded", seal(&json, &|epk| head(epk, ""))),
        ("a member named twice", {
            let twice = json.replacen(r#""gender""#, r#""gender":"female","gender""#, 1);
            seal(&format!("{twice:1024}"), &|epk| head(epk, ""))
        }),
        ("for another node", {
            let sealed = jwe::seal_pivot(stranger.encryption_key(), &json, world.random.ring());
            sealed.expect("sealed")
        }),
    ];
    // On no curve, at infinity, on another curve, with half a point.
    for (what, x, y) in [
        ("off the curve", [9; 32].as_slice(), [9; 32].as_slice()),
        ("at infinity", &[0; 32], &[0; 32]),
        ("half a point", &[9; 32], &[]),
    ] {
        let (x, y) = (b64(x), b64(y));
        let epk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
        forms.push((what, seal(&padded, &|_| head(&epk, ""))));
    }
    for (what, from, to) in [
        ("another curve", "P-256", "P-384"),
        ("no curve", "\"EC\"", "\"OKP\""),
    ] {
        forms.push((what, seal(&padded, &|epk| head(&epk.replace(from, to), ""))));
    }
    for (what, pivot_jwe) in &forms {
        let named = about(pivot_jwe.clone());
        let request = world.request(&named);
        let refused = (Reason::KeyUnavailable, Some(&named));
        assert_refused(&node, &caller, consumer_id(), request, refused, what).await;
    }
    // Well sealed, and no identity of the kind that was granted.
    for text in [
        r#"{"person":{"family_name":"EXEMPLE"}}"#.to_owned(),
        json.replacen("unspecified", "unspecified\",\"email\":\"a@example.org", 1),
        r#"{"entity":"180035065"}"#.to_owned(),
        "[]".to_owned(),
    ] {
        let named = about(seal(&format!("{text:1024}"), &|epk| head(epk, "")));
        let request = world.request(&named);
        let refused = (Reason::InvalidRequest, Some(&named));
        assert_refused(&node, &caller, consumer_id(), request, refused, &text).await;
    }
    eprintln!("{} forms of a pivot, all refused and recorded", forms.len() + 7);
    let same = about(seal(&padded, &|epk| head(epk, "")));
    caller
        .fetch(world.request(&same))
        .await
        .expect("a stranger's sealing is as good as ours");
    caller
        .fetch(world.request(&grant))
        .await
        .expect("the pivot itself is good");
    node.stop().await;
}

impl World {
    /// A token's header.
    fn header(&self, alg: &str, typ: &str, more: &str) -> String {
        let kid = self.token_key.thumbprint();
        format!(r#"{{"alg":"{alg}","typ":"{typ}","kid":"{kid}"{more}}}"#)
    }

    /// Any header and payload, signed with the authority's key.
    fn forged(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(payload));
        let signature = self.token_key.sign(signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", b64(signature))
    }

    /// A message that a sender apart from ours encrypts to the producer rightly under any header, made from its `epk`.
    fn encrypted(&self, text: &str, header: &dyn Fn(&str) -> String) -> String {
        let ring = self.random.ring();
        let curve = &agreement::ECDH_P256;
        let secret = agreement::EphemeralPrivateKey::generate(curve, ring).expect("a key");
        let epk = secret.compute_public_key().expect("a point");
        let epk = PublicKey::from_point(epk.as_ref()).expect("a point").to_jwk();
        let peer = agreement::UnparsedPublicKey::new(curve, self.pivot.public().point());
        let key = agreement::agree_ephemeral(secret, &peer, |z| {
            let other = b"\0\0\0\x07A256GCM\0\0\0\0\0\0\0\0\0\0\x01\0";
            Sha256::of_parts(&[&[0, 0, 0, 1], z, other])
        });
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, key.expect("a secret").as_bytes());
        let header = b64(header(&epk));
        let iv: [u8; 12] = (&self.random as &dyn Random).bytes();
        let mut text = text.as_bytes().to_vec();
        let tag = aead::LessSafeKey::new(key.expect("a key"))
            .seal_in_place_separate_tag(
                aead::Nonce::assume_unique_for_key(iv),
                aead::Aad::from(header.as_bytes()),
                &mut text,
            )
            .expect("sealed");
        format!("{header}..{}.{}.{}", b64(iv), b64(text), b64(tag))
    }
}

/// Claims under a handle of their own, about the person that the first grant is about.
fn fresh(world: &World) -> unefois_core::AccessTokenClaims {
    world.grant("EXEMPLE", &["montant"]).claims
}

fn sibling(siret: &str) -> ParticipantId {
    let id = format!("urn:unefois:participant:{siret}");
    id.parse().expect("its check digit is right")
}

fn shift(grant: &mut Grant, seconds: i64) {
    let claims = &mut grant.claims;
    (claims.iat, claims.nbf, claims.exp) = (claims.iat + seconds, claims.nbf + seconds, claims.exp + seconds);
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
