use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};
use unefois_core::catalogue::{Birthplace, PivotAttribute};
use unefois_core::decision::{Requester, authorizable};
use unefois_core::{
    Acr, AuthorizationDetails, Capacity, LegalBasis, Micros, ParticipantId, Pivot, Reason, Sha256, Siren,
    SubjectKind, Way, entity_form,
};
use unefois_jose::{jwe, strict_json};

use super::automatic::ON_FILE;
use crate::Error;
use crate::form::Form;
use crate::published::Edition;

/// How long a link may be followed, in days.
const LINK_DAYS: std::ops::RangeInclusive<u8> = 1..=30;
/// Largest `authorization_details`.
const MAX_DETAILS_BYTES: usize = 32 * 1024;
/// Largest `subject_check`.
const MAX_CHECK_BYTES: usize = 256;
/// The usual motives of officers, by their words.
const MOTIVES: [(&str, &str); 4] = [
    ("guichet", "demande faite au guichet"),
    ("telephone", "demande faite par téléphone"),
    ("courrier", "demande reçue par courrier"),
    ("instruction", "instruction d’un dossier déposé"),
];
/// Longest reason of an unchecked identity, in characters.
const MAX_REASON: usize = 200;

/// What a consumer pushed (RFC 9126), checked: it may be put before a person.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PushedRequest {
    pub(crate) client: ParticipantId,
    pub(crate) publisher: Option<ParticipantId>,
    /// How a browser comes back; `None` where nobody is present.
    pub(crate) back: Option<Back>,
    pub(crate) way: Way,
    /// How many days a link may be followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link_days: Option<u8>,
    /// Why an officer asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) motive: Option<String>,
    pub(crate) capacity: Capacity,
    pub(crate) elements: Vec<AuthorizationDetails>,
    pub(crate) binding: Binding,
    /// The child of the file, checked like the asker; `None` without one, or where nothing is checked.
    #[serde(default)]
    pub(crate) child: Option<SubjectCheck>,
}

/// How a browser comes back to the consumer, and the code is exchanged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Back {
    pub(crate) redirect_uri: String,
    pub(crate) state: String,
    /// PKCE, S256: the SHA-256 of the verifier (RFC 7636, 4.2).
    pub(crate) challenge: String,
}

/// How the grant is tied to the consumer's file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Binding {
    /// The file's identity, as an HMAC under 32 bytes that the consumer drew.
    Check(SubjectCheck),
    /// None, for this reason, where the démarche allows it.
    Unbound(String),
    /// The identity itself, sealed to the authority (`subject_jwe`), where the person does not log in.
    Sealed(String),
}

/// `subject_check`: HMAC-SHA-256 under `salt` of the canonical form that the consumer holds; both 32 bytes, base64url.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubjectCheck {
    salt: String,
    hmac: String,
}

impl SubjectCheck {
    fn parse(text: &str) -> Result<Self, Error> {
        let check: Self = strict_json::from_slice(text.as_bytes())
            .map_err(|_| Error::request("subject_check is {\"salt\", \"hmac\"}"))?;
        let long = |text: &str| URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32);
        match long(&check.salt) && long(&check.hmac) {
            true => Ok(check),
            false => Err(Error::request("subject_check holds 32 bytes of base64url each")),
        }
    }

    /// Whether this is the person: the date is tried at each precision at which a file may hold it.
    pub(crate) fn is(&self, pivot: &Pivot) -> bool {
        let (Ok(salt), Ok(mac)) = (
            URL_SAFE_NO_PAD.decode(&self.salt),
            URL_SAFE_NO_PAD.decode(&self.hmac),
        ) else {
            return false;
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salt);
        pivot
            .birthdate
            .precisions()
            .any(|date| hmac::verify(&key, &pivot.check_form(&date), &mac).is_ok())
    }

    /// Whether this is the company.
    pub(crate) fn is_entity(&self, siren: &Siren) -> bool {
        let decoded = (
            URL_SAFE_NO_PAD.decode(&self.salt),
            URL_SAFE_NO_PAD.decode(&self.hmac),
        );
        let (Ok(salt), Ok(mac)) = decoded else {
            return false;
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salt);
        hmac::verify(&key, &entity_form(siren), &mac).is_ok()
    }
}

