use unefois_core::authorization::{MAX_ELEMENTS, Need};
use unefois_core::{
    BirthDate, Capacity, Cog, DatatypeRev, DemarcheId, DossierRef, ExchangeId, Gender, HabilitationId,
    Handle, Period, Pivot, Siren, SubjectKind, UnitName, Way, check_form, compare_key, entity_form,
};

use crate::InvalidMessage;
use crate::exchange::LinkAttestation;
use crate::invalid::Check;
use crate::pb::backoffice::v1 as pb;

const MAX_UNITS: usize = 64;
/// Most given names of a person.
const MAX_GIVEN_NAMES: usize = 20;
/// Longest name of a person, in bytes.
const MAX_NAME_BYTES: usize = 512;
/// Longest reason of an unchecked identity, in characters.
const MAX_REASON: usize = 200;
/// Longest address, in bytes.
const MAX_URI_BYTES: usize = 2_048;
/// The back-office's own session: long enough not to be guessed.
const SESSION_BYTES: std::ops::RangeInclusive<usize> = 16..=512;
/// How long a link may be followed, in days.
const LINK_DAYS: std::ops::RangeInclusive<u8> = 1..=30;
/// Longest code, state, issuer or error, in bytes.
const MAX_ANSWER_BYTES: usize = 2_048;
const MAX_PAGE: u32 = 500;
const DEFAULT_PAGE: u32 = 100;

/// A checked request for a grant.
#[derive(Clone, Debug)]
pub struct AuthorizationCall {
    /// How the person is asked.
    pub way: Way,
    /// For which démarche.
    pub demarche: DemarcheId,
    /// By which right; by whichever the directory holds where absent.
    pub habilitation: Option<HabilitationId>,
    /// For which file.
    pub dossier: DossierRef,
    /// What is asked for, at least one.
    pub elements: Vec<ElementCall>,
    /// Who it is about.
    pub subject: SubjectKind,
    /// In what capacity the person acts.
    pub capacity: Capacity,
    /// How the grant is tied to the file.
    pub binding: SubjectBinding,
    /// Where the browser comes back to; `None` where nobody is present.
    pub redirect_uri: Option<String>,
    /// Limits of a standing grant.
    pub standing: Option<StandingCall>,
    /// The back-office's session; `None` for a link, and where nobody is present.
    pub session: Option<SessionToken>,
    /// How many days a link may be followed, 1 to 30; `None` for every other way.
    pub link_days: Option<u8>,
    /// Why an officer asks; `None` for every other way.
    pub motive: Option<String>,
    /// The child that the file holds, in the canonical form under a check of its own.
    pub child: Option<SubjectBinding>,
}

/// One datatype at one producer.
#[derive(Clone, Debug)]
pub struct ElementCall {
    /// What.
    pub datatype: DatatypeRev,
    /// Which parts, at least one.
    pub units: Vec<(UnitName, Need)>,
    /// About which period.
    pub period: Option<Period>,
}

/// Limits of a standing grant, both at least 1.
#[derive(Clone, Copy, Debug)]
pub struct StandingCall {
    /// How many fetches in all.
    pub max_count: u32,
    /// Least time between two of them, in seconds.
    pub min_interval_s: u32,
}

/// How a grant is tied to the file.
#[derive(Clone)]
pub enum SubjectBinding {
    /// By the identity that the file holds, in the canonical form under a `subject_check`.
    Form(Vec<u8>),
    /// Not at all, for this reason.
    Unbound(String),
    /// By the whole identity of a person who does not log in.
    Identity(Box<Pivot>),
}

/// What the file holds is personal, so a log never shows it.
impl std::fmt::Debug for SubjectBinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Form(_) => "Form(…)",
            Self::Unbound(_) => "Unbound(…)",
            Self::Identity(_) => "Identity(…)",
        })
    }
}

/// A back-office's own name of the session that the browser must come back in.
#[derive(Clone)]
pub struct SessionToken(String);

