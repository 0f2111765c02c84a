//! Asking for a grant: checked here first, pushed to the authority, finished when the browser comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::json;
use unefois_core::authorization::{Action, DetailsType, Mode, ModeKind, Subject, UnitRequest, Use};
use unefois_core::catalogue::{Datatype, Demarche};
use unefois_core::decision::{self, authorizable, may_rest_on};
use unefois_core::directory::ParticipantKind;
use unefois_core::{
    AuthorizationDetails, DatatypeRev, Habilitation, Handle, LegalBasis, Micros, ParticipantId, Pivot,
    Random, Reason, SealedSubject, Sha256, SubjectKind, Way,
};
use unefois_jose::{EncryptionKey, PublicKey, jwe};
use unefois_mesh::{Credential, Edition};
use unefois_proto::{AuthorizationCall, BrowserAnswer, CompletionCall, ElementCall, SubjectBinding};
use unefois_store::node::authorization::{Pending, pending_find, pending_insert, pending_take};
use unefois_store::node::grant::grant_insert;
use zeroize::Zeroizing;

use super::authority::{Pushed, Tokens};
use super::held::{GrantBody, HeldGrant, PendingBody};
use super::rest::Purpose;
use super::{Error, Inner, qr};

/// How long a browser may take to come back: a login, and the reading of one page.
const BROWSER_MS: i64 = 60 * 60_000;
/// Longest life of a `request_uri` that is believed, in seconds.
const MAX_URI_LIFE_S: i64 = 3_600;
const DAY_S: i64 = 86_400;
/// The session of what is answered in none, as its name is stored: no back-office's session is empty.
const NO_SESSION: &[u8] = b"";

/// What comes of a request.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Where to send a browser.
    Where(Requested),
    /// Nobody was asked: the grant.
    Granted(HeldGrant),
}

/// Where to send the person.
#[derive(Clone, Debug)]
pub struct Requested {
    /// The address for the browser.
    pub url: String,
    /// Comes back with the code.
    pub state: String,
    /// Until when the address works.
    pub expires_at: Micros,
    /// For a link: the address as a QR code, in SVG.
    pub qr_code: Option<String>,
}

impl Inner {
    /// Checks the request as the authority will, pushes it, and keeps what its completion needs.
    pub(super) async fn request(&self, call: AuthorizationCall) -> Result<Asked, Error> {
        if call.way == Way::Automatic {
            return self.with_nobody(&call).await.map(Asked::Granted);
        }
        let redirect_uri = call
            .redirect_uri
            .clone()
            .ok_or(Error::NotServed("no redirect_uri"))?;
        let random: &dyn Random = &self.random;
        let edition = self.directory.edition();
        let now = self.clock.now();
        let elements = self.allowed(&call, &edition, now)?;
        let (state, verifier) = (secret(random), secret(random));
        let mut form = self.form(&call, &elements, &edition)?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::of(verifier.as_bytes()).as_bytes());
        form.extend([
            ("response_type", "code".to_owned()),
            ("redirect_uri", redirect_uri.clone()),
            ("state", state.clone()),
            ("code_challenge_method", "S256".to_owned()),
            ("code_challenge", challenge),
        ]);
        let credential = self.authority.credential();
        let pushed: Pushed = self.authority.post(&credential, "/as/par", &form).await?;
        let longest = (call.link_days).map_or(MAX_URI_LIFE_S, |days| i64::from(days) * DAY_S);
        if !(1..=longest).contains(&pushed.expires_in) {
            return Err(Error::AuthorityAnswer("expires_in"));
        }
        let issuer = &edition.directory.authority().issuer;
        let mut url = url::Url::parse(&format!("{issuer}/as/authorize"))
            .map_err(|_| Error::AuthorityAnswer("the issuer's address"))?;
        url.query_pairs_mut()
            .append_pair("client_id", &self.participant.to_string())
            .append_pair("request_uri", &pushed.request_uri);

