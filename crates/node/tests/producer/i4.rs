//! I4: what is released is a subset of asked, granted, habilitated and catalogued; a source that returns more is cut.

use unefois_core::directory::{Bilingual, Jwk};
use unefois_core::{Event, Reason, SignerRole};
use unefois_jose::{SigningKey, habilitation, sd_jwt};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::held_source::HeldSource;
use crate::world::{Answer, World, case, consumer_id, producer_id};

both_databases![
    i4_only_what_is_asked_granted_and_habilitated_leaves,
    i4_a_habilitation_that_the_producer_never_signed_opens_nothing,
    i4_a_habilitation_that_the_producer_says_has_ended_opens_nothing,
    i4_a_name_that_another_catalogue_widens_lets_nothing_leave,
    i4_what_was_cut_by_a_sheet_that_has_given_way_does_not_leave,
];

const DOCUMENT: &str = r#"{"data":{"montant":900,"taux":12.50,"nir":"2800475","membres":[{"nom":"EXEMPLE","nir":"x"}]},"meta":{"secret":1}}"#;

/// What the attestation of an answer discloses: each unit and its text.
pub(crate) fn units(world: &World, answer: &Answer) -> Vec<(String, String)> {
    let seal = world.seal_key();
    let verified =
        sd_jwt::verify(&answer.attestation.sd_jwt, 1 << 20, |_| Some(&seal)).expect("a signed attestation");
    verified
        .disclosures()
        .iter()
        .map(|d| (d.name.clone(), d.value.get().to_owned()))
        .collect()
}

async fn i4_only_what_is_asked_granted_and_habilitated_leaves(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);

    // Granted less than asked.
    let grant = world.grant("EXEMPLE", &["montant"]);
    let mut request = world.request(&grant);
    request.units.push("foyer".into());
    assert_eq!(caller.refused(request).await.0, Reason::UnitNotGranted);

    // Granted more than habilitated.
    world
        .publish(&node, |d| {
            d.habilitations[0].habilitation.datatypes[0]
                .units
                .remove(&"foyer".parse().expect("as the test arranges it"));
        })
        .await;
    let grant = world.grant("EXEMPLE", &["montant", "foyer"]);
    assert_eq!(caller.refused(world.request(&grant)).await.0, Reason::NotEntitled);

    // The source returns more than is granted, and more than the catalogue knows.
    let answer = caller
        .fetch(world.request(&world.grant("EXEMPLE", &["montant"])))
        .await
        .expect("a document");
    let montant = ("montant".to_owned(), r#"{"montant":900,"taux":12.50}"#.to_owned());
    assert_eq!(units(&world, &answer), [montant]);
    assert!(!answer.attestation.sd_jwt.contains("2800475"));
    assert_eq!(answer.entry.units, 1);

    // Asked less than is granted.
    world
        .publish(&node, |d| {
            d.habilitations[0].habilitation.datatypes[0]
                .units
                .insert("foyer".parse().expect("as the test arranges it"));
            d.participants[0].name = Bilingual {
                fr: "A".into(),
                en: "A".into(),
            };
        })
        .await;
    let mut request = world.request(&world.grant("EXEMPLE", &["montant", "foyer"]));
    request.units = vec!["foyer".into()];
    let answer = caller.fetch(request).await.expect("a document");
    assert_eq!(
        units(&world, &answer),
        [(
            "foyer".to_owned(),
            r#"{"membres":[{"nom":"EXEMPLE"}]}"#.to_owned()
        )]
    );
    let events: Vec<Event> = node.entries().await.iter().map(|e| e.event).collect();
    assert_eq!(
        events,
        [Event::Refused, Event::Refused, Event::Released, Event::Released]
    );
    node.stop().await;
}

/// The authority writes the directory, and with it a key of its own into the producer's row: everything verifies, but the
/// producer knows its keys from its own configuration.
async fn i4_a_habilitation_that_the_producer_never_signed_opens_nothing(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);

    let theirs = SigningKey::generate(world.random.ring()).expect("a key");
    let forged = world.change_with(|d, _| {
        let producer = d.participants.iter_mut().find(|row| row.id == producer_id());
        let point = theirs.verifying_key().public().point();
        let key = Jwk::from_sec1(point).expect("a point");
        producer.expect("the producer").habilitation_keys.push(key);
        let row = &mut d.habilitations[0];
        let jws = habilitation::sign(&row.habilitation, SignerRole::Producer, &theirs).expect("a signature");
        row.signatures.set(SignerRole::Producer, jws);
    });
    world.publish_signed(&node, forged).await;
    let (reason, _) = caller.refused(world.request(&grant)).await;
    assert_eq!(reason, Reason::NotEntitled);

    // Out of date, though all three signed it.
    world
        .publish(&node, |d| {
            let row = &mut d.habilitations[0].habilitation;
            row.not_after = d.issued_at;
        })
        .await;
    assert_eq!(caller.refused(world.request(&grant)).await.0, Reason::NotEntitled);
    let entries = node.entries().await;
    let refused: Vec<_> = entries.iter().map(|e| (e.event, e.reason, e.requester)).collect();
    let requester = Some(consumer_id());
    assert_eq!(
        refused,
        [(Event::Refused, Some(Reason::NotEntitled), requester); 2]
    );

    world
        .publish(&node, |d| {
            let row = &mut d.habilitations[0].habilitation;
            row.not_after = d.expires;
        })
        .await;
    caller.fetch(world.request(&grant)).await.expect("a document");
    node.stop().await;
}

