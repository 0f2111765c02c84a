//! What persons grant on the small mesh, and the tokens that say so.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use unefois_core::authorization::{Action, DetailsType, Mode, ModeKind, Need, Subject, UnitRequest, Use};
use unefois_core::commitment::GrantSecret;
use unefois_core::{
    AccessTokenClaims, Acr, AuthorizationDetails, Capacity, Cnf, Gender, Handle, LegalBasis, Pivot, Random,
    RevocationView, SealedSubject, Sha256, SubjectKind,
};
use unefois_jose::{access_token, jwe};
use unefois_proto::pb::exchange::v1 as pb;

use super::{IDP, ISSUER, World, consumer_id, producer_id};

/// What a person granted.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) claims: AccessTokenClaims,
    pub(crate) pivot_jwe: String,
    pub(crate) units: Vec<String>,
}

impl Grant {
    /// The same, with other claims.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut AccessTokenClaims)) -> Self {
        change(&mut self.claims);
        self
    }

    pub(crate) fn details(&mut self) -> &mut AuthorizationDetails {
        &mut self.claims.authorization_details[0]
    }
}

impl World {
    /// A grant of `units` about the person of this family name, one-shot.
    pub(crate) fn grant(&self, family_name: &str, units: &[&str]) -> Grant {
        let random = &self.random as &dyn Random;
        let subject = SealedSubject::Person(person(family_name));
        let json = serde_json::to_string(&subject).expect("as the test arranges it");
        let pivot_jwe = jwe::seal_pivot(&self.pivot, &json, self.random.ring()).expect("a sealed pivot");
        let now = self.clock.now();
        let handle = Handle::draw(now, random);
        let details = AuthorizationDetails {
            kind: DetailsType::Justificatif1,
            datatypes: ["cnaf/revenu@1".parse().expect("as the test arranges it")],
            units: units
                .iter()
                .map(|unit| UnitRequest {
                    unit: unit.parse().expect("as the test arranges it"),
                    need: Need::Required,
                })
                .collect(),
            period: None,
            locations: [producer_id()],
            actions: [Action::Fetch],
            demarche: "cantine".parse().expect("as the test arranges it"),
            habilitation: "DP-1".parse().expect("as the test arranges it"),
            dossier_ref: "2026-0412".parse().expect("as the test arranges it"),
            legal_basis: LegalBasis::Request,
            mode: Mode {
                kind: ModeKind::Once,
                max_count: None,
                min_interval_s: None,
                until: None,
            },
            usage: Use::Store,
            data_life_days: 365,
            subject: Subject {
                kind: SubjectKind::SelfPerson,
            },
            gh: Some(handle),
        };
        let certificate = self.consumer.credential().cert_sha256;
        let claims = AccessTokenClaims {
            iss: ISSUER.into(),
            aud: producer_id(),
            sub: "pairwise".into(),
            client_id: consumer_id(),
            act_client: None,
            iat: now.secs(),
            nbf: now.secs(),
            exp: now.secs() + 60,
            jti: "jti".into(),
            acr: Acr::Eidas2,
            auth_time: now.secs(),
            idp_iss: IDP.into(),
            cnf: Cnf {
                x5t_s256: x5t(&certificate),
            },
            gh: handle,
            authorization_details: [details],
            capacity: Capacity::SelfPerson,
            mandate: None,
            pivot_hash: x5t(&Sha256::of(pivot_jwe.as_bytes())),
            gs: GrantSecret::draw(random),
            rvk: RevocationView { epoch: 1, seq: 0 },
            motive: None,
            subject_unbound: None,
        };
        Grant {
            claims,
            pivot_jwe,
            units: units.iter().map(|u| (*u).to_owned()).collect(),
        }
    }

    /// A grant of `cnaf/ecole@1` about a child, by a parent.
    pub(crate) fn child_grant(&self, child: Pivot, asker: Pivot) -> Grant {
        let mut grant = self
            .grant("", &["ecole"])
            .with(|claims| claims.capacity = Capacity::Child);
        let subject = SealedSubject::Child { child, asker };
        let json = serde_json::to_string(&subject).expect("as the test arranges it");
        grant.pivot_jwe = jwe::seal_pivot(&self.pivot, &json, self.random.ring()).expect("a sealed pivot");
        grant.claims.pivot_hash = x5t(&Sha256::of(grant.pivot_jwe.as_bytes()));
        let details = grant.details();
        details.datatypes = ["cnaf/ecole@1".parse().expect("as the test arranges it")];
        details.demarche = "ecole".parse().expect("as the test arranges it");
        details.habilitation = "DP-2".parse().expect("as the test arranges it");
        details.subject.kind = SubjectKind::Child;
        grant
    }

    /// The same grant about this person.
    pub(crate) fn about(&self, mut grant: Grant, person: Pivot) -> Grant {
        let json = serde_json::to_string(&SealedSubject::Person(person)).expect("as the test arranges it");
        grant.pivot_jwe = jwe::seal_pivot(&self.pivot, &json, self.random.ring()).expect("a sealed pivot");
        grant.claims.pivot_hash = x5t(&Sha256::of(grant.pivot_jwe.as_bytes()));
        grant
    }

    /// A request for everything that the grant covers, with a new id.
    pub(crate) fn request(&self, grant: &Grant) -> pb::FetchRequest {
        let random = &self.random as &dyn Random;
        let details = &grant.claims.authorization_details[0];
        pb::FetchRequest {
            request_id: random.exchange_id(self.clock.now()).to_string(),
            access_token: self.mint(&grant.claims),
            pivot_jwe: grant.pivot_jwe.clone(),
            datatype: details.datatype().to_string(),
            units: grant.units.clone(),
            period: details.period.map(|p| p.to_string()).unwrap_or_default(),
            demarche: details.demarche.to_string(),
            dossier_ref: details.dossier_ref.to_string(),
            nonce: random.bytes::<32>().to_vec(),
            ..Default::default()
        }
    }

    /// A token with these claims, signed by the authority.
    pub(crate) fn mint(&self, claims: &AccessTokenClaims) -> String {
        access_token::sign(&self.token_key, claims).expect("claims that may be signed")
    }
}

pub(crate) fn x5t(digest: &Sha256) -> String {
    URL_SAFE_NO_PAD.encode(digest.as_bytes())
}

pub(crate) fn person(family_name: &str) -> Pivot {
    Pivot {
        family_name: family_name.to_owned(),
        given_names: vec!["Camille".into()],
        birthdate: "1980-04".parse().expect("as the test arranges it"),
        gender: Gender::Unspecified,
        birthplace: None,
        birthcountry: Some("99100".parse().expect("as the test arranges it")),
        preferred_username: None,
    }
}