impl Back {
    /// The PKCE challenge's bytes.
    pub(crate) fn challenge(&self) -> Result<Sha256, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.challenge);
        let bytes: [u8; 32] = bytes.ok().and_then(|b| b.try_into().ok()).ok_or(Error::Stored)?;
        Ok(Sha256::from_bytes(bytes))
    }

    /// Reads what a code needs to come back.
    fn take(form: &mut Form, client: &ParticipantId, edition: &Edition) -> Result<Self, Error> {
        if form.required("response_type", 16)? != "code" {
            return Err(Error::request("response_type must be code"));
        }
        let redirect_uri = form.required("redirect_uri", 2_048)?;
        listed(edition, client, &redirect_uri)?;
        let state = form.required("state", 512)?;
        if !state.bytes().all(|c| matches!(c, 0x20..=0x7e)) {
            return Err(Error::request("state must be printable ASCII"));
        }
        if form.required("code_challenge_method", 16)? != "S256" {
            return Err(Error::request("code_challenge_method must be S256"));
        }
        let challenge = form.required("code_challenge", 128)?;
        if !URL_SAFE_NO_PAD
            .decode(&challenge)
            .is_ok_and(|hash| hash.len() == 32)
        {
            return Err(Error::request(
                "code_challenge must be 43 characters of base64url",
            ));
        }
        Ok(Self {
            redirect_uri,
            state,
            challenge,
        })
    }
}

impl PushedRequest {
    /// Checks the parameters of a client that has been authenticated.
    ///
    /// # Errors
    /// Names the parameter, or the member of `authorization_details`, at fault.
    pub(crate) fn check(
        mut form: Form,
        client: ParticipantId,
        publisher: Option<ParticipantId>,
        edition: &Edition,
        now: Micros,
    ) -> Result<Self, Error> {
        // RFC 9126, 2.1 and RFC 9101: neither a reference to another request nor a request object. Grant Management for
        // OAuth, 5: each request makes a grant of its own, and none is merged into another or put in its place.
        for refused in ["request_uri", "request", "grant_id", "grant_management_action"] {
            if form.has(refused) {
                return Err(Error::request(format!("{refused} is not allowed here")));
            }
        }
        let way = word(form.take("way"), "way", Way::Present)?;
        let back = match way {
            Way::Present | Way::Link | Way::Agent => Some(Back::take(&mut form, &client, edition)?),
            Way::Automatic => None,
        };
        let usual = match way {
            Way::Present | Way::Link => Capacity::SelfPerson,
            Way::Agent => Capacity::Agent,
            Way::Automatic => Capacity::Automatic,
        };
        let capacity = word(form.take("capacity"), "capacity", usual)?;
        match (way, capacity) {
            (
                Way::Present | Way::Link,
                Capacity::SelfPerson | Capacity::Child | Capacity::Entity | Capacity::Helper,
            )
            | (Way::Agent, Capacity::Agent)
            | (Way::Automatic, Capacity::Automatic) => {}
            (Way::Present | Way::Link, Capacity::Agent | Capacity::Automatic)
            | (Way::Agent | Way::Automatic, _) => {
                return Err(Error::request("capacity is not that of the way of asking"));
            }
        }

        let link_days = link_days(&mut form, way)?;
        let motive = motive(&mut form, way)?;
        let text = form.required("authorization_details", MAX_DETAILS_BYTES)?;
        let elements = elements(&text)?;
        let requester = Requester {
            consumer: client,
            publisher,
        };
        let ground = edition.ground(now)?;
        authorizable(&ground, &requester, way, &elements).map_err(|refusal| Error::Details {
            path: refusal.field,
            what: "not allowed, or not within what may be asked".into(),
            reason: refusal.reason,
        })?;
        for (n, element) in elements.iter().enumerate() {
            match element.subject.kind {
                SubjectKind::SelfPerson | SubjectKind::Household if capacity != Capacity::Entity => {}
                SubjectKind::Child if capacity == Capacity::Child => child_can_be_named(element, n, edition)?,
                SubjectKind::Entity if capacity == Capacity::Entity => {}
                SubjectKind::SelfPerson
                | SubjectKind::Household
                | SubjectKind::Child
                | SubjectKind::Entity => {
                    return Err(Error::Details {
                        path: format!("authorization_details[{n}].subject.kind"),
                        what: "not in this capacity".into(),
                        reason: Reason::InvalidRequest,
                    });
                }
            }
        }
        let about_child = elements
            .iter()
            .any(|element| element.subject.kind == SubjectKind::Child);
        if capacity == Capacity::Child && !about_child {
            return Err(Error::request("capacity=child needs an element about a child"));
        }
        let binding = binding(&mut form, way, edition, &elements[0])?;
        if matches!(way, Way::Agent | Way::Automatic) && level(&elements, edition) > ON_FILE {
            return Err(Error::AcrTooLow);
        }
        if matches!(capacity, Capacity::Entity | Capacity::Helper) && matches!(binding, Binding::Unbound(_)) {
            return Err(Error::request(
                "whoever acts by a mandate needs subject_check: it says for whom",
            ));
        }
        let child = child_check(&mut form, capacity, &binding)?;
        Ok(Self {
            client,
            publisher,
            back,
            way,
            link_days,
            motive,
            capacity,
            elements,
            binding,
            child,
        })
    }

