mod back;
mod binding;
mod elements;

use serde::{Deserialize, Serialize};
use unefois_core::decision::{Requester, authorizable, may_be_about};
use unefois_core::{
    Acr, AuthorizationDetails, Capacity, LegalBasis, Micros, ParticipantId, Reason, Sha256, SubjectKind, Way,
};

pub(crate) use back::Back;
pub(crate) use binding::{Binding, SubjectCheck, still_unbound};

use super::automatic::ON_FILE;
use crate::Error;
use crate::form::Form;
use crate::published::Edition;

/// How long a link may be followed, in days.
const LINK_DAYS: std::ops::RangeInclusive<u8> = 1..=30;
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
        let text = form.required("authorization_details", elements::MAX_BYTES)?;
        let elements = elements::read(&text)?;
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
            if !may_be_about(capacity, element.subject.kind) {
                return Err(Error::Details {
                    path: format!("authorization_details[{n}].subject.kind"),
                    what: "not in this capacity".into(),
                    reason: Reason::InvalidRequest,
                });
            }
            if element.subject.kind == SubjectKind::Child {
                elements::child_can_be_named(element, n, edition)?;
            }
        }
        let about_child = elements
            .iter()
            .any(|element| element.subject.kind == SubjectKind::Child);
        if capacity == Capacity::Child && !about_child {
            return Err(Error::request("capacity=child needs an element about a child"));
        }
        let binding = binding::read(&mut form, way, edition, &elements[0])?;
        if matches!(way, Way::Agent | Way::Automatic) && elements::level(&elements, edition) > ON_FILE {
            return Err(Error::AcrTooLow);
        }
        if matches!(capacity, Capacity::Entity | Capacity::Helper) && matches!(binding, Binding::Unbound(_)) {
            return Err(Error::request(
                "whoever acts by a mandate needs subject_check: it says for whom",
            ));
        }
        let child = binding::read_child(&mut form, capacity, &binding)?;
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
            back::listed(edition, &self.client, &back.redirect_uri)?;
        }
        let requester = Requester {
            consumer: self.client,
            publisher: self.publisher,
        };
        if let (Binding::Unbound(_), Some(first)) = (&self.binding, self.elements.first()) {
            still_unbound(edition, &first.demarche)?;
        }
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
        elements::level(&self.elements, edition)
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

/// What a French sentence is written with. Anything else could look like it and be something else (another alphabet, an
/// unseen mark) or change the direction of the text around it.
const fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{17f}' | '–' | '—' | '’' | '“' | '”' | '…' | '€' | '\u{202f}')
        && c != '\u{ad}'
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
