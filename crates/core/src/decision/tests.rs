use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::Handle;
use crate::catalogue::tests::FILES;
use crate::directory::tests::{AUTHORITY, CNAF, COMMUNE, PRODUCER_KID, accepted, sample};

const ISSUER: &str = "https://fc.example";
const NOW: &str = "2026-11-24T12:00:00Z";

/// The repository's catalogue with one file changed.
fn catalogue_with(file: &str, from: &str, to: &str) -> Catalogue {
    let texts: Vec<(&str, String)> = FILES
        .iter()
        .map(|(path, text)| {
            (
                *path,
                if *path == file {
                    text.replacen(from, to, 1)
                } else {
                    (*text).to_owned()
                },
            )
        })
        .collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
    Catalogue::load(&files).unwrap()
}

fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(|| Catalogue::load(FILES).unwrap())
}

/// The sample, its habilitation signed over what a catalogue says.
fn signed_over(catalogue: &Catalogue) -> String {
    let sheet = catalogue.datatype(&"cnaf/quotient-familial@1".parse().unwrap());
    let demarche = catalogue.demarche_sha256(&"cantine".parse().unwrap());
    sample()
        .replace(&"1".repeat(64), &demarche.unwrap().to_string())
        .replace(&"2".repeat(64), &sheet.unwrap().sheet_sha256().to_string())
}

/// The sample directory over a catalogue, with one text changed.
fn directory(catalogue: &Catalogue, from: &str, to: &str) -> Directory {
    let text = signed_over(catalogue).replace(&"0".repeat(64), &catalogue.hash().to_string());
    let changed = text.replace(from, to);
    assert!(from == to || changed != text, "no {from:?}");
    accepted(&changed)
}

fn element() -> AuthorizationDetails {
    serde_json::from_value(serde_json::json!({
        "type": "urn:unefois:justificatif:1", "datatypes": ["cnaf/quotient-familial@1"],
        "units": [{"unit": "valeur", "need": "required"}, {"unit": "composition", "need": "optional"}],
        "locations": [CNAF], "actions": ["fetch"], "demarche": "cantine", "habilitation": "DP-1",
        "dossier_ref": "2026-0412", "legal_basis": "CRPA-L114-8-I", "mode": {"kind": "once"}, "use": "store",
        "data_life_days": 365, "subject": {"kind": "self"}
    }))
    .unwrap()
}

fn granted() -> AuthorizationDetails {
    AuthorizationDetails {
        gh: Some(Handle::from_bytes([7; 16])),
        ..element()
    }
}

fn fetch() -> FetchCore {
    FetchCore {
        request_id: "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap(),
        handle: Handle::from_bytes([7; 16]),
        datatype: "cnaf/quotient-familial@1".parse().unwrap(),
        units: vec!["valeur".parse().unwrap()],
        period: None,
        demarche: "cantine".parse().unwrap(),
        dossier: "2026-0412".parse().unwrap(),
        nonce: [0; 32],
    }
}

fn commune() -> Requester {
    Requester {
        consumer: COMMUNE.parse().unwrap(),
        publisher: None,
    }
}

/// Whoever answers, with the key by which the sample's producer signed beside one that it has not used yet.
fn operator(id: &str) -> Operator {
    Operator {
        participant: id.parse().unwrap(),
        habilitation_keys: vec!["the next key".to_owned(), PRODUCER_KID.to_owned()],
        habilitations_ended: BTreeSet::new(),
    }
}

/// The decision over the repository's catalogue.
fn decide(
    directory: &Directory,
    requester: &Requester,
    granted: &AuthorizationDetails,
    fetch: &FetchCore,
    acr: Acr,
    issuer: &str,
) -> Result<UnitSet, (Reason, String)> {
    let ground = Ground::new(catalogue(), directory, NOW.parse().unwrap());
    let permit = ground
        .and_then(|ground| ground.entitle(&operator(CNAF), requester, Capacity::SelfPerson, granted))
        .and_then(|entitlement| {
            entitlement
                .release(fetch, acr, issuer)
                .map(|permit| permit.units())
        });
    permit.map_err(|refusal| (refusal.reason, refusal.field))
}

#[test]
fn stale_means_refuse() {
    let now = "2026-12-08T00:00:00Z".parse().unwrap();
    let refused = Ground::new(catalogue(), &directory(catalogue(), "", ""), now).unwrap_err();
    assert_eq!(refused.reason, Reason::DirectoryStale);
    let other = accepted(&sample());
    let refused = Ground::new(catalogue(), &other, NOW.parse().unwrap()).unwrap_err();
    assert_eq!(
        (refused.reason, refused.field.as_str()),
        (Reason::DirectoryStale, "catalogue")
    );
}