    /// Reads one that was stored; `None` where another version of the program wrote it: it is as good as expired.
    pub(crate) fn stored(body: &str) -> Option<Self> {
        serde_json::from_str(body).ok()
    }

    /// Checks again, when the request is opened and when it is granted, that it may be put before a person: a link may
    /// have waited for weeks.
    pub(crate) fn still_authorizable(&self, edition: &Edition, now: Micros) -> Result<(), Error> {
        if let Some(back) = &self.back {
            listed(edition, &self.client, &back.redirect_uri)?;
        }
        let requester = Requester {
            consumer: self.client,
            publisher: self.publisher,
        };
        let ground = edition.ground(now)?;
        authorizable(&ground, &requester, self.way, &self.elements).map_err(|refusal| Error::Details {
            path: refusal.field,
            what: "not allowed any more".into(),
            reason: refusal.reason,
        })
    }

    /// Whether the person acts by a mandate.
    pub(crate) fn by_mandate(&self) -> bool {
        matches!(self.capacity, Capacity::Entity | Capacity::Helper)
    }

    /// Whether a child is asked about, whom the person has to name.
    pub(crate) fn about_child(&self) -> bool {
        self.capacity == Capacity::Child
    }

    /// Whether anything of it rests on proactive information, to which a person may object.
    pub(crate) fn is_proactive(&self) -> bool {
        self.elements
            .iter()
            .any(|element| element.legal_basis == LegalBasis::Proactive)
    }

    /// The least assurance that all its elements need.
    pub(crate) fn level(&self, edition: &Edition) -> Acr {
        level(&self.elements, edition)
    }

    /// What names the dossier where tries are counted; nothing of it can be read back without the database's key.
    pub(crate) fn dossier_hash(&self) -> Sha256 {
        let dossier = self.elements.first().map_or("", |e| e.dossier_ref.as_str());
        Sha256::of_parts(&[self.client.to_string().as_bytes(), b"\x1f", dossier.as_bytes()])
    }

    /// Where the browser goes back to, with these parameters and the issuer (RFC 9207).
    pub(crate) fn back(&self, issuer: &str, parameters: &[(&str, &str)]) -> Result<String, Error> {
        let back = self.back.as_ref().ok_or(Error::Stored)?;
        let mut url = url::Url::parse(&back.redirect_uri).map_err(|_| Error::Stored)?;
        url.query_pairs_mut()
            .extend_pairs(parameters)
            .append_pair("state", &back.state)
            .append_pair("iss", issuer);
        Ok(url.into())
    }
}

