use std::borrow::Cow;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use unefois_core::Reason;

/// Why the authority refuses. The text is public; sources stay here and are logged once at the edge.
///
/// It is rendered twice: as an OAuth error in JSON for consumers ([`Error::oauth_code`]) and as a page for people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A parameter is missing, repeated, too long or not of its kind.
    #[error("{0}")]
    Request(Cow<'static, str>),
    /// The request is larger than allowed.
    #[error("the request is too large")]
    TooLarge,
    /// The certificate does not belong to the client named.
    #[error("the client is not the one that the certificate names, nor one that it may act for")]
    Client,
    /// Another grant type than those served.
    #[error("the grant type is not served")]
    GrantType,
    /// A token that is not taken back by itself (RFC 7009, 2.2.1).
    #[error(
        "an access token is not taken back: it ends by itself; give back the grant, or its refresh token"
    )]
    TokenType,
    /// The code, refresh token or PKCE verifier is unknown, used, expired or another client's; one text for all.
    #[error("the code or token is not valid")]
    Grant,
    /// No grant of this number is the client's: it is unknown, or another's; one text for both.
    #[error("the grant is not known")]
    NoSuchGrant,
    /// The grant was obtained for a body whose delegation to the client the directory lists no more.
    #[error("the directory no longer lets this client act for the body that the grant is for")]
    NotDelegated,
    /// The person stopped the grant, or it has ended.
    #[error("the grant has been stopped or has ended")]
    GrantRevoked,
    /// An element of `authorization_details` breaks the schema or exceeds what may be asked.
    #[error("{path}: {what}")]
    Details {
        /// Where, `authorization_details[0].units`.
        path: String,
        /// What it should be; never its value.
        what: Cow<'static, str>,
        /// The reason in the ledger.
        reason: Reason,
    },
    /// The producer asked for is not one that the grant names.
    #[error("the resource is not part of the grant")]
    Target,
    /// Asked for in a way that is not served yet.
    #[error("{0} is not served")]
    NotImplemented(&'static str),
    /// The `request_uri` is unknown, used or expired.
    #[error("the request is unknown, already opened or too old")]
    RequestUri,
    /// The officer is not of the body that asks, or not known well enough any more.
    #[error("the officer may not ask for this body, or logged in too long ago")]
    OtherBody,
    /// The person objects to what nobody asks them for.
    #[error("the person objects to such fetches")]
    Opposed,
    /// The person logged in is not the one of the dossier.
    #[error("the identity is not that of the file")]
    SubjectMismatch,
    /// Too many identities were tried for one dossier today.
    #[error("too many identities were tried for this file today")]
    TooManyTries,
    /// As many mandates are in force, or may be, as one account may have.
    #[error("no more mandates than 50 given, and 50 held, at once")]
    TooManyMandates,
    /// The page does not exist, or is not this person's.
    #[error("not found")]
    NotFound,
    /// A form came without the token of its session, or from another site.
    #[error("the form was not sent from its own page")]
    Csrf,
    /// Nobody is logged in, or no longer.
    #[error("nobody is logged in")]
    NotLoggedIn,
    /// An officer is logged in, and the page is a person's own.
    #[error("an officer is logged in, where a person is to be")]
    NotForOfficers,
    /// The answer of the identity provider does not belong to a login begun in this browser.
    #[error("the login was not begun in this browser, or too long ago")]
    LoginState,
    /// The identity provider answered that the login failed or was given up.
    #[error("the login was given up")]
    LoginDeclined,
    /// The identity provider's answer is not acceptable.
    #[error("the identity provider's answer is not acceptable")]
    LoginAnswer(#[source] unefois_jose::Error),
    /// The identity provider does not take the code: it is another login's, used or expired.
    #[error("the identity provider does not take the code")]
    LoginCode(#[source] crate::login::HttpError),
    /// The level of assurance is absent, unknown, or not for this provider to assert (I10).
    #[error("the level of assurance is unknown or not for this provider to assert")]
    AcrUnknown,
    /// A higher level of assurance is needed.
    #[error("the level of assurance is too low")]
    AcrTooLow,
    /// The identity given lacks an attribute or holds a malformed one.
    #[error("{0} of the identity is missing or malformed")]
    Identity(&'static str),
    /// The identity provider does not answer, or not as agreed.
    #[error("the identity provider does not answer")]
    Provider(#[source] crate::login::HttpError),
    /// No identity provider of this name, or none at the level needed.
    #[error("no identity provider for this")]
    NoProvider,
    /// More requests than one client or browser may send.
    #[error("too many requests")]
    TooManyRequests,
    /// The directory has expired.
    #[error("the directory has expired")]
    DirectoryStale,
    /// A later start of the authority has taken over.
    #[error("this process has been superseded")]
    Superseded,
    /// The database went back, and it is not known yet which withdrawals it has lost.
    #[error("withdrawals are being recovered: nothing is given out or recorded until then")]
    Recovering,
    /// The authority's own ledger cannot be written, so nothing was given out.
    #[error("the ledger cannot be written")]
    Ledger(#[source] unefois_ledger::Error),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] unefois_store::Error),
    /// Signing or sealing failed.
    #[error("a key cannot be used")]
    Key(#[source] unefois_jose::Error),
    /// A page's template failed.
    #[error("the page cannot be made")]
    Page(#[from] askama::Error),
    /// What the store holds does not read back.
    #[error("a stored value is malformed")]
    Stored,
}

impl Error {
    /// A malformed request.
    pub fn request(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Request(what.into())
    }

    /// The `error` of RFC 6749, 5.2 (and RFC 9126, RFC 9396, RFC 8707).
    pub const fn oauth_code(&self) -> &'static str {
        match self {
            Self::Request(_) | Self::TooLarge => "invalid_request",
            Self::Client => "invalid_client",
            Self::GrantType => "unsupported_grant_type",
            Self::TokenType => "unsupported_token_type",
            Self::Grant | Self::GrantRevoked => "invalid_grant",
            Self::Details { .. } | Self::NotImplemented(_) => "invalid_authorization_details",
            Self::Target => "invalid_target",
            Self::RequestUri => "invalid_request_uri",
            Self::SubjectMismatch
            | Self::Opposed
            | Self::OtherBody
            | Self::TooManyTries
            | Self::TooManyMandates
            | Self::Csrf
            | Self::NotLoggedIn
            | Self::NotForOfficers
            | Self::LoginState
            | Self::LoginDeclined
            | Self::LoginAnswer(_)
            | Self::LoginCode(_)
            | Self::AcrUnknown
            | Self::AcrTooLow
            | Self::Identity(_)
            | Self::NoProvider
            | Self::NoSuchGrant
            | Self::NotDelegated
            | Self::NotFound => "access_denied",
            Self::Provider(_)
            | Self::TooManyRequests
            | Self::DirectoryStale
            | Self::Superseded
            | Self::Recovering => "temporarily_unavailable",
            Self::Ledger(_) | Self::Store(_) | Self::Key(_) | Self::Stored | Self::Page(_) => "server_error",
        }
    }

    /// The HTTP status, the same in both renderings.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Request(_)
            | Self::GrantType
            | Self::TokenType
            | Self::Grant
            | Self::GrantRevoked
            | Self::Details { .. }
            | Self::Target
            | Self::NotImplemented(_)
            | Self::RequestUri
            | Self::LoginState
            | Self::Identity(_)
            // RFC 6749, 5.2: 401 is for a client that tried the Authorization header, and asks for a challenge, of which
            // there is none for a certificate; clients that see one read no further.
            | Self::Client => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotLoggedIn => StatusCode::UNAUTHORIZED,
            Self::SubjectMismatch
            | Self::Opposed
            | Self::OtherBody
            | Self::NotDelegated
            | Self::TooManyTries
            | Self::TooManyMandates
            | Self::Csrf
            | Self::NotForOfficers
            | Self::LoginDeclined
            | Self::LoginAnswer(_)
            | Self::LoginCode(_)
            | Self::AcrUnknown
            | Self::AcrTooLow => StatusCode::FORBIDDEN,
            Self::NotFound | Self::NoSuchGrant | Self::NoProvider => StatusCode::NOT_FOUND,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Provider(_) => StatusCode::BAD_GATEWAY,
            Self::DirectoryStale | Self::Superseded | Self::Recovering | Self::Ledger(_) | Self::Key(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Store(_) | Self::Stored | Self::Page(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The reason in the ledger and in `unefois_reason`; `None` for what is no refusal of a call.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Request(_)
            | Self::TooLarge
            | Self::GrantType
            | Self::TokenType
            | Self::Target
            | Self::RequestUri
            | Self::LoginState
            | Self::Identity(_)
            | Self::Csrf => Some(Reason::InvalidRequest),
            Self::Client => Some(Reason::NotEntitled),
            Self::Grant | Self::NoSuchGrant | Self::LoginAnswer(_) | Self::LoginCode(_) => {
                Some(Reason::TokenInvalid)
            }
            Self::GrantRevoked => Some(Reason::GrantRevoked),
            Self::Details { reason, .. } => Some(*reason),
            Self::NotImplemented(_) => Some(Reason::NotImplemented),
            Self::Opposed => Some(Reason::Opposition),
            Self::OtherBody | Self::NotDelegated => Some(Reason::NotEntitled),
            Self::SubjectMismatch | Self::TooManyTries => Some(Reason::SubjectMismatch),
            Self::AcrUnknown | Self::AcrTooLow => Some(Reason::AcrTooLow),
            Self::TooManyRequests => Some(Reason::Overloaded),
            Self::DirectoryStale => Some(Reason::DirectoryStale),
            Self::Superseded | Self::Recovering => Some(Reason::RevocationStateStale),
            Self::Ledger(_) => Some(Reason::LedgerUnavailable),
            Self::Key(_) => Some(Reason::KeyUnavailable),
            Self::LoginDeclined
            | Self::Provider(_)
            | Self::NoProvider
            | Self::TooManyMandates
            | Self::NotFound
            | Self::NotLoggedIn
            | Self::NotForOfficers
            | Self::Store(_)
            | Self::Page(_)
            | Self::Stored => None,
        }
    }

    /// The reason that an entry tells; `None` where nothing was refused, or no entry can be written.
    pub(crate) const fn recorded(&self) -> Option<Reason> {
        match self {
            Self::Ledger(_) => None,
            other => other.reason(),
        }
    }

    /// Whether this is our own fault, so that its chain belongs in the log.
    pub const fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::Store(_)
                | Self::Stored
                | Self::Page(_)
                | Self::Ledger(_)
                | Self::Key(_)
                | Self::Superseded
                | Self::Provider(_)
                | Self::LoginAnswer(_)
                | Self::LoginCode(_)
        )
    }
}

/// Carried to the router's edge, where it is rendered as the router's readers need it.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}