impl SessionToken {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

/// What the browser brought back, checked for form only.
#[derive(Clone, Debug)]
pub struct CompletionCall {
    /// The state, unverified.
    pub state: String,
    /// The issuer that answered (RFC 9207), unverified.
    pub iss: String,
    /// A code, or the error that came instead.
    pub answer: BrowserAnswer,
    /// The session in which it came back, unverified; `None` where the back-office has none, as after a link.
    pub session: Option<SessionToken>,
}

/// What an authorization endpoint answers (RFC 6749, 4.1.2).
#[derive(Clone)]
pub enum BrowserAnswer {
    /// The code.
    Code(String),
    /// The person declined.
    Declined,
    /// Another error of the authority: 1 to 64 of `a-z _`.
    Failed(String),
}

impl std::fmt::Debug for BrowserAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(_) => f.write_str("Code(…)"),
            Self::Declined => f.write_str("Declined"),
            Self::Failed(error) => write!(f, "Failed({error})"),
        }
    }
}

/// A checked Fetch of a back-office.
#[derive(Clone, Debug)]
pub struct HandleCall {
    /// Under which handle.
    pub handle: Handle,
    /// The request's id; drawn by the node where absent.
    pub request_id: Option<ExchangeId>,
    /// Which parts, sorted, each once; all that are granted where empty.
    pub units: Vec<UnitName>,
    /// What proves a child's link to the asker, unverified.
    pub link: Option<LinkAttestation>,
}

/// A checked request for a page of grants.
#[derive(Clone, Debug)]
pub struct GrantsCall {
    /// Of one file, or of all.
    pub dossier: Option<DossierRef>,
    /// Rows a page.
    pub page_size: u16,
    /// Where the last page ended, unverified.
    pub page_token: Option<String>,
}

impl TryFrom<pb::RequestAuthorizationRequest> for AuthorizationCall {
    type Error = InvalidMessage;

    fn try_from(message: pb::RequestAuthorizationRequest) -> Result<Self, InvalidMessage> {
        let mut check = Check::default();
        let way = way(&mut check, message.way());
        let subject = subject(&mut check, message.subject());
        let capacity = capacity(&mut check, message.capacity());
        let demarche = check.parse("demarche", &message.demarche);
        let habilitation = check.optional("habilitation", &message.habilitation);
        let dossier = check.parse("dossier_ref", &message.dossier_ref);
        let elements = elements(&mut check, &message.elements);
        let siren = matches!(
            message
                .binding
                .as_ref()
                .and_then(|binding| binding.binding.as_ref()),
            Some(pb::subject_binding::Binding::Siren(_))
        );
        if siren != (subject == Some(SubjectKind::Entity)) && message.binding.is_some() {
            check.wrong(
                "binding",
                "the company's SIREN about a company, and about nobody else",
            );
        }
        let binding = binding(&mut check, way, message.binding);
        let redirect_uri = match (way, message.redirect_uri) {
            (Some(Way::Automatic), uri) if uri.is_empty() => Some(None),
            (Some(Way::Automatic), _) => {
                check.wrong("redirect_uri", "none: nobody comes back");
                None
            }
            (_, uri) => check.text("redirect_uri", uri, MAX_URI_BYTES).map(Some),
        };
        if let Some((way, capacity)) = way.zip(capacity) {
            let alone = match way {
                Way::Agent => Some(Capacity::Agent),
                Way::Automatic => Some(Capacity::Automatic),
                Way::Present | Way::Link => None,
            };
            let own = matches!(capacity, Capacity::Agent | Capacity::Automatic).then_some(capacity);
            if own != alone {
                check.wrong("capacity", "that of the way of asking");
            }
        }
        let standing = standing(&mut check, message.standing);
        let session = match way {
            Some(Way::Link | Way::Automatic) if message.session.is_empty() => Some(None),
            Some(Way::Link | Way::Automatic) => {
                check.wrong("session", "none: no browser comes back in it");
                None
            }
            Some(Way::Present | Way::Agent) | None => session(&mut check, message.session).map(Some),
        };
        let link_days = link_days(&mut check, way, message.link_days);
        let motive = motive(&mut check, way, message.motive);
        let child = child(&mut check, subject, binding.as_ref(), message.child);
        let call = (|| {
            Some(Self {
                way: way?,
                demarche: demarche?,
                habilitation,
                dossier: dossier?,
                elements: elements?,
                subject: subject?,
                capacity: capacity?,
                binding: binding?,
                redirect_uri: redirect_uri?,
                standing,
                session: session?,
                child,
                link_days: link_days?,
                motive: motive?,
            })
        })();
        check.finish(call)
    }
}

