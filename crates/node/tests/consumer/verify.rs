//! Every part of an answer is checked: each lie, signed with the producer's own keys, is found by its own check.

use serde_json::json;
use unefois_core::commitment::AnswerForm;
use unefois_core::{Event, Micros, Outcome, Sha256};
use unefois_jose::SigningKey;
use unefois_node::consumer::evidence::Fault;
use unefois_node::consumer::verify::KnownHead;
use unefois_tlog::Hash;

use crate::forge::{Forge, log_key};
use crate::world::{consumer_id, producer_id, stranger_id};

#[tokio::test]
async fn a_claim_that_is_not_what_was_asked_is_refused() {
    let mut forge = Forge::new().await;
    let truth = forge.claims.clone();
    let day_ahead = forge.now.plus_ms(86_400_000);
    for (claim, value, fault) in [
        ("iss", json!(stranger_id().to_string()), Fault::Claim("iss")),
        ("iss", json!("cnaf"), Fault::Claim("set")),
        ("aud", json!(stranger_id().to_string()), Fault::Claim("aud")),
        (
            "exchange_id",
            json!("0190163d-8694-739b-aea5-966c26f8ad91"),
            Fault::Claim("exchange_id"),
        ),
        (
            "request_hash",
            json!(Sha256::of(b"other").to_string()),
            Fault::Claim("request_hash"),
        ),
        ("request_hash", json!("x"), Fault::Claim("request_hash")),
        ("vct", json!("urn:unefois:cnaf/revenu@2"), Fault::Claim("vct")),
        ("vct", json!("cnaf/revenu@1"), Fault::Claim("vct")),
        ("period", json!("2026-05"), Fault::Claim("period")),
        ("outcome", json!("maybe"), Fault::Claim("outcome")),
        ("outcome", json!("absence"), Fault::Outcome),
        ("holder", json!("msa"), Fault::Claim("holder")),
        ("iat", json!(day_ahead.secs()), Fault::Claim("iat")),
        (
            "computed_at",
            json!(day_ahead.to_rfc3339()),
            Fault::Claim("computed_at"),
        ),
        ("exp", json!(forge.now.secs()), Fault::Expired),
    ] {
        forge.claims = truth.clone();
        forge.claims[claim] = value;
        assert_eq!(forge.judged().expect_err(claim), fault, "{claim}");
    }
    for claim in [
        "vct",
        "iss",
        "aud",
        "exp",
        "outcome",
        "exchange_id",
        "request_hash",
        "computed_at",
    ] {
        forge.claims = truth.clone();
        forge.claims.as_object_mut().expect("an object").remove(claim);
        assert_eq!(forge.judged().expect_err(claim), Fault::Claim("set"), "{claim}");
    }
}

#[tokio::test]
async fn another_key_s_signature_and_a_changed_byte_are_refused() {
    let mut forge = Forge::new().await;
    let mut answer = forge.answer();
    answer.sd_jwt = answer.sd_jwt.replacen('~', "~WyJhIiwibW9udGFudCIsMV0~", 1);
    let fault = answer.verify(&forge.asked()).expect_err("a disclosure too many");
    assert!(matches!(fault, Fault::Signature(_)), "{fault:?}");

    forge.seal = SigningKey::generate(forge.world.random.ring()).expect("a key");
    assert_eq!(
        forge.judged().expect_err("another key"),
        Fault::Signature(unefois_jose::Error::UnknownKey)
    );
}

