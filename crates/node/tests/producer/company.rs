//! What a token about a company has to say: whoever runs it is known to no provider of people's, so that the authority itself
//! asserts the level, and answers in that capacity alone.

use unefois_core::directory::{IdentityProvider, Quota};
use unefois_core::{
    Acr, Capacity, Event, HabilitatedDatatype, Habilitation, OfficerAssurance, Reason, SealedSubject, Sha256,
    SubjectKind,
};
use unefois_jose::jwe;
use unefois_node::config::Produce;
use unefois_node::producer::source::reply::Layout;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::i4::units;
use crate::signers::unsigned;
use crate::world::{Caller, Grant, ISSUER, Running, World, consumer_id, person, x5t};

both_databases![
    i10_of_a_company_the_level_and_the_capacity_are_the_producer_s_to_judge,
    a_company_is_asked_about_by_its_siren_and_nobody_else
];

/// The company that is known here, and one that is not.
const SIREN: &str = "130025265";
const OTHER: &str = "219200235";
/// ProConnect: it names officers, and asserts no level of people's.
const PRO: &str = "https://proconnect.example";

/// What a test changes in a grant before its token is minted, and the reason that it must give.
type Spoiled = (&'static str, fn(&mut Grant), Reason);

struct Scene {
    world: World,
    node: Running,
    caller: Caller,
}

impl Scene {
    async fn new(database: &TestDatabase) -> Self {
        let world = World::new(&[]).await;
        let folder = world.path("companies");
        std::fs::create_dir(&folder).expect("a folder");
        let case = format!(
            "params: {{siren: '{SIREN}'}}\nstatus: 200\npayload: '{{\"data\":{{\"statut\":\"ok\"}}}}'\n"
        );
        std::fs::write(folder.join("a.yaml"), case).expect("a case");
        let mut config = world.config(database.url());
        config
            .producer
            .as_mut()
            .expect("a producer")
            .produce
            .push(Produce {
                datatype: "cnaf/entreprise@1".parse().expect("a datatype"),
                sandbox: Some(folder),
                http: None,
                parameters: serde_json::from_str(r#"{"siren":"siren"}"#).expect("parameters"),
                layout: Layout::default(),
            });
        let node = world.node_with(config).await;
        world
            .publish(&node, |d| {
                let datatype = HabilitatedDatatype {
                    datatype: "cnaf/entreprise@1".parse().expect("a datatype"),
                    units: ["statut".parse().expect("a unit")].into(),
                    sheet_sha256: unefois_core::Sha256::default(),
                };
                d.quotas.push(Quota {
                    datatype: datatype.datatype.clone(),
                    ..d.quotas[0].clone()
                });
                d.habilitations.push(unsigned(Habilitation {
                    id: "DP-3".parse().expect("an id"),
                    demarche: "marche".parse().expect("a démarche"),
                    datatypes: vec![datatype],
                    ..d.habilitations[0].habilitation.clone()
                }));
                d.authority.identity_providers.extend([
                    IdentityProvider {
                        issuer: ISSUER.into(),
                        acr: vec![Acr::Eidas1],
                        officers: vec![],
                    },
                    IdentityProvider {
                        issuer: PRO.into(),
                        acr: vec![],
                        officers: vec![OfficerAssurance::Certified],
                    },
                ]);
            })
            .await;
        let caller = world.caller(&node, &world.consumer);
        Self { world, node, caller }
    }

    /// A grant about this subject, as the authority mints it for whoever runs a company.
    fn granted(&self, subject: &SealedSubject) -> Grant {
        let mut grant = self.world.grant("", &["statut"]);
        let json = serde_json::to_string(subject).expect("a subject");
        let ring = self.world.random.ring();
        grant.pivot_jwe = jwe::seal_pivot(&self.world.pivot, &json, ring).expect("sealed");
        let claims = &mut grant.claims;
        claims.pivot_hash = x5t(&Sha256::of(grant.pivot_jwe.as_bytes()));
        (claims.capacity, claims.acr) = (Capacity::Entity, Acr::Eidas1);
        claims.idp_iss = ISSUER.into();
        let details = grant.details();
        details.datatypes = ["cnaf/entreprise@1".parse().expect("a datatype")];
        details.demarche = "marche".parse().expect("a démarche");
        details.habilitation = "DP-3".parse().expect("an id");
        details.subject.kind = SubjectKind::Entity;
        grant
    }

    async fn assert_refused(&self, grant: &Grant, expected: Reason, what: &str) {
        let (reason, _) = self.caller.refused(self.world.request(grant)).await;
        assert_eq!(reason, expected, "{what}");
        let entry = self.node.entries().await.pop().expect("an entry");
        assert_eq!(
            (entry.event, entry.reason, entry.requester),
            (Event::Refused, Some(expected), Some(consumer_id())),
            "{what}"
        );
        assert_eq!(self.node.of_handle(&grant.claims.gh).await, 1, "{what}");
    }
}

fn company(siren: &str) -> SealedSubject {
    SealedSubject::Entity(siren.parse().expect("a SIREN"))
}

async fn i10_of_a_company_the_level_and_the_capacity_are_the_producer_s_to_judge(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    let spoiled: [Spoiled; 8] = [
        (
            "a level that the authority may not assert",
            |g| g.claims.acr = Acr::Eidas2,
            Reason::AcrTooLow,
        ),
        (
            "a level of the provider of officers",
            |g| g.claims.idp_iss = PRO.into(),
            Reason::AcrTooLow,
        ),
        (
            "a level of nobody's",
            |g| g.claims.idp_iss = "https://idp.example".into(),
            Reason::AcrTooLow,
        ),
        (
            "the person themselves",
            |g| g.claims.capacity = Capacity::SelfPerson,
            Reason::TokenInvalid,
        ),
        (
            "a parent",
            |g| g.claims.capacity = Capacity::Child,
            Reason::TokenInvalid,
        ),
        (
            "a helper",
            |g| g.claims.capacity = Capacity::Helper,
            Reason::TokenInvalid,
        ),
        (
            "an officer of the asker's",
            |g| g.claims.capacity = Capacity::Agent,
            Reason::TokenInvalid,
        ),
        (
            "nobody, where somebody has to be there",
            |g| g.claims.capacity = Capacity::Automatic,
            Reason::LegalBlock,
        ),
    ];
    for (what, spoil, expected) in spoiled {
        let mut grant = scene.granted(&company(SIREN));
        spoil(&mut grant);
        scene.assert_refused(&grant, expected, what).await;
    }
    let grant = scene.granted(&company(SIREN));
    let answer = scene
        .caller
        .fetch(scene.world.request(&grant))
        .await
        .expect("a document");
    assert_eq!(
        (answer.entry.event, answer.entry.capacity, answer.entry.acr),
        (Event::Released, Some(Capacity::Entity), Some(Acr::Eidas1))
    );
    scene.node.stop().await;
}

async fn a_company_is_asked_about_by_its_siren_and_nobody_else(database: TestDatabase) {
    let scene = Scene::new(&database).await;
    let unknown = scene.granted(&company(OTHER));
    scene
        .assert_refused(&unknown, Reason::SubjectNotResolved, "another company")
        .await;
    let a_person = scene.granted(&SealedSubject::Person(person("EXEMPLE")));
    scene
        .assert_refused(
            &a_person,
            Reason::InvalidRequest,
            "a person where a company is granted",
        )
        .await;
    let mut about_a_company = scene.world.grant("EXEMPLE", &["montant"]);
    let sealed = scene.granted(&company(SIREN));
    about_a_company.pivot_jwe.clone_from(&sealed.pivot_jwe);
    about_a_company
        .claims
        .pivot_hash
        .clone_from(&sealed.claims.pivot_hash);
    scene
        .assert_refused(
            &about_a_company,
            Reason::InvalidRequest,
            "a company where a person is granted",
        )
        .await;

    let grant = scene.granted(&company(SIREN));
    let answer = scene
        .caller
        .fetch(scene.world.request(&grant))
        .await
        .expect("a document");
    let status = ("statut".to_owned(), r#"{"statut":"ok"}"#.to_owned());
    assert_eq!(units(&scene.world, &answer), [status]);
    scene.node.stop().await;
}