fn level(elements: &[AuthorizationDetails], edition: &Edition) -> Acr {
    let levels = elements.iter().filter_map(|element| {
        let datatype = edition.catalogue.datatype(element.datatype())?;
        Some(datatype.sheet().assurance)
    });
    levels.max().unwrap_or(Acr::Eidas3)
}

/// Whether the answer may go there: it is compared exactly with the addresses of the directory in use.
fn listed(edition: &Edition, client: &ParticipantId, redirect_uri: &str) -> Result<(), Error> {
    let row = edition.directory.participant(client);
    match row.is_some_and(|row| row.redirect_uris.iter().any(|listed| listed == redirect_uri)) {
        true => Ok(()),
        false => Err(Error::request("redirect_uri is not one of the client's")),
    }
}

fn word<T: std::str::FromStr>(text: Option<String>, name: &'static str, default: T) -> Result<T, Error> {
    match text {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| Error::request(format!("{name} is not one of its words"))),
    }
}

/// How long a link may be followed: the longest time, unless the consumer wants a shorter one.
fn link_days(form: &mut Form, way: Way) -> Result<Option<u8>, Error> {
    match (way, form.take("link_days")) {
        (Way::Link, None) => Ok(Some(*LINK_DAYS.end())),
        (Way::Link, Some(text)) => match text.parse() {
            Ok(days) if LINK_DAYS.contains(&days) => Ok(Some(days)),
            Ok(_) | Err(_) => Err(Error::request("link_days is 1 to 30")),
        },
        (Way::Present | Way::Agent | Way::Automatic, None) => Ok(None),
        (Way::Present | Way::Agent | Way::Automatic, Some(_)) => {
            Err(Error::request("link_days goes with way=link"))
        }
    }
}

/// Why an officer asks: one of the usual motives by its word, or a line of the consumer's.
fn motive(form: &mut Form, way: Way) -> Result<Option<String>, Error> {
    match (way, form.take("motive")) {
        (Way::Agent, Some(text)) => {
            let usual = MOTIVES.iter().find(|(word, _)| *word == text);
            let text = usual.map_or(text, |(_, motive)| (*motive).to_owned());
            let sound =
                !text.trim().is_empty() && text.chars().count() <= MAX_REASON && text.chars().all(is_plain);
            match sound {
                true => Ok(Some(text)),
                false => Err(Error::request(
                    "motive is one line of 1 to 200 characters, in Latin letters",
                )),
            }
        }
        (Way::Agent, None) => Err(Error::request("motive is missing")),
        (Way::Present | Way::Link | Way::Automatic, None) => Ok(None),
        (Way::Present | Way::Link | Way::Automatic, Some(_)) => {
            Err(Error::request("motive goes with way=agent"))
        }
    }
}

fn elements(text: &str) -> Result<Vec<AuthorizationDetails>, Error> {
    const NAME: &str = "authorization_details";
    strict_json::check(text.as_bytes())
        .map_err(|_| details(NAME.to_owned(), "an array of objects, no member named twice"))?;
    let raw: Vec<&serde_json::value::RawValue> =
        serde_json::from_str(text).map_err(|_| details(NAME.to_owned(), "an array of objects"))?;
    if raw.is_empty() || raw.len() > unefois_core::authorization::MAX_ELEMENTS {
        return Err(details(NAME.to_owned(), "1 to 8 elements"));
    }
    let read = raw.into_iter().enumerate().map(|(n, element)| {
        serde_json::from_str(element.get()).map_err(|error| {
            // serde's text names members that are unknown or missing; values it would quote are cut off.
            let text = error.to_string();
            let member = ["unknown field `", "missing field `"]
                .iter()
                .find_map(|start| text.strip_prefix(start))
                .and_then(|rest| rest.split('`').next());
            match member {
                Some(member)
                    if member.len() <= 64
                        && member.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') =>
                {
                    let what = match text.starts_with("unknown") {
                        true => "not a member of this type",
                        false => "missing",
                    };
                    details(format!("{NAME}[{n}].{member}"), what)
                }
                Some(_) | None => details(format!("{NAME}[{n}]"), "not of type urn:unefois:justificatif:1"),
            }
        })
    });
    read.collect()
}