impl TryFrom<pb::CompleteAuthorizationRequest> for CompletionCall {
    type Error = InvalidMessage;

    fn try_from(message: pb::CompleteAuthorizationRequest) -> Result<Self, InvalidMessage> {
        let mut check = Check::default();
        let state = check.text("state", message.state, MAX_ANSWER_BYTES);
        let iss = check.text("iss", message.iss, MAX_ANSWER_BYTES);
        let session = match message.session.is_empty() {
            true => Some(None),
            false => session(&mut check, message.session).map(Some),
        };
        let answer = match (message.code.is_empty(), message.error.as_str()) {
            (false, "") => check
                .text("code", message.code, MAX_ANSWER_BYTES)
                .map(BrowserAnswer::Code),
            (true, "access_denied") => Some(BrowserAnswer::Declined),
            (true, error) if is_error_code(error) => Some(BrowserAnswer::Failed(error.to_owned())),
            (true, "") | (false, _) => {
                check.wrong("code", "either a code or an error");
                None
            }
            (true, _) => {
                check.wrong("error", "an error code of OAuth");
                None
            }
        };
        let call = (|| {
            Some(Self {
                state: state?,
                iss: iss?,
                answer: answer?,
                session: session?,
            })
        })();
        check.finish(call)
    }
}

impl TryFrom<pb::FetchRequest> for HandleCall {
    type Error = InvalidMessage;

    fn try_from(message: pb::FetchRequest) -> Result<Self, InvalidMessage> {
        let mut check = Check::default();
        let handle = check.parse("handle", &message.handle);
        let request_id = check.optional("request_id", &message.request_id);
        let units = units(&mut check, &message.units);
        let link = LinkAttestation::read(&mut check, message.link_attestation);
        let call = (|| {
            Some(Self {
                handle: handle?,
                request_id,
                units: units?,
                link,
            })
        })();
        check.finish(call)
    }
}

impl TryFrom<pb::ListGrantsRequest> for GrantsCall {
    type Error = InvalidMessage;

    fn try_from(message: pb::ListGrantsRequest) -> Result<Self, InvalidMessage> {
        let mut check = Check::default();
        let dossier = check.optional("dossier_ref", &message.dossier_ref);
        let page_size = match message.page_size {
            0 => DEFAULT_PAGE,
            n => n.min(MAX_PAGE),
        };
        let page_token = match message.page_token {
            text if text.is_empty() => None,
            text => check.text("page_token", text, 128),
        };
        check.finish(Some(Self {
            dossier,
            page_size: u16::try_from(page_size).unwrap_or(u16::MAX),
            page_token,
        }))
    }
}

fn is_error_code(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_lowercase() || c == b'_')
}

fn way(check: &mut Check, way: pb::Way) -> Option<Way> {
    match way {
        pb::Way::Present => Some(Way::Present),
        pb::Way::Link => Some(Way::Link),
        pb::Way::Agent => Some(Way::Agent),
        pb::Way::Automatic => Some(Way::Automatic),
        pb::Way::Unspecified => {
            check.wrong("way", "one of the ways to ask");
            None
        }
    }
}