#[test]
fn a_directory_without_the_right_gives_none() {
    let (requester, granted, fetch) = (commune(), granted(), fetch());
    for (from, to, reason, field) in [
        (
            "\"id\":\"DP-1\"",
            "\"id\":\"DP-2\"",
            Reason::NotEntitled,
            "habilitation",
        ),
        ("2028-01-01", "2026-11-24", Reason::NotEntitled, "habilitation"),
        ("2026-01-01", "2026-11-25", Reason::NotEntitled, "habilitation"),
        (
            "\"demarche\":\"cantine\"",
            "\"demarche\":\"bourse\"",
            Reason::NotEntitled,
            "demarche",
        ),
        (
            "\"datatype\":\"cnaf/quotient-familial@1\",\"units\"",
            "\"datatype\":\"mesr/statut-etudiant@1\",\"units\"",
            Reason::NotEntitled,
            "datatypes",
        ),
        (
            "[\"valeur\",\"composition\"]",
            "[\"composition\"]",
            Reason::NotEntitled,
            "units",
        ),
        (
            "\"legal_bases\":[\"CRPA-L114-8-I\"]",
            "\"legal_bases\":[\"RGPD-6-1-a\"]",
            Reason::LegalBlock,
            "legal_basis",
        ),
        (
            "\"kind\":\"collectivite\"",
            "\"kind\":\"administration\"",
            Reason::NotEntitled,
            "demarche",
        ),
        ("\"acr\":[\"eidas1\"]", "\"acr\":[]", Reason::AcrTooLow, "acr"),
    ] {
        let directory = directory(catalogue(), from, to);
        let refused = decide(&directory, &requester, &granted, &fetch, Acr::Eidas1, ISSUER);
        assert_eq!(refused, Err((reason, field.to_owned())), "{to}");
    }
}

#[test]
fn another_consumer_publisher_or_issuer_gets_nothing() {
    let directory = directory(catalogue(), "", "");
    let stranger = Requester {
        consumer: AUTHORITY.parse().unwrap(),
        publisher: None,
    };
    let unknown = Requester {
        consumer: "urn:unefois:participant:13000495500014".parse().unwrap(),
        publisher: None,
    };
    let hosted = Requester {
        publisher: Some(CNAF.parse().unwrap()),
        ..commune()
    };
    for (requester, field) in [
        (stranger, "habilitation"),
        (unknown, "client_id"),
        (hosted, "act_client"),
    ] {
        let refused = decide(&directory, &requester, &granted(), &fetch(), Acr::Eidas1, ISSUER);
        assert_eq!(refused, Err((Reason::NotEntitled, field.to_owned())));
    }
    for (acr, issuer) in [(Acr::Eidas1, "https://other.example"), (Acr::Eidas2, ISSUER)] {
        let refused = decide(&directory, &commune(), &granted(), &fetch(), acr, issuer);
        assert_eq!(
            refused,
            Err((Reason::AcrTooLow, "acr".to_owned())),
            "I10: {acr:?} {issuer}"
        );
    }
    let ground = Ground::new(catalogue(), &directory, NOW.parse().unwrap()).unwrap();
    let elsewhere = granted();
    let refused = ground
        .entitle(&operator(AUTHORITY), &commune(), Capacity::SelfPerson, &elsewhere)
        .unwrap_err();
    assert_eq!(refused.reason, Reason::TokenInvalid);
}

#[test]
fn i4_a_habilitation_that_the_operator_s_own_key_has_not_signed_opens_nothing() {
    let directory = directory(catalogue(), "", "");
    let ground = Ground::new(catalogue(), &directory, NOW.parse().unwrap()).unwrap();
    let (requester, granted) = (commune(), granted());
    for keys in [vec![], vec!["another key".to_owned()]] {
        let operator = Operator {
            habilitation_keys: keys,
            ..operator(CNAF)
        };
        let refused = ground
            .entitle(&operator, &requester, Capacity::SelfPerson, &granted)
            .unwrap_err();
        assert_eq!(
            (refused.reason, refused.field.as_str()),
            (Reason::NotEntitled, "habilitation")
        );
    }
    ground
        .entitle(&operator(CNAF), &requester, Capacity::SelfPerson, &granted)
        .unwrap();
    // Signed by it, and ended since: another is not concerned.
    let own = directory.habilitation(&"DP-1".parse().unwrap()).unwrap();
    let ended = |hash: Sha256| Operator {
        habilitations_ended: [hash].into(),
        ..operator(CNAF)
    };
    let refused = ground.entitle(&ended(*own.hash()), &requester, Capacity::SelfPerson, &granted);
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.reason, refused.field.as_str()),
        (Reason::NotEntitled, "habilitation")
    );
    ground
        .entitle(
            &ended(Sha256::of(b"another")),
            &requester,
            Capacity::SelfPerson,
            &granted,
        )
        .unwrap();
}