fn details(path: String, what: &'static str) -> Error {
    Error::Details {
        path,
        what: what.into(),
        reason: Reason::InvalidRequest,
    }
}

fn binding(
    form: &mut Form,
    way: Way,
    edition: &Edition,
    first: &AuthorizationDetails,
) -> Result<Binding, Error> {
    let (check, unbound) = (form.take("subject_check"), form.take("subject_unbound"));
    let sealed = form.take("subject_jwe");
    match (way, &check, &unbound, sealed) {
        (Way::Agent | Way::Automatic, None, None, Some(sealed)) => {
            return match sealed.len() <= jwe::MAX_PIVOT_BYTES {
                true => Ok(Binding::Sealed(sealed)),
                false => Err(Error::request("subject_jwe is too long")),
            };
        }
        (Way::Agent | Way::Automatic, ..) => {
            return Err(Error::request(
                "subject_jwe is needed, and nothing else of the identity",
            ));
        }
        (Way::Present | Way::Link, _, _, Some(_)) => {
            return Err(Error::request(
                "subject_jwe is for requests without the person's login",
            ));
        }
        (Way::Present | Way::Link, _, _, None) => {}
    }
    match (check, unbound) {
        (Some(check), None) => {
            if check.len() > MAX_CHECK_BYTES {
                return Err(Error::request("subject_check is too long"));
            }
            SubjectCheck::parse(&check).map(Binding::Check)
        }
        // Nobody sees who follows a link: with nothing to compare, whoever holds it would put their own data under the file.
        (None, Some(_)) if way == Way::Link => Err(Error::request("a link goes with subject_check")),
        (None, Some(reason)) => {
            let allowed = edition
                .catalogue
                .demarche(&first.demarche)
                .is_some_and(|demarche| demarche.subject_unbound);
            if !allowed {
                return Err(Error::request(
                    "this démarche allows no unchecked identity: send subject_check",
                ));
            }
            let sound = reason.chars().count() <= MAX_REASON && reason.chars().all(is_plain);
            match sound {
                true => Ok(Binding::Unbound(reason)),
                false => Err(Error::request(
                    "subject_unbound is one line of at most 200 characters, in Latin letters",
                )),
            }
        }
        (Some(_), Some(_)) | (None, None) => Err(Error::request(
            "either subject_check or subject_unbound is needed",
        )),
    }
}

/// What a French sentence is written with. Anything else could look like it and be something else (another alphabet, an
/// unseen mark) or change the direction of the text around it.
const fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{17f}' | '–' | '—' | '’' | '“' | '”' | '…' | '€' | '\u{202f}')
        && c != '\u{ad}'
}

/// A child's identity is typed on the page, which asks for no place of birth: nobody knows its code by heart.
fn child_can_be_named(element: &AuthorizationDetails, n: usize, edition: &Edition) -> Result<(), Error> {
    let datatype = edition.catalogue.datatype(element.datatype());
    let needs_place = datatype.is_some_and(|datatype| {
        let pivot = &datatype.sheet().pivot;
        let needed = pivot.any_of.first().map_or(&[][..], Vec::as_slice);
        pivot.birthplace != Birthplace::Never || needed.contains(&PivotAttribute::Birthcountry)
    });
    match needs_place {
        false => Ok(()),
        true => Err(Error::Details {
            path: format!("authorization_details[{n}].subject.kind"),
            what: "not served: this datatype needs the child's place of birth".into(),
            reason: Reason::NotImplemented,
        }),
    }
}