fn subject(check: &mut Check, subject: pb::SubjectKind) -> Option<SubjectKind> {
    match subject {
        pb::SubjectKind::Self_ => Some(SubjectKind::SelfPerson),
        pb::SubjectKind::Child => Some(SubjectKind::Child),
        pb::SubjectKind::Household => Some(SubjectKind::Household),
        pb::SubjectKind::Entity => Some(SubjectKind::Entity),
        pb::SubjectKind::Unspecified => {
            check.wrong("subject", "one of the kinds of subject");
            None
        }
    }
}

fn capacity(check: &mut Check, capacity: pb::Capacity) -> Option<Capacity> {
    match capacity {
        pb::Capacity::Self_ => Some(Capacity::SelfPerson),
        pb::Capacity::Child => Some(Capacity::Child),
        pb::Capacity::Entity => Some(Capacity::Entity),
        pb::Capacity::Helper => Some(Capacity::Helper),
        pb::Capacity::Agent => Some(Capacity::Agent),
        pb::Capacity::Automatic => Some(Capacity::Automatic),
        pb::Capacity::Unspecified => {
            check.wrong("capacity", "one of the capacities");
            None
        }
    }
}

fn elements(check: &mut Check, messages: &[pb::ElementRequest]) -> Option<Vec<ElementCall>> {
    if !(1..=MAX_ELEMENTS).contains(&messages.len()) {
        check.wrong("elements", format_args!("1 to {MAX_ELEMENTS} elements"));
        return None;
    }
    // Every element is read, so that the caller learns of all faults at once.
    let read: Vec<_> = messages
        .iter()
        .enumerate()
        .map(|(n, m)| element(check, n, m))
        .collect();
    read.into_iter().collect()
}

fn element(check: &mut Check, n: usize, message: &pb::ElementRequest) -> Option<ElementCall> {
    let at = |member: &str| format!("elements[{n}].{member}");
    let datatype = check.parse(&at("datatype"), &message.datatype);
    let period = check.optional(&at("period"), &message.period);
    if !(1..=MAX_UNITS).contains(&message.units.len()) {
        check.wrong(at("units"), format_args!("1 to {MAX_UNITS} units"));
        return None;
    }
    let mut units: Vec<(UnitName, Need)> = Vec::with_capacity(message.units.len());
    for (i, unit) in message.units.iter().enumerate() {
        let name = check.parse(&at(&format!("units[{i}].unit")), &unit.unit);
        let need = match unit.need() {
            pb::Need::Required => Some(Need::Required),
            pb::Need::Optional => Some(Need::Optional),
            pb::Need::Unspecified => {
                check.wrong(at(&format!("units[{i}].need")), "required or optional");
                None
            }
        };
        if let Some((name, need)) = name.zip(need) {
            if units.iter().any(|(known, _)| *known == name) {
                check.wrong(at(&format!("units[{i}].unit")), "each unit once");
            }
            units.push((name, need));
        }
    }
    Some(ElementCall {
        datatype: datatype?,
        units,
        period,
    })
}

fn binding(
    check: &mut Check,
    way: Option<Way>,
    message: Option<pb::SubjectBinding>,
) -> Option<SubjectBinding> {
    use pb::subject_binding::Binding;
    let binding = message.and_then(|m| m.binding);
    let identity = matches!(binding, Some(Binding::Identity(_)));
    let absent = matches!(way, Some(Way::Agent | Way::Automatic));
    if binding.is_some() && way.is_some() && identity != absent {
        let what = match absent {
            true => "the whole identity: the person does not log in",
            false => "what the file holds: the person logs in",
        };
        check.wrong("binding", what);
        return None;
    }
    match binding {
        Some(Binding::Identity(identity)) => whole_identity(check, identity),
        None => {
            check.wrong(
                "binding",
                "the identity that the file holds, or why it holds none",
            );
            None
        }
        Some(Binding::Siren(siren)) => {
            let siren: Option<Siren> = check.parse("binding.siren", &siren);
            siren.map(|siren| SubjectBinding::Form(entity_form(&siren)))
        }
        Some(Binding::Form(form)) => subject_form(check, "binding.form", &form).map(SubjectBinding::Form),
        Some(Binding::UnboundReason(reason)) => {
            let sound =
                (1..=MAX_REASON).contains(&reason.chars().count()) && !reason.chars().any(char::is_control);
            if !sound {
                check.wrong(
                    "binding.unbound_reason",
                    format_args!("one line of 1 to {MAX_REASON} characters"),
                );
                return None;
            }
            Some(SubjectBinding::Unbound(reason))
        }
    }
}

