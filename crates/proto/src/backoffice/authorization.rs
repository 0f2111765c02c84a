//! What a back-office asks a person for.

use unefois_core::authorization::{MAX_ELEMENTS, Need};
use unefois_core::{
    Capacity, DatatypeRev, DemarcheId, DossierRef, HabilitationId, Period, SubjectKind, UnitName, Way,
};

use super::subject::{SubjectBinding, binding, child};
use super::{MAX_UNITS, SessionToken, session};
use crate::InvalidMessage;
use crate::invalid::Check;
use crate::pb::backoffice::v1 as pb;

/// Longest address, in bytes.
const MAX_URI_BYTES: usize = 2_048;
/// How long a link may be followed, in days.
const LINK_DAYS: std::ops::RangeInclusive<u8> = 1..=30;
/// Longest motive of an officer, in characters.
const MAX_MOTIVE: usize = 200;

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
    let sound = (1..=MAX_MOTIVE).contains(&text.chars().count())
        && !text.trim().is_empty()
        && !text.chars().any(char::is_control);
    match (officer, text.is_empty(), sound) {
        (true, _, true) => Some(Some(text)),
        (false, true, _) => Some(None),
        (true, _, false) => {
            check.wrong("motive", format_args!("one line of 1 to {MAX_MOTIVE} characters"));
            None
        }
        (false, false, _) => {
            check.wrong("motive", "none: it is an officer's");
            None
        }
    }
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
}