#[test]
fn i4_a_catalogue_that_gives_a_signed_name_another_meaning_opens_nothing() {
    let (sheet, demarche) = ("types/cnaf.quotient-familial@1.yaml", "demarches/cantine.yaml");
    for (file, from, to, field) in [
        (
            sheet,
            "pointers: [/quotient_familial]",
            "pointers: [/quotient_familial, /allocataires, /enfants, /adresse]",
            Some("datatypes"),
        ),
        (
            sheet,
            "CRPA-L114-8-II]",
            "CRPA-L114-8-II, RGPD-6-1-a]",
            Some("datatypes"),
        ),
        (sheet, "label:\n  fr: Quotient", "label:\n  fr: Le quotient", None),
        (demarche, "max_count: 12", "max_count: 24", Some("demarche")),
        (demarche, "presence: required", "presence: none", Some("demarche")),
        (demarche, "fr: Tarif", "fr: Le tarif", None),
    ] {
        let other = catalogue_with(file, from, to);
        assert_ne!(other.hash(), catalogue().hash(), "{to}");
        let text = signed_over(catalogue()).replace(&"0".repeat(64), &other.hash().to_string());
        let directory = accepted(&text);
        let ground = Ground::new(&other, &directory, NOW.parse().unwrap()).unwrap();
        let told = |refusal: Refusal| (refusal.reason, refusal.field);
        let producer = ground
            .entitle(&operator(CNAF), &commune(), Capacity::SelfPerson, &granted())
            .map(drop);
        let authority = authorizable(&ground, &commune(), Way::Present, &[element()]);
        let refused = |prefix: &str| match field {
            Some(field) => Err((Reason::CatalogueChanged, format!("{prefix}{field}"))),
            None => Ok(()),
        };
        assert_eq!(producer.map_err(told), refused(""), "{to}");
        assert_eq!(
            authority.map_err(told),
            refused("authorization_details[0]."),
            "{to}"
        );
    }
}

#[test]
fn a_fetch_beyond_its_grant_is_refused() {
    let directory = directory(catalogue(), "", "");
    let change = |change: &dyn Fn(&mut FetchCore)| {
        let mut fetch = fetch();
        change(&mut fetch);
        decide(&directory, &commune(), &granted(), &fetch, Acr::Eidas1, ISSUER).unwrap_err()
    };
    let unit = |name: &str| name.parse::<UnitName>().unwrap();
    assert_eq!(
        change(&|f| f.handle = Handle::from_bytes([8; 16])).0,
        Reason::TokenInvalid
    );
    assert_eq!(
        change(&|f| f.units = vec![unit("adresse")]).0,
        Reason::UnitNotGranted
    );
    assert_eq!(
        change(&|f| f.units = vec![unit("valeur"), unit("revenu")]),
        (Reason::InvalidRequest, "units[1]".to_owned())
    );
    assert_eq!(change(&|f| f.units = vec![]).0, Reason::InvalidRequest);
    assert_eq!(
        change(&|f| f.period = Some("2026-05".parse().unwrap())),
        (Reason::UnitNotGranted, "period".to_owned())
    );
    assert_eq!(change(&|f| f.dossier = "other".parse().unwrap()).1, "dossier");
    assert_eq!(change(&|f| f.demarche = "bourse".parse().unwrap()).1, "demarche");
    assert_eq!(
        change(&|f| f.datatype = "mesr/statut-etudiant@1".parse().unwrap()).1,
        "datatype"
    );
}

