//! How a refusal is told over gRPC, and read back.
//!
//! Every refusal is a status with `google.rpc.ErrorInfo` (domain `unefois`, the [`Reason`]), `RetryInfo` where
//! waiting helps and `BadRequest` for each field at fault. The reason is the contract; the message is not.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use unefois_core::{Reason, Side};

/// The domain of our `ErrorInfo`.
pub const DOMAIN: &str = "unefois";

const SIDE: &str = "side";
const RETRYABLE: &str = "retryable";
const TEXT_FR: &str = "text_fr";
const CORRELATION_ID: &str = "correlation_id";

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, `authorization_details[0].units`.
    pub field: String,
    /// What it should be; never its value.
    pub description: String,
}

/// A refusal with its details: what travels in a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The contract.
    pub reason: Reason,
    /// Public text in English; nothing personal.
    pub message: String,
    /// How long to wait before the same request may succeed.
    pub retry_after: Option<Duration>,
    /// What both sides' operators search their logs for; never the exchange's id.
    pub correlation_id: Option<String>,
    /// The fields at fault.
    pub fields: Vec<FieldViolation>,
}

impl Refusal {
    /// A refusal without details.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            retry_after: None,
            correlation_id: None,
            fields: Vec::new(),
        }
    }

    /// The same, to be tried again after `wait`.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same, found in logs under `id`.
    pub fn correlation(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// The same, with one more field at fault.
    pub fn field(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.fields.push(FieldViolation {
            field: field.into(),
            description: description.into(),
        });
        self
    }

    /// The refusal that `status` carries; `None` where it carries none of ours, or a reason that this version does
    /// not know.
    pub fn of(status: &Status) -> Option<Self> {
        let details = status.check_error_details().ok()?;
        let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
        let fields = details.bad_request().map_or(&[][..], |bad| &bad.field_violations);
        Some(Self {
            reason: info.reason.parse().ok()?,
            message: status.message().to_owned(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
            correlation_id: info.metadata.get(CORRELATION_ID).cloned(),
            fields: fields
                .iter()
                .map(|v| FieldViolation {
                    field: v.field.clone(),
                    description: v.description.clone(),
                })
                .collect(),
        })
    }

    /// Who can mend it.
    pub const fn side(&self) -> Side {
        self.reason.side()
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.reason;
        let mut metadata = std::collections::HashMap::from([
            (SIDE.to_owned(), reason.side().as_str().to_owned()),
            (RETRYABLE.to_owned(), reason.retryable().to_string()),
            (TEXT_FR.to_owned(), reason.text_fr().to_owned()),
        ]);
        if let Some(id) = refusal.correlation_id {
            metadata.insert(CORRELATION_ID.to_owned(), id);
        }
        let mut details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, metadata);
        if refusal.retry_after.is_some() {
            details.set_retry_info(refusal.retry_after);
        }
        for violation in refusal.fields {
            details.add_bad_request_violation(violation.field, violation.description);
        }
        Status::with_error_details(code_of(reason), refusal.message, details)
    }
}

/// The status of a refusal without further details; `message` is public and in English.
pub fn refused(reason: Reason, message: impl Into<String>) -> Status {
    Refusal::new(reason, message).into()
}

/// The status of a failure that is nobody's business outside: logs `error` and its chain, and tells nothing of it.
pub fn internal(error: &(dyn Error + 'static)) -> Status {
    tracing::error!(error = chain(error), "internal error");
    Status::internal("internal error")
}

/// The reason that `status` carries; `None` where it carries none of ours.
pub fn reason_of(status: &Status) -> Option<Reason> {
    Refusal::of(status).map(|refusal| refusal.reason)
}

/// `error` and its sources on one line, outermost first.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// The gRPC code of a reason.
pub const fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::TokenInvalid | Reason::TokenBinding => Code::Unauthenticated,
        Reason::TokenConsumed | Reason::RetryMismatch | Reason::SourceChanged => Code::Aborted,
        Reason::AlreadyDelivered => Code::AlreadyExists,
        Reason::GrantRevoked
        | Reason::UnitNotGranted
        | Reason::NotEntitled
        | Reason::Suspended
        | Reason::AcrTooLow
        | Reason::SubjectMismatch
        | Reason::LegalBlock
        | Reason::Opposition
        | Reason::CatalogueChanged => Code::PermissionDenied,
        Reason::SubjectNotResolved => Code::NotFound,
        Reason::InvalidRequest => Code::InvalidArgument,
        Reason::QuotaConsumer | Reason::QuotaProducer | Reason::Overloaded => Code::ResourceExhausted,
        Reason::InProgress
        | Reason::SourceTimeout
        | Reason::SourceError
        | Reason::Maintenance
        | Reason::LedgerUnavailable
        | Reason::RevocationStateStale
        | Reason::DirectoryStale
        | Reason::KeyUnavailable => Code::Unavailable,
        Reason::SourceSchema => Code::FailedPrecondition,
        Reason::UnsupportedRevision | Reason::NotImplemented => Code::Unimplemented,
        Reason::Deadline => Code::DeadlineExceeded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the store failed")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn an_internal_error_tells_nothing() {
        let status = internal(&Outer(std::io::Error::other("SELECT secret")));
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "internal error");
        assert_eq!(reason_of(&status), None);
    }

    #[test]
    fn a_chain_names_each_source_once() {
        let error = Outer(std::io::Error::other("disk full"));
        assert_eq!(chain(&error), "the store failed: disk full");
    }

    #[test]
    fn a_status_of_another_domain_carries_no_reason() {
        let details = ErrorDetails::with_error_info(Reason::TokenInvalid.as_str(), "example.org", []);
        let foreign = Status::with_error_details(Code::Aborted, "no", details);
        assert_eq!(reason_of(&foreign), None);
        assert_eq!(reason_of(&Status::unavailable("transport error")), None);
    }

    #[test]
    fn a_refusal_reads_back_as_it_was() {
        for reason in Reason::ALL.iter().copied() {
            let refusal = Refusal::new(reason, "why")
                .retry_after(Duration::from_millis(1500))
                .correlation("c1")
                .field("period.end", "must not lie before its start");
            let status = Status::from(refusal.clone());
            assert_ne!(status.code(), Code::Ok);
            assert_eq!(Refusal::of(&status), Some(refusal));
            let info = status.get_details_error_info().expect("our detail");
            assert_eq!(info.metadata[SIDE], reason.side().as_str());
            assert_eq!(info.metadata[TEXT_FR], reason.text_fr());
        }
    }
}