/// The second check: of the child, wherever the asker is checked and a child is asked about.
fn child_check(
    form: &mut Form,
    capacity: Capacity,
    binding: &Binding,
) -> Result<Option<SubjectCheck>, Error> {
    const NAME: &str = "subject_check_child";
    let wanted = capacity == Capacity::Child && matches!(binding, Binding::Check(_));
    match (form.take(NAME), wanted) {
        (None, false) => Ok(None),
        (Some(check), true) if check.len() <= MAX_CHECK_BYTES => SubjectCheck::parse(&check).map(Some),
        (Some(_), true) => Err(Error::request("subject_check_child is too long")),
        (None, true) => Err(Error::request(
            "subject_check_child is needed: the file names a child",
        )),
        (Some(_), false) => Err(Error::request(
            "subject_check_child goes with subject_check, about a child",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pivot() -> Pivot {
        serde_json::from_str(
            r#"{"family_name":"DUBOIS","given_names":["Angela","Claire"],"birthdate":"1962-08-24","gender":"female"}"#,
        )
        .unwrap()
    }

    fn check(family: &str, given: &str, date: &str) -> SubjectCheck {
        let salt = [7; 32];
        let form = unefois_core::check_form(family, given, &date.parse().unwrap());
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salt), &form);
        SubjectCheck {
            salt: URL_SAFE_NO_PAD.encode(salt),
            hmac: URL_SAFE_NO_PAD.encode(mac),
        }
    }

    #[test]
    fn another_person_is_not_the_dossier_s() {
        for (family, given, date) in [
            ("DURAND", "Angela", "1962-08-24"),
            ("DUBOIS", "Claire", "1962-08-24"),
            ("DUBOIS", "Angela", "1962-08-25"),
            ("DUBOIS", "Angela", "1963"),
        ] {
            assert!(
                !check(family, given, date).is(&pivot()),
                "{family} {given} {date}"
            );
        }
        for (family, given, date) in [
            ("Dubois", "angéla", "1962-08-24"),
            ("DUBOIS", "Angela", "1962-08"),
            ("DUBOIS", "Angela", "1962"),
        ] {
            assert!(check(family, given, date).is(&pivot()), "{family} {given} {date}");
        }
    }

    #[test]
    fn a_reason_is_written_as_french_is() {
        let plain = |text: &str| text.chars().all(is_plain);
        assert!(plain(
            "L’usager n’a pas d’état civil complet : « œuvre », 12 € — voir pièce n° 3…"
        ));
        for hidden in [
            "\n",
            "\u{0}",
            "\u{202e}",
            "\u{2066}",
            "\u{200b}",
            "\u{feff}",
            "\u{ad}",
            "\u{430}",
            "\u{3b1}",
            "\u{ff41}",
            "\u{85}",
            "\u{301}",
            "\u{1f600}",
        ] {
            assert!(
                !plain(&format!("dossier{hidden}ouvert")),
                "{}",
                hidden.escape_unicode()
            );
        }
    }

    #[test]
    fn a_subject_check_is_two_times_32_bytes() {
        for text in [
            "{}",
            "[]",
            r#"{"salt":"AA","hmac":"AA"}"#,
            r#"{"salt":"","hmac":"","x":1}"#,
        ] {
            assert!(SubjectCheck::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_refused_element_names_its_member_and_no_value() {
        for (text, path) in [
            (r#"[{"type":"x"}]"#, "authorization_details[0]"),
            (r#"[]"#, "authorization_details"),
            (r#"{}"#, "authorization_details"),
            (r#"[{"a":1,"a":2}]"#, "authorization_details"),
            (
                r#"[{"secret_member":1}]"#,
                "authorization_details[0].secret_member",
            ),
            ("[{},{},{},{},{},{},{},{},{}]", "authorization_details"),
        ] {
            match elements(text) {
                Err(Error::Details { path: at, .. }) => assert_eq!(at, path, "{text}"),
                Ok(_) | Err(_) => panic!("{text} was taken"),
            }
        }
    }
}