        let name = self.rest.name(Purpose::State, state.as_bytes());
        let body = PendingBody {
            verifier,
            redirect_uri,
            elements,
            link: (call.way == Way::Link).then_some(pushed.request_uri),
        };
        let opens_until = now.plus_ms(pushed.expires_in * 1_000);
        let session = (call.session.as_ref()).map_or(NO_SESSION, |session| session.as_str().as_bytes());
        let pending = Pending {
            state: name,
            tenant: self.tenant(),
            session: self.rest.name(Purpose::Session, session),
            sealed: self.rest.seal(Purpose::State, &name, &body, random),
            expires_at: match call.way {
                Way::Link => opens_until.plus_ms(BROWSER_MS),
                Way::Present | Way::Agent | Way::Automatic => now.plus_ms(BROWSER_MS),
            },
        };
        let mut tx = self.db.begin().await?;
        pending_insert(&mut tx, &pending).await?;
        tx.commit().await?;
        let url = String::from(url);
        Ok(Asked::Where(Requested {
            qr_code: match call.way {
                Way::Link => Some(qr::svg(&url).ok_or(Error::AuthorityAnswer("the issuer's address"))?),
                Way::Present | Way::Agent | Way::Automatic => None,
            },
            url,
            state,
            expires_at: opens_until,
        }))
    }

    /// Asks with nobody present: pushed, and granted at once.
    async fn with_nobody(&self, call: &AuthorizationCall) -> Result<HeldGrant, Error> {
        let edition = self.directory.edition();
        let elements = self.allowed(call, &edition, self.clock.now())?;
        let form = self.form(call, &elements, &edition)?;
        let credential = self.authority.credential();
        let pushed: Pushed = self.authority.post(&credential, "/as/par", &form).await?;
        let form = BTreeMap::from([
            ("client_id", self.participant.to_string()),
            ("grant_type", "urn:unefois:grant-type:automatic".to_owned()),
            ("request_uri", pushed.request_uri),
        ]);
        let tokens: Tokens = self.authority.post(&credential, "/as/token", &form).await?;
        self.keep(tokens, credential, &elements, &edition).await
    }

    /// Withdraws a link: the authority forgets it, then this node does.
    pub(super) async fn withdraw_link(&self, state: &str) -> Result<(), Error> {
        let name = self.rest.name(Purpose::State, state.as_bytes());
        let pending = pending_find(&self.db, &self.tenant(), &name).await?;
        let pending = pending.ok_or(Error::State)?;
        let body: PendingBody = self
            .rest
            .open(Purpose::State, &name, &pending.sealed)
            .ok_or(Error::Sealed)?;
        let link = body.link.ok_or(Error::State)?;
        let credential = self.authority.credential();
        let form = BTreeMap::from([("client_id", self.participant.to_string()), ("token", link)]);
        self.authority.send(&credential, "/as/revoke", &form).await?;
        pending_take(&self.db, &self.tenant(), &name).await?;
        Ok(())
    }

    /// Exchanges a code for the grant. The state is void from here on, unless the authority says that the same call may
    /// come again.
    pub(super) async fn complete(&self, call: CompletionCall) -> Result<HeldGrant, Error> {
        let edition = self.directory.edition();
        let now = self.clock.now();
        let (pending, body) = self.take_pending(&call, &edition, now).await?;
        let code = match call.answer {
            BrowserAnswer::Code(code) => code,
            BrowserAnswer::Declined => return Err(Error::Declined),
            BrowserAnswer::Failed(error) => return Err(Error::Ended(error)),
        };
        edition.ground(now).map_err(Error::Decision)?;
        let credential = self.authority.credential();
        let form = BTreeMap::from([
            ("client_id", self.participant.to_string()),
            ("grant_type", "authorization_code".to_owned()),
            ("code", code),
            ("redirect_uri", body.redirect_uri.clone()),
            ("code_verifier", body.verifier.clone()),
        ]);
        let tokens: Tokens = match self.authority.post(&credential, "/as/token", &form).await {
            Ok(tokens) => tokens,
            Err(error @ Error::AuthorityRefused(reason)) if reason.retryable() => {
                let mut tx = self.db.begin().await?;
                pending_insert(&mut tx, &pending).await?;
                tx.commit().await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        self.keep(tokens, credential, &body.elements, &edition).await
    }

    /// Checks what the authority granted against what was asked, and keeps it.
    async fn keep(
        &self,
        tokens: Tokens,
        credential: Arc<Credential>,
        asked: &[AuthorizationDetails],
        edition: &Edition,
    ) -> Result<HeldGrant, Error> {
        let now = self.clock.now();
        let elements = granted(&tokens.authorization_details, asked)?;
        let token = self.check(&tokens, credential, &tokens.authorization_details, edition, now)?;
        let first = elements
            .first()
            .ok_or(Error::AuthorityAnswer("no element is granted"))?;
        let grant = GrantBody {
            dossier: first.1.dossier_ref.clone(),
            demarche: first.1.demarche.clone(),
            grant_id: tokens.grant_id,
            refresh_token: Some(
                tokens
                    .refresh_token
                    .ok_or(Error::AuthorityAnswer("refresh_token"))?,
            ),
        };
        let (row, rows) = self.rows(&grant, &elements, now);
        let mut tx = self.db.begin().await?;
        grant_insert(&mut tx, &row, &rows).await?;
        tx.commit().await?;
        self.tokens.keep(&token, now);
        self.held(&row).await
    }

    /// Takes the pending request out and judges it: one state, one try, in the session that asked, from the issuer that
    /// was asked. All comparisons are of MACs, in constant time.
    async fn take_pending(
        &self,
        call: &CompletionCall,
        edition: &Edition,
        now: Micros,
    ) -> Result<(Pending, PendingBody), Error> {
        let name = self.rest.name(Purpose::State, call.state.as_bytes());
        let pending = pending_take(&self.db, &self.tenant(), &name).await?;
        let pending = pending.ok_or(Error::State)?;
        if pending.expires_at <= now {
            return Err(Error::State);
        }
        // After a link no session is expected: whose grant it is follows from the state, and whose data from the login.
        let anywhere = self.rest.is_named(Purpose::Session, NO_SESSION, &pending.session);
        let session = (call.session.as_ref()).map_or(NO_SESSION, |session| session.as_str().as_bytes());
        if !anywhere && !self.rest.is_named(Purpose::Session, session, &pending.session) {
            return Err(Error::Session);
        }
        let issuer = self
            .rest
            .name(Purpose::Issuer, edition.directory.authority().issuer.as_bytes());
        if !self.rest.is_named(Purpose::Issuer, call.iss.as_bytes(), &issuer) {
            return Err(Error::Issuer);
        }
        let body = self.rest.open(Purpose::State, &name, &pending.sealed);
        Ok((pending, body.ok_or(Error::Sealed)?))
    }

    /// What is asked for, as the authority takes it, if the directory and the catalogue allow it.
    fn allowed(
        &self,
        call: &AuthorizationCall,
        edition: &Edition,
        now: Micros,
    ) -> Result<Vec<AuthorizationDetails>, Error> {
        let ground = edition.ground(now).map_err(Error::Decision)?;
        let row = edition.directory.participant(&self.participant);
        let row = row.ok_or_else(|| not_entitled("client_id"))?;
        if (call.redirect_uri.as_ref()).is_some_and(|uri| !row.redirect_uris.contains(uri)) {
            return Err(Error::Field {
                field: "redirect_uri".to_owned(),
                what: "one of this participant's addresses in the directory",
            });
        }
        let demarche = edition.catalogue.demarche(&call.demarche);
        let demarche = demarche.ok_or_else(|| not_entitled("demarche"))?;
        if matches!(call.binding, SubjectBinding::Unbound(_)) && !demarche.subject_unbound {
            return Err(Error::Field {
                field: "binding.unbound_reason".to_owned(),
                what: "this démarche needs the identity that the file holds",
            });
        }
        let one = |(n, element)| self.element_details(call, element, n, demarche, row.kind, edition, now);
        let elements: Vec<AuthorizationDetails> = call
            .elements
            .iter()
            .enumerate()
            .map(one)
            .collect::<Result<_, _>>()?;
        authorizable(&ground, &self.requester(), call.way, &elements).map_err(|refusal| {
            Error::Decision(decision::Refusal {
                field: refusal.field.replacen("authorization_details", "elements", 1),
                ..refusal
            })
        })?;
        Ok(elements)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one element is made of all that its request rests on"
    )]
    fn element_details(
        &self,
        call: &AuthorizationCall,
        element: &ElementCall,
        n: usize,
        demarche: &Demarche,
        kind: ParticipantKind,
        edition: &Edition,
        now: Micros,
    ) -> Result<AuthorizationDetails, Error> {
        let refused = |reason, member: &str| {
            Error::Decision(decision::Refusal {
                reason,
                field: format!("elements[{n}].{member}"),
            })
        };
        let datatype = edition.catalogue.datatype(&element.datatype);
        let datatype = datatype.ok_or_else(|| refused(Reason::UnsupportedRevision, "datatype"))?;
        let habilitation = self.habilitation(call, datatype, edition, now);
        let habilitation = habilitation.ok_or_else(|| refused(Reason::NotEntitled, "habilitation"))?;
        let basis = legal_basis(call.way, habilitation, datatype, demarche, kind);
        let standing = call.standing;
        Ok(AuthorizationDetails {
            kind: DetailsType::Justificatif1,
            datatypes: [element.datatype.clone()],
            units: element
                .units
                .iter()
                .map(|(unit, need)| UnitRequest {
                    unit: unit.clone(),
                    need: *need,
                })
                .collect(),
            period: element.period,
            locations: [*datatype.operator()],
            actions: [Action::Fetch],
            demarche: call.demarche.clone(),
            habilitation: habilitation.id.clone(),
            dossier_ref: call.dossier.clone(),
            legal_basis: basis.ok_or_else(|| refused(Reason::LegalBlock, "legal_basis"))?,
            mode: Mode {
                kind: if standing.is_some() {
                    ModeKind::Standing
                } else {
                    ModeKind::Once
                },
                max_count: standing.map(|s| s.max_count),
                min_interval_s: standing.map(|s| s.min_interval_s),
                until: None,
            },
            usage: Use::Store,
            data_life_days: demarche.data_life_days,
            subject: Subject {
                // What is asked for beside a child's datum is about the asker: the proof of the link is.
                kind: match (call.subject, datatype.sheet().subject(SubjectKind::Child)) {
                    (SubjectKind::Child, None) => SubjectKind::SelfPerson,
                    (kind, _) => kind,
                },
            },
            gh: None,
        })
    }

    /// The right to ask this operator for this datatype: the one that was named, where it is with that operator, or the
    /// first in force that covers it. A habilitation has one producer, a request may have several.
    fn habilitation<'e>(
        &self,
        call: &AuthorizationCall,
        datatype: &Datatype,
        edition: &'e Edition,
        now: Micros,
    ) -> Option<&'e Habilitation> {
        let operator: &ParticipantId = datatype.operator();
        if let Some(id) = &call.habilitation {
            let named = edition.directory.habilitation(id)?.habilitation();
            if named.producer == *operator {
                return Some(named);
            }
        }
        let rev: &DatatypeRev = datatype.rev();
        let rows = edition.directory.document().habilitations.iter();
        rows.map(|row| &row.habilitation).find(|h| {
            h.consumer == self.participant
                && h.producer == *operator
                && h.demarche == call.demarche
                && h.units(rev).is_some()
                && h.in_force(now)
        })
    }

    /// What a request says, save how a browser comes back.
    fn form(
        &self,
        call: &AuthorizationCall,
        elements: &[AuthorizationDetails],
        edition: &Edition,
    ) -> Result<BTreeMap<&'static str, String>, Error> {
        let details = serde_json::to_string(elements).map_err(|_| Error::Sealed)?;
        let mut form = BTreeMap::from([
            ("client_id", self.participant.to_string()),
            ("way", call.way.to_string()),
            ("capacity", call.capacity.to_string()),
            ("authorization_details", details),
        ]);
        if let Some(motive) = &call.motive {
            form.insert("motive", motive.clone());
        }
        if let Some(days) = call.link_days {
            form.insert("link_days", days.to_string());
        }
        match &call.binding {
            SubjectBinding::Form(bytes) => {
                let check = subject_check(bytes, &self.random);
                form.insert("subject_check", check);
            }
            SubjectBinding::Unbound(reason) => {
                form.insert("subject_unbound", reason.clone());
            }
            SubjectBinding::Identity(pivot) => {
                form.insert("subject_jwe", self.sealed(pivot, edition)?);
            }
        }
        if let Some(SubjectBinding::Form(bytes)) = &call.child {
            form.insert("subject_check_child", subject_check(bytes, &self.random));
        }
        Ok(form)
    }
}

