//! Erasure on a decision: with its entry or not at all.

use unefois_core::{Clock as _, Event, LegalBasis};
use unefois_ledger::{About, DecisionRef, Draft, Erasing, Error};
use unefois_store::erase::{Erasable, claims_of};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::raw::Raw;
use crate::retention::{Exchange, announced, assert_sound, found_in_files};
use crate::scene::{Scene, assert_proved, claimed, draft, events, fetch, payload, stranger, verifier};

both_databases![
    an_erasure_on_a_decision_is_logged_with_it_or_does_not_happen,
    nobody_known_is_no_entry,
    too_much_for_one_transaction_is_refused,
    one_handle_is_erased_and_no_other,
    of_several_participants_one_s_exchanges_are_erased_and_no_other_s,
    claims_and_uses_of_a_handle_go_with_it,
    one_person_is_erased_with_every_handle_about_them,
];

fn decision() -> DecisionRef {
    "CNIL/2026-0412".parse().expect("a reference")
}

async fn an_erasure_on_a_decision_is_logged_with_it_or_does_not_happen(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let exchange = Exchange::now(&scene, &ledger, LegalBasis::Request).await;
    let whom = Erasing::Handle(exchange.given.handle);
    let mut raw = Raw::open(&scene.database).await;

    // The last row cannot be deleted: neither can the first be, nor is anything logged.
    raw.break_deletion("peer_receipt").await;
    let refused = ledger.erase(&whom, &decision()).await;
    assert!(matches!(refused, Err(Error::Unavailable)), "{refused:?}");
    raw.mend_deletion("peer_receipt").await;
    // The entry cannot be written: nothing is deleted.
    raw.break_head().await;
    let refused = ledger.erase(&whom, &decision()).await;
    assert!(matches!(refused, Err(Error::Unavailable)), "{refused:?}");
    raw.mend_head().await;
    assert_eq!(exchange.kept(&scene, &ledger).await, Erasable::ALL);
    assert_eq!(events(&ledger).await, [Event::Refused]);

    let erased = ledger.erase(&whom, &decision()).await.expect("erased");
    assert_eq!(erased.entry, Some(1));
    assert_eq!(exchange.kept(&scene, &ledger).await, []);
}

async fn nobody_known_is_no_entry(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let exchange = Exchange::now(&scene, &ledger, LegalBasis::Request).await;
    for whom in [
        Erasing::Handle(scene.handle()),
        Erasing::Person(b"nobody".to_vec()),
    ] {
        let erased = ledger.erase(&whom, &decision()).await.expect("nothing to do");
        assert_eq!((erased.entry, erased.rows.len()), (None, 0));
    }
    assert_eq!(exchange.kept(&scene, &ledger).await, Erasable::ALL);
    assert_eq!(events(&ledger).await, [Event::Refused]);
}

async fn too_much_for_one_transaction_is_refused(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let request = scene.once(scene.handle());
    for _ in 0..21 {
        let persons = (0..256).map(|_| scene.exchange().as_bytes().to_vec());
        let about = About {
            handle: Some(request.handle),
            persons: persons.collect(),
            ..About::default()
        };
        let entry = draft(&request).entry;
        ledger
            .append(Draft::new(entry).about(about))
            .await
            .expect("appended");
    }
    let refused = ledger.erase(&Erasing::Handle(request.handle), &decision()).await;
    assert!(matches!(refused, Err(Error::TooMuch)), "{refused:?}");
    assert_eq!(ledger.by_handle(&request.handle).await.unwrap().len(), 21);
}

async fn one_handle_is_erased_and_no_other(database: TestDatabase) {
    let scene = Scene::new(database).await;
    // Two replicas have entries; one of them is asked.
    let (one, two) = (scene.open(1).await, scene.open(2).await);
    let exchange = Exchange::now(&scene, &one, LegalBasis::Request).await;
    let other = Exchange::now(&scene, &one, LegalBasis::Request).await;
    let again = exchange.given.log(&scene, &two, true).await;
    let traces: Vec<Vec<u8>> = [exchange.traces(&one), again.traces(&two)].concat();
    assert_ne!(found_in_files(&scene.database, &traces), Some(0));

    let erased = one
        .erase(&Erasing::Handle(exchange.given.handle), &decision())
        .await
        .expect("erased");
    assert!(erased.settled);
    assert_eq!(exchange.kept(&scene, &one).await, []);
    assert_eq!(again.kept(&scene, &two).await, []);
    assert_eq!(other.kept(&scene, &one).await, Erasable::ALL);
    assert!(matches!(found_in_files(&scene.database, &traces), None | Some(0)));
    let text = announced(&scene, &one).await;
    assert!(
        text.starts_with("unefois/erased/v1 decision CNIL/2026-0412 "),
        "{text}"
    );
    assert!(
        text.ends_with("\nsecret 1\nhandle 2\nperson 2\nevidence 2\nreceipt 2\n"),
        "{text}"
    );
    for (ledger, shard, exchange) in [(&one, 1, &exchange), (&two, 2, &again)] {
        assert_sound(&scene, ledger).await;
        assert_proved(&exchange.receipt, &verifier(shard));
    }
    let twice = one
        .erase(&Erasing::Handle(exchange.given.handle), &decision())
        .await
        .expect("nothing left");
    assert_eq!(twice.entry, None);
}