/// The child of the file: named where the subject is one and the asker is, and nowhere else.
fn child(
    check: &mut Check,
    subject: Option<SubjectKind>,
    binding: Option<&SubjectBinding>,
    message: Option<pb::SubjectForm>,
) -> Option<SubjectBinding> {
    let wanted = subject == Some(SubjectKind::Child) && matches!(binding, Some(SubjectBinding::Form(_)));
    match (message, wanted) {
        (Some(form), true) => subject_form(check, "child", &form).map(SubjectBinding::Form),
        (None, false) => None,
        (None, true) => {
            check.wrong("child", "the identity of the child that the file holds");
            None
        }
        (Some(_), false) => {
            check.wrong("child", "only about a child, beside the asker's identity");
            None
        }
    }
}

/// An identity whole enough to be matched without a login.
fn whole_identity(check: &mut Check, message: pb::SubjectIdentity) -> Option<SubjectBinding> {
    let at = |member: &str| format!("binding.identity.{member}");
    let family_name = name(check, &at("family_name"), &message.family_name).map(str::to_owned);
    let given_names: Option<Vec<String>> = match message.given_names.len() {
        1..=MAX_GIVEN_NAMES => (message.given_names.iter().enumerate())
            .map(|(n, text)| name(check, &at(&format!("given_names[{n}]")), text).map(str::to_owned))
            .collect(),
        _ => {
            check.wrong(at("given_names"), "all given names, in order");
            None
        }
    };
    let birthdate: Option<BirthDate> = check.parse(&at("birthdate"), &message.birthdate);
    let gender = match message.sex() {
        pb::Sex::Female => Some(Gender::Female),
        pb::Sex::Male => Some(Gender::Male),
        pb::Sex::Unspecified => {
            check.wrong(at("sex"), "female or male");
            None
        }
    };
    let birthplace: Option<Cog> = check.optional(&at("birthplace"), &message.birthplace);
    let birthcountry: Option<Cog> = check.parse(&at("birthcountry"), &message.birthcountry);
    let pivot = Pivot {
        family_name: family_name?,
        given_names: given_names?,
        birthdate: birthdate?,
        gender: gender?,
        birthplace,
        birthcountry: Some(birthcountry?),
        preferred_username: None,
    };
    match pivot.checked() {
        Ok(pivot) if pivot.is_whole() => Some(SubjectBinding::Identity(Box::new(pivot))),
        Ok(_) => {
            check.wrong(
                "binding.identity",
                "the whole birth date, and the place where that is France",
            );
            None
        }
        Err(_) => {
            check.wrong("binding.identity", "names of people");
            None
        }
    }
}

fn subject_form(check: &mut Check, at: &str, form: &pb::SubjectForm) -> Option<Vec<u8>> {
    let family = name(check, &format!("{at}.family_name"), &form.family_name);
    let given = name(check, &format!("{at}.first_given_name"), &form.first_given_name);
    let date: Option<BirthDate> = check.parse(&format!("{at}.birthdate"), &form.birthdate);
    Some(check_form(family?, given?, &date?))
}

fn name<'a>(check: &mut Check, field: &str, text: &'a str) -> Option<&'a str> {
    if text.len() > MAX_NAME_BYTES || compare_key(text).is_empty() {
        check.wrong(field, "a name");
        return None;
    }
    Some(text)
}

