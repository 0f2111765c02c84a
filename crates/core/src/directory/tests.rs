use super::*;

pub(crate) const CNAF: &str = "urn:unefois:participant:18003506500010";
pub(crate) const COMMUNE: &str = "urn:unefois:participant:21920023500014";
pub(crate) const AUTHORITY: &str = "urn:unefois:participant:13002526500013";
const KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

/// A small consistent directory, as JSON text.
pub(crate) fn sample() -> String {
    let row = |id: &str, kind: &str, key: char, more: &str| {
        let spki = key.to_string().repeat(64);
        format!(
            r#"{{"id":"{id}","name":{{"fr":"Nom","en":"Name"}},"kind":"{kind}","mesh":["127.0.0.1:7443"],
            "dpo":"dpo@example.fr","tls":[{{"spki_sha256":"{spki}","status":"current"}}]{more}}}"#
        )
    };
    let participants = [
        row(
            CNAF,
            "administration",
            'a',
            r#","logs":[{"origin":"cnaf.example/log","vkey":"cnaf.example/log+00000000+AQ=="}]"#,
        ),
        row(
            COMMUNE,
            "collectivite",
            'b',
            r#","redirect_uris":["https://commune.example/retour"]"#,
        ),
        row(AUTHORITY, "administration", 'c', ""),
    ];
    format!(
        r#"{{"version":1,"issued_at":"2026-11-24T00:00:00Z","next_update":"2026-12-01T00:00:00Z",
        "expires":"2026-12-08T00:00:00Z","lease_ms":1000,"catalogue_hash":"{zeros}",
        "participants":[{participants}],
        "authority":{{"participant":"{AUTHORITY}","issuer":"https://unefois.example","portal":"https://unefois.example",
            "token_keys":[{KEY}],"withdrawal_keys":[{KEY}],
            "identity_providers":[{{"issuer":"https://fc.example","acr":["eidas1"]}},
                {{"issuer":"https://pro.example","acr":[],"officers":["identified"]}}]}},
        "habilitations":[{{"signatures":{{"consumer":"c","producer":"p","authority":"a"}},
            "habilitation":{{"id":"DP-1","consumer":"{COMMUNE}","producer":"{CNAF}","authority":"{AUTHORITY}","demarche":"cantine",
            "demarche_sha256":"{ones}",
            "datatypes":[{{"datatype":"cnaf/quotient-familial@1","units":["valeur","composition"],"sheet_sha256":"{twos}"}}],
            "legal_bases":["CRPA-L114-8-I"],"not_before":"2026-01-01T00:00:00Z","not_after":"2028-01-01T00:00:00Z"}}}}],
        "quotas":[{{"consumer":"{COMMUNE}","datatype":"cnaf/quotient-familial@1","per_minute":100}}],
        "closed_windows":[{{"participant":"{CNAF}","window":{{"day":"sunday","from":"23:00","to":"23:45"}}}}]}}"#,
        zeros = "0".repeat(64),
        ones = "1".repeat(64),
        twos = "2".repeat(64),
        participants = participants.join(","),
    )
}

pub(crate) fn accepted(text: &str) -> Directory {
    let unverified = Unverified::parse(text.as_bytes()).unwrap();
    let signed = verified(&unverified);
    unverified
        .accept(&SignatureChecked::over(text.as_bytes()), signed)
        .unwrap()
}

/// The thumbprint of the key by which the sample's producer is said to have signed.
pub(crate) const PRODUCER_KID: &str = "the producer's key";

fn verified(unverified: &Unverified) -> Vec<SignedHabilitation> {
    let rows = unverified.document().habilitations.iter();
    rows.map(|row| SignedHabilitation::checked(row.habilitation.clone(), PRODUCER_KID.to_owned()))
        .collect()
}