/// A publisher's node: a decision is about one body, stands in its log, and takes nothing of another's.
async fn of_several_participants_one_s_exchanges_are_erased_and_no_other_s(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let (own, hosted) = (scene.open(1).await, scene.open_for(stranger()).await);
    let exchange = Exchange::now(&scene, &hosted, LegalBasis::Request).await;
    // Under one handle and about one person, in the logs of both.
    let both = Exchange::now(&scene, &hosted, LegalBasis::Request).await;
    let given = &both.given;
    claimed(fetch(&own, scene.once(given.handle), payload(1)).await.unwrap());
    let too = given.log(&scene, &own, true).await;
    scene.clock.forward_ms(2 * 3_600_000 + 1);
    let before = (events(&own).await, events(&hosted).await);
    let of_handle = |exchange: &Exchange| Erasing::Handle(exchange.given.handle);
    let of_person = |exchange: &Exchange| Erasing::Person(exchange.given.person.clone());
    for whom in [of_handle(&exchange), of_person(&exchange)] {
        let erased = own.erase(&whom, &decision()).await.expect("nothing of its own");
        assert_eq!(erased.entry, None);
    }
    assert_eq!(exchange.kept(&scene, &hosted).await, Erasable::ALL);
    assert_eq!((events(&own).await, events(&hosted).await), before);

    let claims = async || {
        let now = scene.clock.now();
        claims_of(&scene.db, |kept| *kept == given.handle, now)
            .await
            .unwrap()
            .len()
    };
    for whom in [of_handle(&exchange), of_person(&both)] {
        let erased = hosted.erase(&whom, &decision()).await.expect("erased");
        assert_eq!(erased.entry, Some(hosted.head().size - 1));
    }
    assert_eq!(exchange.kept(&scene, &hosted).await, []);
    assert_eq!(events(&own).await, before.0, "the other log says nothing of it");
    // What both rest on stays for the other, which is as whole as it was.
    assert_eq!(both.kept(&scene, &hosted).await, [Erasable::Secret]);
    assert_eq!(too.kept(&scene, &own).await, Erasable::ALL);
    assert_eq!(claims().await, 1);

    own.erase(&of_handle(&too), &decision()).await.expect("erased");
    assert_eq!(too.kept(&scene, &own).await, []);
    assert_eq!(both.kept(&scene, &hosted).await, []);
    assert_eq!(claims().await, 0);
    assert_sound(&scene, &own).await;
}

async fn one_person_is_erased_with_every_handle_about_them(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let exchange = Exchange::now(&scene, &ledger, LegalBasis::Request).await;
    // Under the same handle, about the same person, refused before anybody was found.
    let nobody = exchange.given.log(&scene, &ledger, false).await;
    let other = Exchange::now(&scene, &ledger, LegalBasis::Consent).await;
    let erased = ledger
        .erase(&Erasing::Person(exchange.given.person.clone()), &decision())
        .await
        .expect("erased");
    assert_eq!(erased.rows[&Erasable::Handle], 2);
    assert_eq!(exchange.kept(&scene, &ledger).await, []);
    assert_eq!(nobody.kept(&scene, &ledger).await, []);
    assert_eq!(other.kept(&scene, &ledger).await, Erasable::ALL);
    assert_sound(&scene, &ledger).await;
}

async fn claims_and_uses_of_a_handle_go_with_it(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let (handle, other) = (scene.handle(), scene.handle());
    let person = scene.exchange().as_bytes().to_vec();
    for handle in [handle, other] {
        claimed(
            fetch(&ledger, scene.standing(handle, Some(9), None), payload(1))
                .await
                .unwrap(),
        );
    }
    let about = About {
        handle: Some(handle),
        persons: vec![person.clone()],
        ..About::default()
    };
    let entry = draft(&scene.once(handle)).entry;
    ledger
        .append(Draft::new(entry).about(about))
        .await
        .expect("appended");
    let now = scene.clock.now();
    let left = async |before| {
        let of = claims_of(&scene.db, |kept| *kept == handle, before)
            .await
            .unwrap();
        let all = claims_of(&scene.db, |_| true, before).await.unwrap();
        (of.len(), all.len())
    };
    let later = now.plus_ms(1);
    assert_eq!(left(later).await, (2, 4), "a claim and a count each");

    let whom = Erasing::Person(person);
    ledger.erase(&whom, &decision()).await.expect("erased");
    assert_eq!(
        left(later).await,
        (1, 3),
        "a claim that a token may still meet stays"
    );
    scene.clock.forward_ms(2 * 3_600_000 + 1);
    let erased = ledger
        .erase(&Erasing::Handle(handle), &decision())
        .await
        .expect("erased");
    assert!(erased.entry.is_some());
    assert_eq!(
        left(later).await,
        (0, 2),
        "nothing names the handle, and the other's are whole"
    );

    // A count is kept for less than 13 months of no use, wherever they lie.
    let day_ms = 24 * 3_600_000;
    ledger.purge(now.plus_ms(391 * day_ms)).await.unwrap();
    assert_eq!(left(later).await, (0, 1));
    ledger.purge(now.plus_ms(393 * day_ms)).await.unwrap();
    assert_eq!(left(later).await, (0, 0));
}