impl Inner {
    /// Seals an identity to the authority's key of the directory: nobody else reads it on the way.
    fn sealed(&self, pivot: &Pivot, edition: &Edition) -> Result<String, Error> {
        let jwk = edition.directory.authority().subject_keys.first();
        let jwk = jwk.ok_or(Error::NotServed("the authority lists no key for identities"))?;
        let key = PublicKey::from_point(&jwk.sec1()).map_err(Error::Token)?;
        let subject = SealedSubject::Person(pivot.clone());
        let json = Zeroizing::new(serde_json::to_string(&subject).map_err(|_| Error::Sealed)?);
        jwe::seal_pivot(&EncryptionKey::new(key), &json, self.random.ring()).map_err(Error::Token)
    }
}

/// `subject_check`: 32 random bytes, and the HMAC under them of the form that the file holds. Fresh bytes each time, so
/// that two requests about one person do not look alike.
fn subject_check(form: &[u8], random: &dyn Random) -> String {
    let salt: [u8; 32] = random.bytes();
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salt), form);
    json!({ "salt": URL_SAFE_NO_PAD.encode(salt), "hmac": URL_SAFE_NO_PAD.encode(mac) }).to_string()
}

/// 256 random bits: a state, a PKCE verifier (RFC 7636, 4.1).
fn secret(random: &dyn Random) -> String {
    URL_SAFE_NO_PAD.encode(random.bytes::<32>())
}

