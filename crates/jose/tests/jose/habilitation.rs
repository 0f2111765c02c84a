//! A habilitation signed by three: every row of bad input, then the good one, alone and inside a directory.

use serde_json::{Value, json};
use unefois_core::directory::{DirectoryDocument, Jwk};
use unefois_core::{Habilitation, HabilitationRow, SignerRole};
use unefois_jose::SigningKey;
use unefois_jose::directory::{self, DirectoryRefused};
use unefois_jose::habilitation::{self, HabilitationRefused};

use crate::{flipped, forge, signing_key};

const CONSUMER: &str = "urn:unefois:participant:21920023500014";
const PRODUCER: &str = "urn:unefois:participant:18003506500010";
const AUTHORITY: &str = "urn:unefois:participant:13002526500013";

struct Three {
    consumer: SigningKey,
    producer: SigningKey,
    authority: SigningKey,
}

impl Three {
    fn new() -> Self {
        Self {
            consumer: signing_key(),
            producer: signing_key(),
            authority: signing_key(),
        }
    }

    fn key(&self, role: SignerRole) -> &SigningKey {
        match role {
            SignerRole::Consumer => &self.consumer,
            SignerRole::Producer => &self.producer,
            SignerRole::Authority => &self.authority,
        }
    }

    fn row(&self, habilitation: Habilitation) -> HabilitationRow {
        let mut row = HabilitationRow {
            habilitation,
            signatures: Default::default(),
        };
        for role in SignerRole::ALL {
            let jws = habilitation::sign(&row.habilitation, role, self.key(role)).unwrap();
            row.signatures.set(role, jws);
        }
        row
    }

    fn verify(&self, row: &HabilitationRow) -> Result<(), HabilitationRefused> {
        let keys = SignerRole::ALL.map(|role| [jwk(self.key(role))]);
        habilitation::verify(row, |role| &keys[role as usize]).map(|signed| {
            let kid = self.producer.thumbprint().to_string();
            assert!(signed.signed_by(&[kid]));
            assert!(!signed.signed_by(&[self.authority.thumbprint().to_string()]));
            assert_eq!(signed.habilitation(), &row.habilitation);
        })
    }
}

fn jwk(key: &SigningKey) -> Jwk {
    Jwk::from_sec1(key.verifying_key().public().point()).unwrap()
}

fn habilitation() -> Habilitation {
    serde_json::from_value(json!({
        "id": "DP-1", "consumer": CONSUMER, "producer": PRODUCER, "authority": AUTHORITY, "demarche": "cantine",
        "demarche_sha256": "1".repeat(64),
        "datatypes": [{"datatype": "cnaf/quotient-familial@1", "units": ["valeur"], "sheet_sha256": "2".repeat(64)}],
        "legal_bases": ["CRPA-L114-8-I"], "not_before": "2026-01-01T00:00:00Z", "not_after": "2028-01-01T00:00:00Z",
    }))
    .unwrap()
}