/// The directory's key alone names the catalogue: under the names that the producer signed it then says something else.
async fn i4_a_name_that_another_catalogue_widens_lets_nothing_leave(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);
    let widened = [
        (
            r#""pointers":["/montant","/taux"]"#,
            r#""pointers":["/montant","/taux","/membres","/enfants"]"#,
        ),
        (r#""max_count":12"#, r#""max_count":24"#),
        // Not of the sheet: where the operator's source says its payload, and what certifies an absence.
        (r#""payload":"/data""#, r#""payload":"/meta""#),
        (r#""codes":"/errors/*/code""#, r#""codes":"/data/*/code""#),
    ];
    for (from, to) in widened {
        let catalogue = world.catalogue_with(from, to);
        let next = world.change_with(|d, _| d.catalogue_hash = catalogue.hash());
        world.publish_beside(&node, next, &catalogue).await;
        let (reason, _) = caller.refused(world.request(&grant)).await;
        assert_eq!(reason, Reason::CatalogueChanged, "{to}");
        let entry = node.entries().await.pop().expect("an entry");
        assert_eq!(
            (entry.event, entry.reason, entry.requester),
            (
                Event::Refused,
                Some(Reason::CatalogueChanged),
                Some(consumer_id())
            ),
            "{to}"
        );
    }

    // Other words for people are nobody's to sign again.
    let reworded = world.catalogue_with("The amount", "How much");
    let next = world.change_with(|d, _| d.catalogue_hash = reworded.hash());
    world.publish_beside(&node, next, &reworded).await;
    let answer = caller.fetch(world.request(&grant)).await.expect("a document");
    let montant = ("montant".to_owned(), r#"{"montant":900,"taux":12.50}"#.to_owned());
    assert_eq!(units(&world, &answer), [montant]);
    node.stop().await;
}

/// The three sign a stricter sheet anew while the source answers: what it said is judged and cut by that, at the next attempt.
async fn i4_what_was_cut_by_a_sheet_that_has_given_way_does_not_leave(database: TestDatabase) {
    let world = World::new(&[]).await.unhurried();
    let source = HeldSource::new().await;
    let mut config = world.config(database.url());
    source.serve(&mut config);
    let node = world.node_with(config).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);
    let stricter = world.catalogue_with(r#""minimum":0"#, r#""minimum":1"#);
    let change = async {
        source.asked.notified().await;
        let next = world.change_with(|d, signers| {
            d.catalogue_hash = stricter.hash();
            signers.sign_over(&stricter);
            signers.sign(d);
        });
        world.publish_beside(&node, next, &stricter).await;
        source.answer.notify_one();
    };
    let request = world.request(&grant);
    let ((reason, _), ()) = tokio::join!(caller.refused(request.clone()), change);
    assert_eq!(reason, Reason::DirectoryStale);
    let entry = node.entries().await.pop().expect("an entry");
    assert_eq!(
        (entry.event, entry.reason),
        (Event::Refused, Some(Reason::DirectoryStale))
    );

    // No claim was taken: the same request is answered by the sheet in use.
    source.answer.notify_one();
    caller.fetch(request).await.expect("a document");
    node.stop().await;
}

/// Its date has not come and the directory lists it, but the producer's own configuration says that it has ended.
async fn i4_a_habilitation_that_the_producer_says_has_ended_opens_nothing(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let mut config = world.config(database.url());
    config.producer.as_mut().expect("a producer").habilitations_ended = vec![world.habilitation_hash()];
    let node = world.node_with(config).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);
    assert_eq!(caller.refused(world.request(&grant)).await.0, Reason::NotEntitled);
    let entry = node.entries().await.pop().expect("an entry");
    assert_eq!(
        (entry.event, entry.reason, entry.requester),
        (Event::Refused, Some(Reason::NotEntitled), Some(consumer_id()))
    );

    // The one that took its place, under the same number, is another.
    world
        .publish(&node, |d| {
            d.habilitations[0].habilitation.volume_per_year = Some(9)
        })
        .await;
    caller.fetch(world.request(&grant)).await.expect("a document");
    node.stop().await;
}