#[test]
fn a_revision_past_its_sunset_and_a_too_low_level_are_refused() {
    let file = "types/cnaf.quotient-familial@1.yaml";
    let (requester, granted) = (commune(), granted());
    for (to, reason) in [
        (
            "sunset: \"2026-11-24\"\nassurance: eidas1",
            Reason::UnsupportedRevision,
        ),
        ("assurance: eidas2", Reason::AcrTooLow),
    ] {
        let catalogue = catalogue_with(file, "assurance: eidas1", to);
        let directory = directory(&catalogue, "", "");
        let ground = Ground::new(&catalogue, &directory, NOW.parse().unwrap()).unwrap();
        let refused = ground
            .entitle(&operator(CNAF), &requester, Capacity::SelfPerson, &granted)
            .and_then(|e| e.release(&fetch(), Acr::Eidas1, ISSUER))
            .unwrap_err();
        assert_eq!(refused.reason, reason);
    }
}

fn asked(way: Way, elements: &[AuthorizationDetails]) -> Result<(), (Reason, String)> {
    let directory = directory(catalogue(), "", "");
    let ground = Ground::new(catalogue(), &directory, NOW.parse().unwrap()).unwrap();
    authorizable(&ground, &commune(), way, elements).map_err(|refusal| (refusal.reason, refusal.field))
}

#[test]
fn a_request_names_the_offending_field() {
    let change = |from: &str, to: &str| {
        let text = serde_json::to_string(&element()).unwrap();
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        serde_json::from_str::<AuthorizationDetails>(&changed).unwrap()
    };
    for (from, to, reason, field) in [
        (
            "\"use\":",
            "\"gh\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"use\":",
            Reason::InvalidRequest,
            "gh",
        ),
        ("DP-1", "DP-9", Reason::NotEntitled, "habilitation"),
        (
            "\"composition\"",
            "\"adresse\"",
            Reason::NotEntitled,
            "units[1].unit",
        ),
        (
            "\"composition\"",
            "\"valeur\"",
            Reason::InvalidRequest,
            "units[1].unit",
        ),
        (
            "\"composition\"",
            "\"revenu\"",
            Reason::InvalidRequest,
            "units[1].unit",
        ),
        ("optional", "required", Reason::InvalidRequest, "units[1].need"),
        (
            "{\"unit\":\"valeur\",\"need\":\"required\"},",
            "",
            Reason::InvalidRequest,
            "units",
        ),
        (
            "\"data_life_days\":365",
            "\"data_life_days\":367",
            Reason::InvalidRequest,
            "data_life_days",
        ),
        (
            "\"kind\":\"once\"",
            "\"kind\":\"once\",\"max_count\":2",
            Reason::InvalidRequest,
            "mode",
        ),
        (
            "\"kind\":\"once\"",
            "\"kind\":\"standing\"",
            Reason::InvalidRequest,
            "mode.max_count",
        ),
        (
            "\"kind\":\"once\"",
            "\"kind\":\"standing\",\"max_count\":12,\"min_interval_s\":2419200,\"until_us\":1",
            Reason::InvalidRequest,
            "mode.until_us",
        ),
        (
            "\"kind\":\"once\"",
            "\"kind\":\"standing\",\"max_count\":12,\"min_interval_s\":1",
            Reason::InvalidRequest,
            "mode.min_interval_s",
        ),
        (
            "\"locations\"",
            "\"period\":\"2024-01\",\"locations\"",
            Reason::InvalidRequest,
            "period",
        ),
        (
            "{\"kind\":\"self\"}",
            "{\"kind\":\"child\"}",
            Reason::NotEntitled,
            "subject.kind",
        ),
        ("CRPA-L114-8-I", "TEXTE:X", Reason::LegalBlock, "legal_basis"),
        (CNAF, AUTHORITY, Reason::NotEntitled, "habilitation"),
    ] {
        let refused = asked(Way::Present, &[change(from, to)]);
        assert_eq!(
            refused,
            Err((reason, format!("authorization_details[0].{field}"))),
            "{to}"
        );
    }
    let refused = asked(Way::Automatic, &[element()]);
    assert_eq!(
        refused,
        Err((Reason::LegalBlock, "authorization_details[0].demarche".to_owned()))
    );
    assert_eq!(asked(Way::Present, &[]).unwrap_err().1, "authorization_details");
    assert_eq!(
        asked(Way::Present, &vec![element(); 9]).unwrap_err().1,
        "authorization_details"
    );
    assert_eq!(
        asked(Way::Present, &[element(), element()]).unwrap_err().1,
        "authorization_details[1].datatypes"
    );
    let standing = change(
        "\"kind\":\"once\"",
        "\"kind\":\"standing\",\"max_count\":12,\"min_interval_s\":2419200",
    );
    assert_eq!(asked(Way::Link, &[standing]), Ok(()));
    assert_eq!(asked(Way::Present, &[element()]), Ok(()));
}