fn not_entitled(field: &str) -> Error {
    Error::Decision(decision::Refusal {
        reason: Reason::NotEntitled,
        field: field.to_owned(),
    })
}

/// The first ground of the habilitation that datatype and démarche share and the way of asking allows; private bodies have
/// consent alone.
fn legal_basis(
    way: Way,
    habilitation: &Habilitation,
    datatype: &Datatype,
    demarche: &Demarche,
    kind: ParticipantKind,
) -> Option<LegalBasis> {
    let shared = |basis: &&LegalBasis| {
        datatype.sheet().legal_bases.contains(basis)
            && demarche.legal_bases.contains(basis)
            && may_rest_on(way, basis)
            && (kind != ParticipantKind::Prive || **basis == LegalBasis::Consent)
    };
    habilitation.legal_bases.iter().find(shared).cloned()
}

/// Each granted element with its handle, if it is within what was asked for (RFC 9396, 7: never more).
pub(super) fn granted(
    granted: &[AuthorizationDetails],
    asked: &[AuthorizationDetails],
) -> Result<Vec<(Handle, AuthorizationDetails)>, Error> {
    if granted.is_empty() || granted.len() > asked.len() {
        return Err(Error::AuthorityAnswer("the number of elements"));
    }
    let mut handles = std::collections::HashSet::new();
    let one = |element: &AuthorizationDetails| {
        let handle = element.gh.ok_or(Error::AuthorityAnswer("a handle"))?;
        let within = asked.iter().any(|asked| {
            let units = element
                .units
                .iter()
                .all(|unit| asked.units.iter().any(|known| known.unit == unit.unit));
            let same = AuthorizationDetails {
                units: asked.units.clone(),
                mode: Mode {
                    until: asked.mode.until,
                    ..element.mode
                },
                gh: None,
                ..element.clone()
            };
            let longer = match (element.mode.until, asked.mode.until) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(end), Some(known)) => end > known,
            };
            units && same == *asked && !longer
        });
        if !within || !handles.insert(handle) {
            return Err(Error::AuthorityAnswer("more than was asked for"));
        }
        Ok((handle, element.clone()))
    };
    granted.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use unefois_mesh::SystemRandom;

    use super::*;

    fn element(change: &[(&str, &str)], gh: Option<u8>) -> AuthorizationDetails {
        let mut text = r#"{"type":"urn:unefois:justificatif:1","datatypes":["cnaf/quotient-familial@1"],
            "units":[{"unit":"valeur","need":"required"},{"unit":"adresse","need":"optional"}],
            "locations":["urn:unefois:participant:18003506500010"],
            "actions":["fetch"],"demarche":"cantine","habilitation":"DP-1","dossier_ref":"2026-0412",
            "legal_basis":"CRPA-L114-8-I","mode":{"kind":"once"},"use":"store","data_life_days":365,
            "subject":{"kind":"self"}}"#
            .to_owned();
        for (from, to) in change {
            assert!(text.contains(from));
            text = text.replace(from, to);
        }
        let mut element: AuthorizationDetails = serde_json::from_str(&text).unwrap();
        element.gh = gh.map(|n| Handle::from_bytes([n; 16]));
        element
    }

    #[test]
    fn what_is_granted_is_within_what_was_asked() {
        let asked = [element(&[], None)];
        for (change, gh) in [
            (&[][..], None),
            (&[("adresse", "composition")][..], Some(1)),
            (&[("2026-0412", "2026-0413")][..], Some(1)),
            (&[("DP-1", "DP-2")][..], Some(1)),
            (&[("365", "366")][..], Some(1)),
            (
                &[("\"once\"", "\"standing\",\"max_count\":2,\"min_interval_s\":1")][..],
                Some(1),
            ),
            (&[("18003506500010", "13002526500013")][..], Some(1)),
        ] {
            assert!(granted(&[element(change, gh)], &asked).is_err(), "{change:?}");
        }
        assert!(granted(&[], &asked).is_err());
        assert!(granted(&[element(&[], Some(1)), element(&[], Some(2))], &asked).is_err());
        let twice = [element(&[], None), element(&[("DP-1", "DP-2")], None)];
        assert!(
            granted(
                &[element(&[], Some(1)), element(&[("DP-1", "DP-2")], Some(1))],
                &twice
            )
            .is_err()
        );

        let standing = |until: &str| {
            let mode = format!(r#""standing","max_count":2,"min_interval_s":1{until}"#);
            element(&[("\"once\"", &mode)], None)
        };
        let shorter = |until| AuthorizationDetails {
            gh: Some(Handle::from_bytes([1; 16])),
            ..standing(until)
        };
        let [endless, ten] = ["", r#","until_us":10"#];
        for (given, of, within) in [
            (ten, endless, true),
            (r#","until_us":9"#, ten, true),
            (ten, ten, true),
            (r#","until_us":11"#, ten, false),
            (endless, ten, false),
        ] {
            assert_eq!(
                granted(&[shorter(given)], &[standing(of)]).is_ok(),
                within,
                "{given}"
            );
        }

        let fewer = element(&[(r#",{"unit":"adresse","need":"optional"}"#, "")], Some(1));
        assert_eq!(
            granted(&[fewer], &asked).unwrap()[0].0,
            Handle::from_bytes([1; 16])
        );
    }

    #[test]
    fn a_subject_check_is_fresh_each_time_and_opens_under_its_salt() {
        let random = SystemRandom::new();
        let (one, two) = (subject_check(b"form", &random), subject_check(b"form", &random));
        assert_ne!(one, two);
        let check: serde_json::Value = serde_json::from_str(&one).unwrap();
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(check[name].as_str().unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes("salt"));
        assert!(hmac::verify(&key, b"form", &bytes("hmac")).is_ok());
        assert_eq!(bytes("salt").len(), 32);
    }
}
