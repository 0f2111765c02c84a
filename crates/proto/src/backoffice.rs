mod authorization;
mod subject;

pub use authorization::{AuthorizationCall, ElementCall, StandingCall};
pub use subject::SubjectBinding;

use unefois_core::{DossierRef, ExchangeId, Handle, UnitName};

use crate::InvalidMessage;
use crate::exchange::LinkAttestation;
use crate::invalid::Check;
use crate::pb::backoffice::v1 as pb;

const MAX_UNITS: usize = 64;
/// The back-office's own session: long enough not to be guessed.
const SESSION_BYTES: std::ops::RangeInclusive<usize> = 16..=512;
/// Longest code, state, issuer or error, in bytes.
const MAX_ANSWER_BYTES: usize = 2_048;
const MAX_PAGE: u32 = 500;
const DEFAULT_PAGE: u32 = 100;

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