#[test]
fn a_request_without_what_the_demarche_needs_is_refused() {
    let catalogue = catalogue_with(
        "demarches/cantine.yaml",
        "- [cnaf/quotient-familial]",
        "- [mesr/statut-etudiant]",
    );
    let directory = directory(&catalogue, "", "");
    let ground = Ground::new(&catalogue, &directory, NOW.parse().unwrap()).unwrap();
    let refused = authorizable(&ground, &commune(), Way::Present, &[element()]).unwrap_err();
    assert_eq!(
        (refused.reason, refused.field.as_str()),
        (Reason::InvalidRequest, "authorization_details")
    );
}

/// The démarche with fewer free units, built once.
fn catalogues() -> &'static [(Catalogue, u64)] {
    static CATALOGUES: OnceLock<Vec<(Catalogue, u64)>> = OnceLock::new();
    CATALOGUES.get_or_init(|| {
        [
            ("free: []", 0b001),
            ("free: [adresse]", 0b101),
            ("free: [composition, adresse]", 0b111),
        ]
        .map(|(free, bits)| {
            (
                catalogue_with("demarches/cantine.yaml", "free: [composition, adresse]", free),
                bits,
            )
        })
        .into()
    })
}

const UNITS: [&str; 3] = ["valeur", "composition", "adresse"];

fn names(bits: u64) -> Vec<UnitName> {
    UnitSet::from_bits(bits)
        .iter()
        .map(|n| UNITS[n].parse().unwrap())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn i4_released_is_asked_and_granted_and_habilitated_and_in_the_catalogue(
        asked in 0_u64..8, granted_bits in 0_u64..8, habilitated in 0_u64..8, which in 0_usize..3,
    ) {
        let (catalogue, in_demarche) = &catalogues()[which];
        let quoted: Vec<_> = names(habilitated).iter().map(|n| format!("\"{n}\"")).collect();
        let directory = directory(catalogue, "\"units\":[\"valeur\",\"composition\"]", &format!("\"units\":[{}]", quoted.join(",")));
        let units = names(granted_bits).into_iter();
        let granted = AuthorizationDetails {
            units: units.map(|unit| crate::authorization::UnitRequest { unit, need: Need::Required }).collect(),
            ..granted()
        };
        let fetch = FetchCore { units: names(asked), ..fetch() };
        let ground = Ground::new(catalogue, &directory, NOW.parse().unwrap()).unwrap();
        let requester = commune();
        let entitlement = ground.entitle(&operator(CNAF), &requester, Capacity::SelfPerson, &granted).unwrap();
        match entitlement.release(&fetch, Acr::Eidas1, ISSUER) {
            Ok(permit) => {
                let released = permit.units();
                for bound in [asked, granted_bits, habilitated, *in_demarche] {
                    prop_assert!(released.is_subset(UnitSet::from_bits(bound)));
                }
                prop_assert!(!released.is_empty());
                // What leaves is cut to the permit, whatever the source returned.
                let source = br#"{"quotient_familial":{"fournisseur":"CNAF","valeur":1,"annee":2026,"mois":5,"annee_calcul":2026,
                    "mois_calcul":5,"more":1},"allocataires":[{"nom_naissance":"A","prenoms":"B","date_naissance":"2000-01-01"}],
                    "enfants":[],"adresse":{"destinataire":"C","telephone":"0"},"more":{"x":1}}"#;
                let cut = permit.datatype().accept(source, 4096).unwrap().cut(released).unwrap();
                let sent: Vec<_> = cut.iter().map(|(name, _)| name.clone()).collect();
                prop_assert_eq!(sent, names(released.bits()));
                prop_assert!(cut.iter().all(|(_, text)| !text.contains("more") && !text.contains("telephone")));
            }
            Err(refusal) => {
                let within = asked & granted_bits & habilitated & in_demarche == asked && asked != 0;
                prop_assert!(!within, "{refusal}");
            }
        }
    }
}

/// A request about a child, over a directory that gives the commune the right: the family first, then the school.
fn about_child(
    catalogue: &Catalogue,
    spoil: impl FnOnce(&mut Vec<AuthorizationDetails>),
    way: Way,
) -> Option<Reason> {
    let mut family = element();
    family.demarche = "transport-scolaire".parse().unwrap();
    family.units =
        serde_json::from_value(serde_json::json!([{"unit": "composition", "need": "required"}])).unwrap();
    let mut school = family.clone();
    school.datatypes = ["men/statut-eleve@1".parse().unwrap()];
    school.subject.kind = SubjectKind::Child;
    school.units = serde_json::from_value(serde_json::json!([
        {"unit": "scolarite", "need": "required"}, {"unit": "etablissement", "need": "required"}
    ]))
    .unwrap();
    let mut elements = vec![family, school];
    spoil(&mut elements);
    let directory = directory(catalogue, "", "");
    let now: Micros = NOW.parse().unwrap();
    let ground = Ground::new(catalogue, &directory, now).unwrap();
    let school = &elements[elements.len() - 1];
    linked(&ground, way, school, &elements)
        .err()
        .map(|refusal| refusal.reason)
}