#[test]
fn a_signature_that_one_of_the_three_did_not_give_to_this_very_habilitation_is_refused() {
    use HabilitationRefused as Refused;
    let three = Three::new();
    let good = three.row(habilitation());
    three.verify(&good).unwrap();

    for role in SignerRole::ALL {
        let with = |jws: Option<String>| {
            let mut row = good.clone();
            match jws {
                Some(jws) => row.signatures.set(role, jws),
                None => match role {
                    SignerRole::Consumer => row.signatures.consumer = None,
                    SignerRole::Producer => row.signatures.producer = None,
                    SignerRole::Authority => row.signatures.authority = None,
                },
            }
            three.verify(&row).unwrap_err()
        };
        assert!(matches!(with(None), Refused::Missing(at) if at == role));

        // Of somebody else of the three, and of nobody of them.
        let other = SignerRole::ALL[(role as usize + 1) % 3];
        for key in [three.key(other), &signing_key()] {
            let jws = habilitation::sign(&good.habilitation, role, key).unwrap();
            assert!(matches!(with(Some(jws)), Refused::Signature { role: at, .. } if at == role));
        }
        // Given as another, by the right key.
        let jws = habilitation::sign(&good.habilitation, other, three.key(role)).unwrap();
        assert!(
            matches!(with(Some(jws)), Refused::OtherRole { place, given } if place == role && given == other)
        );
        // Of another habilitation.
        let mut elsewhere = habilitation();
        elsewhere.id = "DP-2".parse().unwrap();
        let jws = habilitation::sign(&elsewhere, role, three.key(role)).unwrap();
        assert!(matches!(with(Some(jws)), Refused::OtherHabilitation(at) if at == role));

        let own = good.signatures.of(role).unwrap();
        let kid = three.key(role).thumbprint();
        let payload = json!({"habilitation": good.habilitation.hash().to_string(), "role": role}).to_string();
        let header =
            |typ: &str, more: &str| format!(r#"{{"alg":"ES256","typ":"{typ}","kid":"{kid}"{more}}}"#);
        for forged in [
            // Another typ: a directory's, an access token's.
            forge(three.key(role), &header(directory::TYP, ""), &payload),
            forge(three.key(role), &header("at+jwt", ""), &payload),
            forge(
                three.key(role),
                &header(habilitation::TYP, r#","crit":[]"#),
                &payload,
            ),
            forge(
                three.key(role),
                &header(habilitation::TYP, "").replace("ES256", "none"),
                &payload,
            ),
            forge(
                three.key(role),
                &header(habilitation::TYP, ""),
                &payload.replace("role", "rôle"),
            ),
            forge(
                three.key(role),
                &header(habilitation::TYP, ""),
                &payload.replacen('{', r#"{"more":1,"#, 1),
            ),
            flipped(own, 1, 20),
            flipped(own, 2, 5),
            String::new(),
            "a".repeat(10_000),
        ] {
            assert!(matches!(with(Some(forged)), Refused::Signature { role: at, .. } if at == role));
        }
        let same = forge(three.key(role), &header(habilitation::TYP, ""), &payload);
        let mut row = good.clone();
        row.signatures.set(role, same);
        three.verify(&row).unwrap();
    }

    // Two that are swapped, and units that were added afterwards.
    let mut swapped = good.clone();
    std::mem::swap(&mut swapped.signatures.consumer, &mut swapped.signatures.producer);
    assert!(matches!(
        three.verify(&swapped).unwrap_err(),
        Refused::Signature { .. }
    ));
    let mut wider = good;
    wider.habilitation.datatypes[0]
        .units
        .insert("composition".parse().unwrap());
    assert!(matches!(
        three.verify(&wider).unwrap_err(),
        Refused::OtherHabilitation(_)
    ));
}

#[test]
fn a_directory_with_a_habilitation_that_is_not_signed_by_three_is_neither_signed_nor_read() {
    let three = Three::new();
    let directory_key = signing_key();
    let participant = |id: &str, n: u8, key: Value| {
        json!({
            "id": id, "name": {"fr": "Nom", "en": "Name"}, "kind": "administration", "dpo": "dpo@example.fr",
            "tls": [{"spki_sha256": format!("{n:02x}").repeat(32), "status": "current"}], "habilitation_keys": [key],
        })
    };
    let key = |role| serde_json::to_value(jwk(three.key(role))).unwrap();
    let document = |row: &HabilitationRow| -> DirectoryDocument {
        serde_json::from_value(json!({
            "version": 1, "issued_at": "2026-01-01T00:00:00Z", "next_update": "2026-01-02T00:00:00Z",
            "expires": "2026-01-08T00:00:00Z", "lease_ms": 1000, "catalogue_hash": "0".repeat(64),
            "participants": [
                participant(CONSUMER, 1, key(SignerRole::Consumer)),
                participant(PRODUCER, 2, key(SignerRole::Producer)),
                participant(AUTHORITY, 3, key(SignerRole::Authority)),
            ],
            "authority": {
                "participant": AUTHORITY, "issuer": "https://a.example", "portal": "https://a.example",
                "token_keys": [key(SignerRole::Authority)], "withdrawal_keys": [key(SignerRole::Authority)],
                "identity_providers": [],
            },
            "habilitations": [row],
        }))
        .unwrap()
    };
    let mut wider = three.row(habilitation());
    wider.habilitation.not_after = wider.habilitation.not_after.plus_ms(1);
    let refused = directory::sign(&document(&wider), &directory_key).unwrap_err();
    assert!(matches!(refused, DirectoryRefused::Habilitation { id, .. } if id.as_str() == "DP-1"));

    // Signed all the same, by software of another mind.
    let payload = serde_json::to_vec(&document(&wider)).unwrap();
    let signed = unefois_jose::SignedDocument::sign(&directory_key, directory::TYP, &payload).unwrap();
    let refused = directory::verify(&signed.to_json().unwrap(), directory_key.thumbprint()).unwrap_err();
    assert!(matches!(refused, DirectoryRefused::Habilitation { .. }));

    // Signed by all three, for another authority's directory: a signature counts in one mesh.
    let elsewhere = three.row(Habilitation {
        authority: PRODUCER.parse().unwrap(),
        ..habilitation()
    });
    let refused = directory::sign(&document(&elsewhere), &directory_key).unwrap_err();
    let refused = std::error::Error::source(&refused).unwrap().to_string();
    assert!(refused.contains("habilitations[0].authority"), "{refused}");

    let signed = directory::sign(&document(&three.row(habilitation())), &directory_key).unwrap();
    let directory = directory::verify(&signed, directory_key.thumbprint()).unwrap();
    assert!(directory.habilitation(&"DP-1".parse().unwrap()).is_some());
}
