//! A parent asks for a child: an attestation of the family proves the link, and nothing else does.

use unefois_core::{
    BirthDate, Clock as _, Event, Gender, HabilitatedDatatype, Habilitation, NamedPerson, Pivot, Reason,
};
use unefois_jose::{SigningKey, sd_jwt};
use unefois_mesh::SystemClock;
use unefois_node::config::Produce;
use unefois_proto::pb::exchange::v1::FetchRequest;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::signers::unsigned;
use crate::world::{Caller, Running, World, case, person};

both_databases![
    a_child_is_answered_for_only_with_the_proof_that_it_is_the_asker_s,
    a_parent_s_right_ends_when_the_child_is_of_age,
];

/// The family of EXEMPLE: another adult, two children, one of whom has a namesake at no other date.
const FAMILY: &str = r#"{"data":{"montant":900,"membres":[
    {"nom":"Exemple","prenoms":"CAMILLE","naissance":"1980-04-00"},
    {"nom":"Conjoint","prenoms":"CAMILLE","naissance":"1980-04-00"}],
    "enfants":[{"nom":"Exemple","prenoms":"EMMA LOUISE","naissance":"2019-03-07"},
    {"nom":"Exemple","prenoms":"LEA","naissance":"EIGHTEEN-00-00"},
    {"nom":"Exemple","prenoms":"HUGO","naissance":"2021-00-00"}]}}"#;
const SCHOOL: &str = r#"{"data":{"ecole":"Jules Exemple"}}"#;

struct Scene {
    world: World,
    node: Running,
    caller: Caller,
    stranger: Caller,
}

impl Scene {
    async fn new(database: &TestDatabase) -> Self {
        let family = FAMILY
            .replace('\n', " ")
            .replace("EIGHTEEN", &eighteen().to_string());
        let alone =
            r#"{"data":{"montant":1,"membres":[{"nom":"Seul","prenoms":"CAMILLE","naissance":"1980-04-00"}],
            "enfants":[]}}"#
                .replace('\n', " ");
        let world = World::new(&[
            ("a.yaml", &case("EXEMPLE", 200, &family)),
            ("b.yaml", &case("SEUL", 200, &alone)),
        ])
        .await;
        let folder = world.path("schools");
        std::fs::create_dir(&folder).expect("a folder");
        // Children of other families are at school too.
        for (name, given) in [
            ("exemple", "EMMA LOUISE"),
            ("exemple", "HUGO"),
            ("autre", "Emma"),
            ("exemple", "Rose"),
        ] {
            let case =
                format!("params: {{nom: '{name}', prenom: '{given}'}}\nstatus: 200\npayload: '{SCHOOL}'\n");
            std::fs::write(folder.join(format!("{name}-{given}.yaml")), case).expect("a case");
        }
        let mut config = world.config(database.url());
        let school = Produce {
            datatype: "cnaf/ecole@1".parse().expect("as the test arranges it"),
            sandbox: Some(folder),
            http: None,
            parameters: serde_json::from_str(r#"{"nom":"family_name","prenom":"given_names_joined"}"#)
                .expect("as the test arranges it"),
            layout: unefois_node::producer::source::reply::Layout::default(),
        };
        config.producer.as_mut().expect("a producer").produce.push(school);
        let node = world.node_with(config).await;
        world
            .publish(&node, |d| {
                let unit = |unit: &str| unit.parse().expect("as the test arranges it");
                let ecole = HabilitatedDatatype {
                    datatype: "cnaf/ecole@1".parse().expect("as the test arranges it"),
                    units: [unit("ecole")].into(),
                    sheet_sha256: unefois_core::Sha256::default(),
                };
                d.habilitations.push(unsigned(Habilitation {
                    id: "DP-2".parse().expect("as the test arranges it"),
                    demarche: "ecole".parse().expect("as the test arranges it"),
                    datatypes: vec![ecole.clone()],
                    ..d.habilitations[0].habilitation.clone()
                }));
                let quota = d.quotas[0].clone();
                d.quotas.push(unefois_core::directory::Quota {
                    datatype: ecole.datatype,
                    ..quota
                });
            })
            .await;
        let caller = world.caller(&node, &world.consumer);
        let stranger = world.caller(&node, &world.stranger);
        Self {
            world,
            node,
            caller,
            stranger,
        }
    }

    /// The attestation of a family, with the unit that names it alone.
    async fn family(&self, of: &str) -> String {
        let grant = self.world.grant(of, &["montant", "foyer"]);
        let answer = self
            .caller
            .fetch(self.world.request(&grant))
            .await
            .expect("a document");
        sd_jwt::present(&answer.attestation.sd_jwt, &["foyer"]).expect("an attestation")
    }

    fn asking(&self, child: Pivot, asker: &str, proof: &str) -> FetchRequest {
        let grant = self.world.child_grant(child, person(asker));
        FetchRequest {
            link_attestation: proof.to_owned(),
            ..self.world.request(&grant)
        }
    }
}