#[test]
fn a_child_is_asked_about_beside_what_proves_whose_it_is() {
    assert_eq!(about_child(catalogue(), |_| {}, Way::Present), None);
    let spoiled: [fn(&mut Vec<AuthorizationDetails>); 4] = [
        |all| drop(all.remove(0)),
        |all| all[0].units[0].need = Need::Optional,
        |all| all[0].units[0].unit = "valeur".parse().unwrap(),
        |all| all[0].subject.kind = SubjectKind::Child,
    ];
    for spoil in spoiled {
        assert_eq!(
            about_child(catalogue(), spoil, Way::Present),
            Some(Reason::InvalidRequest)
        );
    }
    // What an officer writes down is taken from an officer alone.
    const LINK: &str =
        "link:\n      attestation: {datatype: cnaf/quotient-familial, unit: composition, max_age_days: 31}";
    let declared = catalogue_with("types/men.statut-eleve@1.yaml", LINK, "link: declared");
    assert_eq!(
        about_child(&declared, |_| {}, Way::Present),
        Some(Reason::LegalBlock)
    );
    assert_eq!(
        about_child(&declared, |_| {}, Way::Link),
        Some(Reason::LegalBlock)
    );
    assert_eq!(about_child(&declared, |_| {}, Way::Agent), None);
}

#[test]
fn a_way_of_asking_rests_on_its_own_grounds_alone() {
    let text = LegalBasis::Text("X".to_owned());
    let grounds = [
        LegalBasis::Request,
        LegalBasis::Proactive,
        LegalBasis::Consent,
        text,
    ];
    for (way, may) in [
        (Way::Present, [true, false, true, true]),
        (Way::Link, [true, false, true, true]),
        (Way::Agent, [true, false, false, true]),
        (Way::Automatic, [true, true, false, false]),
    ] {
        for (basis, may) in grounds.iter().zip(may) {
            assert_eq!(may_rest_on(way, basis), may, "{way} {basis}");
        }
    }
}

/// The token says in which capacity somebody stands behind it, and with that how it was asked: a producer judges it too,
/// whatever the authority has let through.
#[test]
fn i4_a_capacity_that_the_demarche_or_the_subject_excludes_opens_nothing() {
    let directory = directory(catalogue(), "", "");
    let ground = Ground::new(catalogue(), &directory, NOW.parse().unwrap()).unwrap();
    let (requester, granted) = (commune(), granted());
    let entitled = |capacity| {
        let entitled = ground.entitle(&operator(CNAF), &requester, capacity, &granted);
        entitled
            .map(drop)
            .map_err(|refusal| (refusal.reason, refusal.field))
    };
    // Somebody has to be there for the canteen.
    let absent = (Reason::LegalBlock, "demarche".to_owned());
    assert_eq!(entitled(Capacity::Automatic), Err(absent));
    let of_a_company = (Reason::TokenInvalid, "subject.kind".to_owned());
    assert_eq!(entitled(Capacity::Entity), Err(of_a_company));
    for capacity in [
        Capacity::SelfPerson,
        Capacity::Child,
        Capacity::Helper,
        Capacity::Agent,
    ] {
        assert_eq!(entitled(capacity), Ok(()), "{capacity}");
    }

    use SubjectKind::{Child, Entity, Household, SelfPerson};
    for (capacity, subjects) in [
        (Capacity::SelfPerson, &[SelfPerson, Household][..]),
        (Capacity::Child, &[SelfPerson, Household, Child]),
        (Capacity::Entity, &[Entity]),
        (Capacity::Helper, &[SelfPerson, Household]),
        (Capacity::Agent, &[SelfPerson, Household]),
        (Capacity::Automatic, &[SelfPerson, Household]),
    ] {
        for subject in [SelfPerson, Child, Household, Entity] {
            assert_eq!(
                may_be_about(capacity, subject),
                subjects.contains(&subject),
                "{capacity} {subject}"
            );
        }
    }
}