fn standing(check: &mut Check, message: Option<pb::Standing>) -> Option<StandingCall> {
    let message = message?;
    if message.max_count == 0 {
        check.wrong("standing.max_count", "at least 1");
    }
    if message.min_interval_s == 0 {
        check.wrong("standing.min_interval_s", "at least 1");
    }
    Some(StandingCall {
        max_count: message.max_count,
        min_interval_s: message.min_interval_s,
    })
}

fn link_days(check: &mut Check, way: Option<Way>, days: u32) -> Option<Option<u8>> {
    match (way, days) {
        (Some(Way::Link), 0) => Some(Some(*LINK_DAYS.end())),
        (Some(Way::Link), days) => match u8::try_from(days) {
            Ok(days) if LINK_DAYS.contains(&days) => Some(Some(days)),
            Ok(_) | Err(_) => {
                check.wrong("link_days", "1 to 30, or 0 for the longest");
                None
            }
        },
        (Some(Way::Present | Way::Agent | Way::Automatic) | None, 0) => Some(None),
        (Some(Way::Present | Way::Agent | Way::Automatic) | None, _) => {
            check.wrong("link_days", "0: it is a link's");
            None
        }
    }
}

fn motive(check: &mut Check, way: Option<Way>, text: String) -> Option<Option<String>> {
    let officer = way == Some(Way::Agent);
    let sound = (1..=MAX_REASON).contains(&text.chars().count())
        && !text.trim().is_empty()
        && !text.chars().any(char::is_control);
    match (officer, text.is_empty(), sound) {
        (true, _, true) => Some(Some(text)),
        (false, true, _) => Some(None),
        (true, _, false) => {
            check.wrong("motive", format_args!("one line of 1 to {MAX_REASON} characters"));
            None
        }
        (false, false, _) => {
            check.wrong("motive", "none: it is an officer's");
            None
        }
    }
}

fn session(check: &mut Check, text: String) -> Option<SessionToken> {
    if !SESSION_BYTES.contains(&text.len()) {
        let (least, most) = (SESSION_BYTES.start(), SESSION_BYTES.end());
        check.wrong("session", format_args!("{least} to {most} bytes"));
        return None;
    }
    Some(SessionToken(text))
}

