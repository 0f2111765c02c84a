//! I12, the producer's part: whoever an exchange concerns finds it by their identity.

use unefois_core::{Capacity, DemarcheId, Event, Pivot, Reason};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::world::{Running, World, case, person};

both_databases![
    i12_members_of_the_household_find_what_left_about_them,
    i12_a_refusal_is_found_once_the_identity_is_open,
    i12_what_a_file_says_is_found_under_a_near_name,
];

const DOCUMENT: &str = r#"{"data":{"montant":900,"taux":null,"membres":[
    {"nom":"Exemple","prenoms":"CAMILLE","naissance":"1980-04-00"},
    {"nom":"Conjoint","prenoms":"CAMILLE","naissance":"1980-00-00"},
    {"nom":"Sans date","prenoms":"CAMILLE"},
    {"nom":"Enfant","prenoms":"camille","naissance":"1980-04-00"}]}}"#;

/// The events that the node finds about somebody as subject, and as named beside another.
async fn found(node: &Running, family_name: &str) -> (Vec<Event>, Vec<Event>) {
    let person = person(family_name);
    let ledger = &node.foundation.ledger;
    let entries = node.entries().await;
    let events = async |keys: Vec<Vec<u8>>| {
        let mut events = Vec::new();
        for key in keys {
            let places = ledger.by_person(&key).await.expect("the index reads");
            events.extend(places.into_iter().map(|place| {
                let place = usize::try_from(place).expect("a small log");
                entries[place].event
            }));
        }
        events
    };
    (
        events(vec![person.canonical()]).await,
        events(person.named_forms()).await,
    )
}

async fn i12_members_of_the_household_find_what_left_about_them(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);

    // The amount alone is nobody else's.
    let grant = world.grant("EXEMPLE", &["montant"]);
    caller.fetch(world.request(&grant)).await.expect("a document");
    assert_eq!(found(&node, "ENFANT").await, (vec![], vec![]));

    let grant = world.grant("EXEMPLE", &["montant", "foyer"]);
    caller.fetch(world.request(&grant)).await.expect("a document");
    assert_eq!(found(&node, "ENFANT").await, (vec![], vec![Event::Released]));
    // The one who asked is the subject, and no second person beside it.
    let twice = vec![Event::Released, Event::Released];
    assert_eq!(found(&node, "EXEMPLE").await, (twice, vec![]));
    // A year alone does not tell an April from any other month, and no date tells nobody.
    for nobody in ["CONJOINT", "SANS DATE", "AUTRE"] {
        assert_eq!(found(&node, nobody).await, (vec![], vec![]), "{nobody}");
    }
    node.stop().await;
}

async fn i12_a_refusal_is_found_once_the_identity_is_open(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("INCONNU", &["montant"]);
    let refused = caller.refused(world.request(&grant)).await.0;
    assert_eq!(refused, Reason::SubjectNotResolved);
    assert_eq!(found(&node, "INCONNU").await, (vec![Event::Refused], vec![]));

    let sealed = |grant: &crate::world::Grant| node.producer.identity(&grant.pivot_jwe);
    assert!(sealed(&grant).is_some());
    let other = grant.pivot_jwe.replacen('.', ".x", 1);
    assert!(node.producer.identity(&other).is_none());
    node.stop().await;
}

/// Of what an officer or nobody asks, whoever may be meant finds a row; a person's own request is exactly theirs.
async fn i12_what_a_file_says_is_found_under_a_near_name(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let on_file = on_file("EXEMPLE");
    // Nobody has to be there for it.
    let verification: DemarcheId = "verification".parse().expect("a démarche");
    world
        .publish(&node, |d| {
            d.habilitations[0].habilitation.demarche = verification.clone();
        })
        .await;
    let granted = |capacity| {
        let mut grant = world.grant("EXEMPLE", &["montant"]);
        grant.details().demarche = verification.clone();
        world.about(grant.with(|claims| claims.capacity = capacity), on_file.clone())
    };
    for capacity in [Capacity::SelfPerson, Capacity::Agent, Capacity::Automatic] {
        let fetched = caller.fetch(world.request(&granted(capacity))).await;
        fetched.expect("a document");
    }
    let unknown = world.about(
        granted(Capacity::Agent),
        Pivot {
            family_name: "INCONNU".to_owned(),
            ..on_file.clone()
        },
    );
    caller.refused(world.request(&unknown)).await;

    let entries = node.entries().await;
    let near = async |person: &Pivot| {
        let found = node.foundation.ledger.by_person(&person.near_form()).await;
        let places = found.expect("the index reads").into_iter();
        let entry = |place| &entries[usize::try_from(place).expect("a small log")];
        places
            .map(|place| (entry(place).event, entry(place).capacity))
            .collect::<Vec<_>>()
    };
    let otherwise = Pivot {
        given_names: vec!["camille".into(), "Dominique".into()],
        birthdate: "1980".parse().expect("a year"),
        ..person("Exemple")
    };
    assert_eq!(
        near(&otherwise).await,
        [
            (Event::Released, Some(Capacity::Agent)),
            (Event::Released, Some(Capacity::Automatic))
        ]
    );
    assert_eq!(
        near(&person("INCONNU")).await,
        [(Event::Refused, Some(Capacity::Agent))]
    );
    assert_eq!(near(&person("AUTRE")).await, []);
    node.stop().await;
}

/// A person as a file holds them, whom no login tells from a namesake: with the whole date and the place of birth.
pub(crate) fn on_file(family_name: &str) -> Pivot {
    Pivot {
        birthdate: "1980-04-01".parse().expect("a date"),
        birthplace: Some("75107".parse().expect("a commune")),
        ..person(family_name)
    }
}