fn child(family_name: &str, given_names: &[&str], birthdate: &str) -> Pivot {
    Pivot {
        given_names: given_names.iter().map(|name| (*name).to_owned()).collect(),
        birthdate: birthdate.parse().expect("as the test arranges it"),
        gender: Gender::Female,
        birthcountry: None,
        ..person(family_name)
    }
}

/// As the family's attestation has a child: no sex, no place.
fn attested(child: Pivot) -> Pivot {
    Pivot {
        gender: Gender::Unspecified,
        birthplace: None,
        birthcountry: None,
        ..child
    }
}

/// In which year those were born who come of age in this one.
fn eighteen() -> i32 {
    SystemClock.now().to_utc().expect("a date").year() - 18
}

fn emma() -> Pivot {
    child("Exemple", &["Emma"], "2019-03-07")
}

fn whole_emma() -> Pivot {
    child("Exemple", &["Emma", "Louise"], "2019-03-07")
}

async fn a_child_is_answered_for_only_with_the_proof_that_it_is_the_asker_s(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    let (family, alone) = (scene.family("EXEMPLE").await, scene.family("SEUL").await);
    assert!(!family.contains("montant"));
    let forged = {
        let key = SigningKey::generate(scene.world.random.ring()).expect("a key");
        let claims = serde_json::json!({"iss": "urn:unefois:participant:18003506500010"});
        sd_jwt::issue(&key, &claims, &[]).expect("signed by nobody")
    };
    let whole = {
        let grant = scene.world.grant("EXEMPLE", &["montant"]);
        let answer = scene
            .caller
            .fetch(scene.world.request(&grant))
            .await
            .expect("a document");
        answer.attestation.sd_jwt
    };
    let (jwt, tail) = family.split_once('~').expect("an attestation");
    let cut = format!("{jwt}~");
    let changed = format!("{jwt}~{}", tail.replacen('a', "b", 1));
    let rows: [(&str, Pivot, &str, &str); 11] = [
        ("nothing is shown", emma(), "EXEMPLE", ""),
        ("another family's attestation", emma(), "EXEMPLE", &alone),
        ("another asker", emma(), "AUTRE", &family),
        (
            "a child of another",
            child("Autre", &["Emma"], "2019-03-07"),
            "EXEMPLE",
            &family,
        ),
        (
            "another date",
            child("Exemple", &["Emma"], "2019-03-08"),
            "EXEMPLE",
            &family,
        ),
        (
            "another first name",
            child("Exemple", &["Rose"], "2019-03-07"),
            "EXEMPLE",
            &family,
        ),
        (
            "an adult of the family",
            child("Conjoint", &["Camille"], "2019-03-07"),
            "EXEMPLE",
            &family,
        ),
        ("signed by nobody", emma(), "EXEMPLE", &forged),
        ("without the unit", emma(), "EXEMPLE", &cut),
        ("changed", emma(), "EXEMPLE", &changed),
        ("of other units", emma(), "EXEMPLE", &whole),
    ];
    for (what, child, asker, proof) in rows {
        let began = SystemClock.boottime();
        let (reason, status) = scene.caller.refused(scene.asking(child, asker, proof)).await;
        assert_eq!(reason, Reason::SubjectNotResolved, "{what}");
        assert_eq!(status.message(), "the person could not be resolved", "{what}");
        // As one whom nobody knows: on a step of 250 ms.
        assert!(SystemClock.boottime().micros_since(began) >= 250_000, "{what}");
        let entries = scene.node.entries().await;
        let last = entries.last().expect("an entry");
        assert_eq!(
            (last.event, last.reason),
            (Event::Refused, Some(reason)),
            "{what}"
        );
    }
    // Nothing of it is in the history of a child.
    let ledger = &scene.node.foundation.ledger;
    for key in [emma(), whole_emma(), attested(emma()), attested(whole_emma())].map(|one| one.canonical()) {
        assert!(ledger.by_person(&key).await.expect("the index reads").is_empty());
    }
    // Another consumer shows what was not made for it: it has no right here, and the attestation names its audience.
    let refused = scene
        .stranger
        .refused(scene.asking(emma(), "EXEMPLE", &family))
        .await
        .0;
    assert_eq!(refused, Reason::TokenBinding);

    // The school knows her by all her names, of which the asker typed the first, and by a date that may be half typed.
    let half = child("Exemple", &["Emma"], "2019");
    let answer = scene.caller.fetch(scene.asking(half, "EXEMPLE", &family)).await;
    let answer = answer.expect("the asker's child");
    assert!(answer.attestation.sd_jwt.len() > 100);
    assert_eq!(answer.entry.capacity, Some(unefois_core::Capacity::Child));
    // The child finds it, and the other parent too; the asker by the grant.
    let last = scene.node.entries().await.len() as u64 - 1;
    let other = NamedPerson {
        child: false,
        family_name: "CONJOINT".into(),
        given_names: vec!["Camille".into()],
        birthdate: "1980-04".parse::<BirthDate>().expect("a date"),
        gender: None,
    };
    for key in [attested(whole_emma()).canonical(), other.form()] {
        let places = ledger.by_person(&key).await.expect("the index reads");
        assert_eq!(places.last(), Some(&last));
    }

    // A day that was typed chooses nobody among those of the attested year: it is neither asked about nor kept.
    let typed = child("Exemple", &["Hugo", "Paul"], "2021-05-06");
    let answer = scene
        .caller
        .fetch(scene.asking(typed.clone(), "EXEMPLE", &family))
        .await;
    answer.expect("the school knows a Hugo");
    let last = scene.node.entries().await.len() as u64 - 1;
    let places = async |one: Pivot| ledger.by_person(&one.canonical()).await.expect("the index reads");
    assert_eq!(
        places(attested(child("Exemple", &["Hugo"], "2021"))).await,
        [last]
    );
    for kept in [typed.clone(), attested(typed)] {
        assert!(places(kept).await.is_empty());
    }
    scene.node.stop().await;
}

async fn a_parent_s_right_ends_when_the_child_is_of_age(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    let family = scene.family("EXEMPLE").await;
    let year = eighteen();
    // A year alone counts from its first day: as typed, and as the family's attestation has it.
    for (given_name, birthdate) in [
        ("Emma", format!("{year}-00-00")),
        ("Lea", format!("{year}-12-31")),
    ] {
        let grown = child("Exemple", &[given_name], &birthdate);
        let refused = scene
            .caller
            .refused(scene.asking(grown, "EXEMPLE", &family))
            .await
            .0;
        assert_eq!(refused, Reason::LegalBlock, "{given_name}");
        let last = scene.node.entries().await.pop().expect("an entry");
        assert_eq!(
            (last.event, last.reason),
            (Event::Refused, Some(Reason::LegalBlock)),
            "{given_name}"
        );
    }
    scene.node.stop().await;
}