#[tokio::test]
async fn a_unit_not_asked_for_or_beyond_its_datatype_is_refused() {
    let mut forge = Forge::new().await;
    let sound = ("montant", r#"{"montant":900}"#);
    forge.units = vec![sound, ("foyer", r#"{"membres":[]}"#)];
    assert_eq!(forge.judged().expect_err("not asked"), Fault::UnitNotAsked);
    forge.units = vec![("autre", "1")];
    assert_eq!(forge.judged().expect_err("unknown"), Fault::UnitNotAsked);
    forge.units = vec![];
    assert_eq!(forge.judged().expect_err("empty"), Fault::Outcome);
    for json in [
        r#"{"montant":900,"membres":[{"nom":"EXEMPLE"}]}"#,
        r#"{"montant":-1}"#,
        r#"{"montant":"900"}"#,
        r#"{"taux":1}"#,
        "[]",
    ] {
        forge.units = vec![("montant", json)];
        let fault = forge.judged().expect_err(json);
        assert!(matches!(fault, Fault::Unit(_)), "{json}: {fault:?}");
    }
}

#[tokio::test]
async fn form_and_signed_outcome_must_agree() {
    let mut forge = Forge::new().await;
    forge.form = AnswerForm::Absence;
    assert_eq!(forge.judged().expect_err("a document"), Fault::Claim("outcome"));
    forge.claims["outcome"] = json!("absence");
    assert_eq!(
        forge.judged().expect_err("an absence with a unit"),
        Fault::Outcome
    );
    forge.form = AnswerForm::Document;
    forge.units = vec![];
    assert_eq!(forge.judged().expect_err("an absence"), Fault::Claim("outcome"));
    forge.form = AnswerForm::Absence;
    let verified = forge.judged().expect("a certified absence");
    assert!(verified.attested().units().is_empty());
}

#[tokio::test]
async fn an_entry_that_says_something_else_is_refused() {
    let mut forge = Forge::new().await;
    let truth = forge.entry.clone();
    type Change = fn(&mut unefois_core::Entry);
    let changes: [(&str, Change); 13] = [
        ("event", |e| e.event = Event::Refused),
        ("exchange_id", |e| e.exchange_id = None),
        ("requester", |e| e.requester = Some(stranger_id())),
        ("provider", |e| e.provider = Some(stranger_id())),
        ("datatype", |e| {
            e.datatype = Some("cnaf/revenu@2".parse().expect("a datatype"))
        }),
        ("demarche", |e| e.demarche = None),
        ("units", |e| e.units = 3),
        ("outcome", |e| e.outcome = Some(Outcome::Later)),
        ("holder", |e| e.holder = None),
        ("request_hash", |e| e.request_hash = Some(Sha256::of(b"other"))),
        ("grant_commit", |e| e.grant_commit = Some(Sha256::of(b"other"))),
        ("grant_commit", |e| e.grant_commit = None),
        ("dossier_commit", |e| {
            e.dossier_commit = Some(Sha256::of(b"other"))
        }),
    ];
    for (field, change) in changes {
        forge.entry = truth.clone();
        change(&mut forge.entry);
        assert_eq!(
            forge.judged().expect_err(field),
            Fault::EntryField(field),
            "{field}"
        );
    }
    forge.entry = truth;
    let mut answer = forge.answer();
    answer.entry.pop();
    let fault = answer.verify(&forge.asked()).expect_err("a cut entry");
    assert!(matches!(fault, Fault::Entry(_)), "{fault:?}");
}

#[tokio::test]
async fn content_and_salt_must_open_the_logged_commitment() {
    let mut forge = Forge::new().await;
    let mut answer = forge.answer();
    answer.content_salt[0] ^= 1;
    assert_eq!(
        answer.verify(&forge.asked()).expect_err("another salt"),
        Fault::Content
    );

    // An attestation of another value beside the entry of the first.
    let logged = forge.answer();
    forge.units = vec![("montant", r#"{"montant":901,"taux":12.50}"#)];
    let mut answer = forge.answer();
    (answer.entry, answer.proof) = (logged.entry, logged.proof);
    assert_eq!(
        answer.verify(&forge.asked()).expect_err("another value"),
        Fault::Content
    );
}

#[tokio::test]
async fn a_foreign_log_and_a_bad_proof_are_refused() {
    let mut forge = Forge::new().await;
    let mut answer = forge.answer();
    answer.entry = {
        let mut entry = forge.entry.clone();
        entry.at = Micros::new(1);
        entry.encode()
    };
    let fault = answer.verify(&forge.asked()).expect_err("another leaf");
    assert!(matches!(fault, Fault::Proof(_)), "{fault:?}");
    for proof in ["", "c2sp.org/tlog-proof@v1\nindex 0\n\n"] {
        let mut answer = forge.answer();
        answer.proof = proof.to_owned();
        let fault = answer.verify(&forge.asked()).expect_err("no proof");
        assert!(matches!(fault, Fault::Proof(_)), "{fault:?}");
    }

    // Signed under the producer's origin by another key, then by a log of somebody else, then by one of nobody.
    forge.signer = log_key(&format!("{}/1", producer_id()));
    let fault = forge.judged().expect_err("another key");
    assert!(matches!(fault, Fault::Proof(_)), "{fault:?}");
    for origin in [stranger_id(), consumer_id()] {
        forge.signer = log_key(&format!("{origin}/1"));
        assert_eq!(forge.judged().expect_err("another log"), Fault::ForeignLog);
    }
}

#[tokio::test]
async fn i7_a_log_with_two_histories_or_rolled_back_is_refused() {
    let mut forge = Forge::new().await;
    let before = forge.head_before();
    for known in [
        // Another history of the same size.
        KnownHead {
            root: Hash::of_leaf(b"other"),
            ..before.clone()
        },
        // A longer one, of which this log is cut short.
        KnownHead {
            size: 99,
            ..before.clone()
        },
        // The very size that it has now, under another root.
        KnownHead {
            size: 3,
            root: Hash::of_leaf(b"other"),
            ..before.clone()
        },
    ] {
        forge.known = Some(known);
        assert_eq!(forge.judged().expect_err("a fork"), Fault::Forked);
    }
    forge.known = Some(before);
    let mut answer = forge.answer();
    answer.consistency.clear();
    assert_eq!(
        answer.verify(&forge.asked()).expect_err("no proof"),
        Fault::Forked
    );
    forge.judged().expect("the log only grew");
}

#[tokio::test]
async fn a_true_answer_is_verified_whole() {
    let forge = Forge::new().await;
    let verified = forge.judged().expect("a true answer");
    let units = verified.attested().units();
    assert_eq!(units[0].1, r#"{"montant":900,"taux":12.50}"#);
    assert_eq!(verified.producer().index, 2);
}