#[test]
fn refuses_unknown_members_and_names_the_place_but_no_value() {
    let text = sample().replace(r#""lease_ms":1000"#, r#""lease_ms":1000,"lease":"SECRET""#);
    let error = Unverified::parse(text.as_bytes()).unwrap_err().to_string();
    assert!(
        error.contains("unknown field `lease`") && !error.contains("SECRET"),
        "{error}"
    );

    let text = sample().replace(r#""kind":"collectivite""#, r#""kind":7781"#);
    let error = Unverified::parse(text.as_bytes()).unwrap_err();
    assert!(matches!(error, DirectoryError::Malformed { .. }));
    assert!(!error.to_string().contains("7781"), "{error}");
    assert!(Unverified::parse(b"{").is_err());
}

#[test]
fn refuses_a_document_that_contradicts_itself() {
    for (from, to, path) in [
        (r#""version":1"#, r#""version":0"#.to_owned(), "version"),
        (r#""version":1"#, r#""version":2"#.to_owned(), "prev"),
        (
            "2026-12-01T00:00:00Z",
            "2026-12-09T00:00:00Z".to_owned(),
            "next_update",
        ),
        (r#""lease_ms":1000"#, r#""lease_ms":1"#.to_owned(), "lease_ms"),
        (
            r#""lease_ms":1000"#,
            r#""lease_ms":1000,"next_directory_key":"short""#.to_owned(),
            "next_directory_key",
        ),
        (&"b".repeat(64), "a".repeat(64), "participants[1].tls"),
        ("127.0.0.1:7443", "127.0.0.1".to_owned(), "participants[0].mesh"),
        (
            "https://commune.example/retour",
            "http://commune.example/retour".to_owned(),
            "participants[1].redirect_uris",
        ),
        (
            "https://commune.example/retour",
            "https://a@b/*".to_owned(),
            "participants[1].redirect_uris",
        ),
        ("cnaf.example/log+", "other+".to_owned(), "participants[0].logs"),
        (
            "2028-01-01",
            "2025-01-01".to_owned(),
            "habilitations[0].not_after",
        ),
        (
            r#""acr":["eidas1"]"#,
            r#""acr":["eidas1"],"officers":["identified"]"#.to_owned(),
            "authority.identity_providers[0].officers",
        ),
        (
            r#"{"issuer":"https://fc.example","#,
            r#"{"issuer":"https://fc.example","acr":["eidas2"]},{"issuer":"https://fc.example","#.to_owned(),
            "authority.identity_providers[1].issuer",
        ),
        (
            &format!(r#""authority":"{AUTHORITY}""#),
            format!(r#""authority":"{CNAF}""#),
            "habilitations[0].authority",
        ),
        (
            r#""producer":"p","#,
            String::new(),
            "habilitations[0].signatures.producer",
        ),
        (
            r#","redirect_uris""#,
            format!(r#","habilitation_keys":[{KEY},{KEY}],"redirect_uris""#),
            "participants[1].habilitation_keys",
        ),
    ] {
        let text = sample().replace(from, &to);
        match Unverified::parse(text.as_bytes()) {
            Err(DirectoryError::Inconsistent { path: at, .. }) => assert_eq!(at, path),
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[test]
fn only_proof_over_the_same_bytes_makes_a_directory() {
    let text = sample();
    let unverified = Unverified::parse(text.as_bytes()).unwrap();
    let other = SignatureChecked::over(text.replace("DP-1", "DP-2").as_bytes());
    let signed = verified(&unverified);
    let refused = unverified.clone().accept(&other, signed.clone());
    assert_eq!(refused.unwrap_err(), DirectoryError::OtherBytes);

    let proof = SignatureChecked::over(text.as_bytes());
    let refused = unverified.clone().accept(&proof, Vec::new());
    assert_eq!(refused.unwrap_err(), DirectoryError::UnverifiedHabilitation);
    let mut wider = signed[0].habilitation().clone();
    wider.not_after = wider.not_after.plus_ms(1);
    let wider = SignedHabilitation::checked(wider, PRODUCER_KID.to_owned());
    let refused = unverified.accept(&proof, vec![wider]);
    assert_eq!(refused.unwrap_err(), DirectoryError::UnverifiedHabilitation);
}

#[test]
fn a_successor_never_goes_back_forks_or_skips_its_predecessor() {
    let first = accepted(&sample());
    let next = |version: u64, prev: Sha256| {
        accepted(&sample().replace(
            r#""version":1"#,
            &format!(r#""version":{version},"prev":"{prev}""#),
        ))
    };
    let second = next(2, *first.hash());
    assert_eq!(second.successor_of(&first), Ok(Succession::Newer));
    assert_eq!(first.successor_of(&first), Ok(Succession::Same));
    assert_eq!(
        first.successor_of(&second),
        Err(DirectoryError::Rollback { held: 2, offered: 1 })
    );
    let forked = next(2, Sha256::of(b"another"));
    assert_eq!(forked.successor_of(&second), Err(DirectoryError::Fork(2)));
    assert_eq!(forked.successor_of(&first), Err(DirectoryError::BrokenChain(2)));
    assert_eq!(
        next(9, Sha256::of(b"missed")).successor_of(&first),
        Ok(Succession::Newer)
    );
}

#[test]
fn stale_means_expired_without_grace() {
    let directory = accepted(&sample());
    for (now, freshness) in [
        ("2026-11-30T23:59:59Z", Freshness::Fresh),
        ("2026-12-01T00:00:00Z", Freshness::Alarm),
        ("2026-12-08T00:00:00Z", Freshness::Expired),
    ] {
        assert_eq!(directory.freshness(now.parse().unwrap()), freshness);
    }
}

#[test]
fn rows_answer_who_may_what() {
    let directory = accepted(&sample());
    let [cnaf, commune] = [CNAF, COMMUNE].map(|id| id.parse().unwrap());
    let key: Sha256 = "b".repeat(64).parse().unwrap();
    assert!(directory.peer_allowed(&commune, &key));
    assert!(!directory.peer_allowed(&cnaf, &key), "another participant's key");
    assert!(!directory.acts_for(&cnaf, &commune));
    assert!(directory.issuer_entitled("https://fc.example", Acr::Eidas1));
    assert!(!directory.issuer_entitled("https://fc.example", Acr::Eidas2));
    assert!(!directory.issuer_entitled("https://other.example", Acr::Eidas1));
    let [identified, certified] = [OfficerAssurance::Identified, OfficerAssurance::Certified];
    assert!(directory.issuer_entitled_to_officers("https://pro.example", identified));
    assert!(!directory.issuer_entitled_to_officers("https://pro.example", certified));
    assert!(!directory.issuer_entitled_to_officers("https://fc.example", identified));
    assert!(!directory.issuer_entitled("https://pro.example", Acr::Eidas1));
    let qf = "cnaf/quotient-familial@1".parse().unwrap();
    assert_eq!(directory.quota_per_minute(&commune, &qf), Some(100));
    assert_eq!(directory.quota_per_minute(&cnaf, &qf), None);
    let sunday_night = "2026-11-22T22:10:00Z".parse().unwrap();
    assert!(directory.closed_until(&cnaf, &qf, sunday_night).is_some());
    assert!(directory.closed_until(&commune, &qf, sunday_night).is_none());
    let signed = directory.habilitation(&"DP-1".parse().unwrap()).unwrap();
    let habilitation = signed.habilitation();
    assert!(habilitation.in_force("2027-12-31T23:59:59Z".parse().unwrap()));
    assert!(!habilitation.in_force("2028-01-01T00:00:00Z".parse().unwrap()));
}

#[test]
fn the_document_survives_writing_and_reading() {
    let unverified = Unverified::parse(sample().as_bytes()).unwrap();
    let text = serde_json::to_string(unverified.document()).unwrap();
    assert_eq!(
        Unverified::parse(text.as_bytes()).unwrap().document(),
        unverified.document()
    );
}