fn units(check: &mut Check, names: &[String]) -> Option<Vec<UnitName>> {
    if names.len() > MAX_UNITS {
        check.wrong("units", format_args!("at most {MAX_UNITS} units"));
        return None;
    }
    let mut units = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        units.push(check.parse::<UnitName>(&format!("units[{i}]"), name)?);
    }
    units.sort();
    if units.windows(2).any(|pair| pair[0] == pair[1]) {
        check.wrong("units", "each unit once");
        return None;
    }
    Some(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> pb::RequestAuthorizationRequest {
        pb::RequestAuthorizationRequest {
            way: pb::Way::Present.into(),
            demarche: "cantine".into(),
            habilitation: "DP-1".into(),
            dossier_ref: "2026-0412".into(),
            elements: vec![pb::ElementRequest {
                datatype: "cnaf/quotient-familial@1".into(),
                units: vec![pb::UnitRequest {
                    unit: "valeur".into(),
                    need: pb::Need::Required.into(),
                }],
                period: String::new(),
            }],
            subject: pb::SubjectKind::Self_.into(),
            capacity: pb::Capacity::Self_.into(),
            binding: Some(pb::SubjectBinding {
                binding: Some(pb::subject_binding::Binding::Form(pb::SubjectForm {
                    family_name: "DUBOIS".into(),
                    first_given_name: "Angela".into(),
                    birthdate: "1962-08-24".into(),
                })),
            }),
            redirect_uri: "https://commune.example/retour".into(),
            standing: None,
            session: "a-session-of-sixteen".into(),
            child: None,
            link_days: 0,
            motive: String::new(),
        }
    }

    fn fields(change: impl FnOnce(&mut pb::RequestAuthorizationRequest)) -> Vec<String> {
        let mut message = message();
        change(&mut message);
        let invalid = AuthorizationCall::try_from(message).expect_err("malformed");
        invalid.violations.into_iter().map(|v| v.field).collect()
    }

    #[test]
    fn each_field_at_fault_is_named() {
        assert_eq!(fields(|m| m.way = 0), ["way"]);
        assert_eq!(fields(|m| m.way = 99), ["way"]);
        assert_eq!(fields(|m| m.elements.clear()), ["elements"]);
        assert_eq!(
            fields(|m| {
                m.elements[0].datatype = "x".into();
                m.elements[0].units[0].need = 0;
                m.session = "short".into();
            }),
            ["elements[0].datatype", "elements[0].units[0].need", "session"]
        );
        assert_eq!(
            fields(|m| {
                let again = m.elements[0].units[0].clone();
                m.elements[0].units.push(again);
            }),
            ["elements[0].units[1].unit"]
        );
        let link = |session: &str, days| {
            let session = session.to_owned();
            fields(move |m| {
                m.way = pb::Way::Link.into();
                m.session = session;
                m.link_days = days;
            })
        };
        let automatic = |change: fn(&mut pb::SubjectIdentity, &mut pb::RequestAuthorizationRequest)| {
            fields(move |m| {
                let mut identity = pb::SubjectIdentity {
                    family_name: "DUBOIS".into(),
                    given_names: vec!["Angela".into(), "Claire".into()],
                    birthdate: "1962-08-24".into(),
                    sex: pb::Sex::Female.into(),
                    birthplace: "75107".into(),
                    birthcountry: "99100".into(),
                };
                m.way = pb::Way::Automatic.into();
                m.capacity = pb::Capacity::Automatic.into();
                (m.session, m.redirect_uri) = (String::new(), String::new());
                change(&mut identity, m);
                let identity = pb::subject_binding::Binding::Identity(identity);
                m.binding = Some(pb::SubjectBinding {
                    binding: Some(identity),
                });
            })
        };
        assert_eq!(
            automatic(|i, _| i.birthdate = "1962-08".into()),
            ["binding.identity"]
        );
        assert_eq!(automatic(|i, _| i.birthplace.clear()), ["binding.identity"]);
        assert_eq!(
            automatic(|i, _| i.given_names.clear()),
            ["binding.identity.given_names"]
        );
        assert_eq!(automatic(|i, _| i.sex = 0), ["binding.identity.sex"]);
        assert_eq!(
            automatic(|i, _| i.birthcountry = "FR".into()),
            ["binding.identity.birthcountry"]
        );
        assert_eq!(
            automatic(|_, m| m.capacity = pb::Capacity::Self_.into()),
            ["capacity"]
        );
        assert_eq!(
            automatic(|_, m| m.session = "a-session-of-sixteen".into()),
            ["session"]
        );
        assert_eq!(
            automatic(|_, m| m.redirect_uri = "https://commune.example".into()),
            ["redirect_uri"]
        );
        assert_eq!(
            automatic(|_, m| m.way = pb::Way::Link.into()),
            ["binding", "redirect_uri", "capacity"]
        );
        assert_eq!(fields(|m| m.capacity = pb::Capacity::Agent.into()), ["capacity"]);
        assert_eq!(link("", 31), ["link_days"]);
        assert_eq!(link("a-session-of-sixteen", 3), ["session"]);
        assert_eq!(fields(|m| m.link_days = 3), ["link_days"], "of a link alone");
        assert_eq!(fields(|m| m.binding = None), ["binding"]);
        let form = |name: &str| pb::SubjectForm {
            family_name: name.into(),
            first_given_name: "Emma".into(),
            birthdate: "2019".into(),
        };
        assert_eq!(fields(|m| m.child = Some(form("DUBOIS"))), ["child"]);
        let child = |m: &mut pb::RequestAuthorizationRequest| m.subject = pb::SubjectKind::Child.into();
        assert_eq!(fields(|m| child(m)), ["child"]);
        assert_eq!(
            fields(|m| {
                child(m);
                m.child = Some(form(" "));
            }),
            ["child.family_name"]
        );
        let company = |siren: &str, m: &mut pb::RequestAuthorizationRequest| {
            m.subject = pb::SubjectKind::Entity.into();
            m.capacity = pb::Capacity::Entity.into();
            m.binding = Some(pb::SubjectBinding {
                binding: Some(pb::subject_binding::Binding::Siren(siren.into())),
            });
        };
        assert_eq!(fields(|m| company("130025266", m)), ["binding.siren"]);
        assert_eq!(
            fields(|m| {
                company("130025265", m);
                m.subject = pb::SubjectKind::Self_.into();
            }),
            ["binding"]
        );
        assert_eq!(
            fields(|m| m.subject = pb::SubjectKind::Entity.into()),
            ["binding"]
        );
        assert_eq!(
            fields(|m| m.standing = Some(pb::Standing::default())),
            ["standing.max_count", "standing.min_interval_s"]
        );
        assert_eq!(
            AuthorizationCall::try_from(pb::RequestAuthorizationRequest::default())
                .expect_err("empty")
                .violations
                .len(),
            9
        );
    }

    #[test]
    fn an_identity_at_fault_is_not_repeated() {
        let mut wrong = message();
        wrong.binding = Some(pb::SubjectBinding {
            binding: Some(pb::subject_binding::Binding::Form(pb::SubjectForm {
                family_name: "DUBOIS".into(),
                first_given_name: " - ".into(),
                birthdate: "24/08/1962".into(),
            })),
        });
        let invalid = AuthorizationCall::try_from(wrong).expect_err("malformed");
        let text = format!("{invalid} {invalid:?}");
        assert!(!text.contains("DUBOIS") && !text.contains("1962"), "{text}");
        assert_eq!(invalid.violations.len(), 2);
        let call = AuthorizationCall::try_from(message()).unwrap();
        let shown = format!("{call:?}");
        assert!(
            !shown.contains("DUBOIS") && !shown.contains("a-session"),
            "{shown}"
        );
    }

    #[test]
    fn a_browser_brings_a_code_or_an_error_never_both() {
        let answer = |code: &str, error: &str| {
            CompletionCall::try_from(pb::CompleteAuthorizationRequest {
                code: code.into(),
                state: "s".into(),
                iss: "https://unefois.example".into(),
                error: error.into(),
                session: "a-session-of-sixteen".into(),
            })
            .map(|call| call.answer)
        };
        assert!(answer("", "").is_err());
        assert!(answer("c", "access_denied").is_err());
        assert!(answer("", "<script>").is_err());
        assert!(matches!(answer("", "access_denied"), Ok(BrowserAnswer::Declined)));
        assert!(matches!(answer("", "server_error"), Ok(BrowserAnswer::Failed(_))));
        assert!(matches!(answer("c", ""), Ok(BrowserAnswer::Code(_))));
    }

    #[test]
    fn a_fetch_and_a_page_have_their_limits() {
        let fetch = |handle: &str, id: &str| {
            HandleCall::try_from(pb::FetchRequest {
                handle: handle.into(),
                request_id: id.into(),
                units: vec!["valeur".into(), "composition".into()],
                link_attestation: String::new(),
            })
        };
        assert!(fetch("x", "").is_err());
        assert!(fetch("AAAAAAAAAAAAAAAAAAAAAA", "x").is_err());
        let call = fetch("AAAAAAAAAAAAAAAAAAAAAA", "").unwrap();
        assert_eq!(call.units[0].as_str(), "composition");
        let page = GrantsCall::try_from(pb::ListGrantsRequest {
            page_size: 100_000,
            ..Default::default()
        });
        assert_eq!(page.unwrap().page_size, 500);
    }
}
