//! What a back end's HTTP answer means: document, absence or failure. The one place where a status is read, so that
//! every source keeps the same promise: unknown never becomes absent.

use std::time::Duration;

use serde::Deserialize;
use unefois_core::payload::{Mapping, Payload, PayloadError, Pointer, Rename};

use super::{Answer, Document, Failure, Question};

/// The largest body that is read.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The bounds of the wait that a back end may ask for.
const RETRY_AFTER_S: std::ops::RangeInclusive<u64> = 1..=300;

/// What a node's configuration says of a back end's answers; everything else is the catalogue's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Layout {
    /// From the answer to the datatype's payload, where they differ by more than an envelope.
    pub mapping: Option<Mapping>,
    /// Where the back end's own stable id of the person stands, if it gives one.
    pub person: Option<Pointer>,
}

/// A back end's answer, unread.
#[derive(Clone, Copy)]
pub struct Reply<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
    /// The text of `Retry-After`.
    pub retry_after: Option<&'a str>,
}

impl Layout {
    /// Reads an answer to `question`.
    ///
    /// # Errors
    /// A refusal that the datatype's `absence_when` does not name is never an absence: 404 is
    /// [`Failure::NotResolved`], 429 [`Failure::Quota`], 408 and 504 [`Failure::Timeout`], 503 with a wait
    /// [`Failure::Maintenance`], other 5xx [`Failure::Unavailable`], everything else [`Failure::Unexpected`]. A 200
    /// that is not JSON is [`Failure::Unexpected`]; one that names a key twice or does not fit the mapping
    /// [`Failure::Schema`].
    pub fn read(&self, reply: &Reply<'_>, question: &Question<'_>) -> Result<Answer, Failure> {
        let retry_after = reply.retry_after.and_then(wait);
        match reply.status {
            200 => self.document(reply.body, question).map(Answer::Document),
            429 => Err(Failure::Quota { retry_after }),
            408 | 504 => Err(Failure::Timeout),
            503 if retry_after.is_some() => Err(Failure::Maintenance { retry_after }),
            500..=599 => Err(Failure::Unavailable),
            400..=499 if certifies_absence(reply, question) => Ok(Answer::Absence),
            404 => Err(Failure::NotResolved),
            _ => Err(Failure::Unexpected),
        }
    }

    fn document(&self, body: &[u8], question: &Question<'_>) -> Result<Document, Failure> {
        let answer = Payload::parse(body, MAX_BODY_BYTES).map_err(|e| match e {
            PayloadError::DuplicateKey { .. } | PayloadError::TooDeep { .. } | PayloadError::Shape { .. } => {
                Failure::Schema
            }
            PayloadError::TooLarge { .. } | PayloadError::Syntax { .. } => Failure::Unexpected,
        })?;
        let envelope = || {
            let rename = Rename {
                from: question.answers.payload.clone(),
                to: Pointer::ROOT,
            };
            Mapping::try_from(vec![rename]).map_err(|_| Failure::Schema)
        };
        let json = match &self.mapping {
            Some(mapping) => mapping.apply(&answer),
            None => envelope()?.apply(&answer),
        };
        let ids = self
            .person
            .as_ref()
            .map(|at| answer.strings(at))
            .unwrap_or_default();
        Ok(Document {
            json: json.map_err(|_| Failure::Schema)?,
            ids: ids.iter().map(|id| id.as_bytes().to_vec()).collect(),
        })
    }
}

/// Whether the refusal's codes certify, with its status, that there is no record. A body that is not JSON and one
/// without a code certify nothing.
fn certifies_absence(reply: &Reply<'_>, question: &Question<'_>) -> bool {
    let Ok(body) = Payload::parse(reply.body, MAX_BODY_BYTES) else {
        return false;
    };
    let codes = body.strings(&question.answers.codes);
    question
        .sheet
        .certifies_absence(reply.status, codes.iter().map(AsRef::as_ref))
}

/// The wait of a `Retry-After` in seconds (RFC 9110, 10.2.3), within bounds; a date is not read.
fn wait(text: &str) -> Option<Duration> {
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Duration::from_secs(
        seconds.clamp(*RETRY_AFTER_S.start(), *RETRY_AFTER_S.end()),
    ))
}

#[cfg(test)]
mod tests {
    use unefois_core::SealedSubject;

    use super::super::tests::question;
    use super::*;

    fn read(status: u16, body: &str) -> Result<Answer, Failure> {
        let entity = SealedSubject::Entity("130025265".parse().unwrap());
        Layout::default().read(
            &Reply {
                status,
                body: body.as_bytes(),
                retry_after: None,
            },
            &question(&entity, None),
        )
    }

    #[test]
    fn unknown_never_becomes_absent() {
        const CERTIFIED: &str = r#"{"errors":[{"code":"37003"}]}"#;
        for status in [301, 302, 400, 401, 403, 408, 409, 422, 429, 500, 502, 503, 504] {
            assert!(read(status, CERTIFIED).is_err(), "{status}");
        }
        for body in [
            "",
            "null",
            "<html>404</html>",
            r#"{"errors":[]}"#,
            r#"{"errors":[{"code":37003}]}"#,
            r#"{"errors":[{"code":"37999"}]}"#,
            r#"{"errors":[{"code":"37003"},{"code":"37999"}]}"#,
            r#"{"errors":[{"code":"37999","code":"37003"}]}"#,
            r#"{"code":"37003"}"#,
        ] {
            assert_eq!(read(404, body), Err(Failure::NotResolved), "{body}");
        }
        assert!(matches!(read(404, CERTIFIED), Ok(Answer::Absence)));
    }

    #[test]
    fn each_status_has_its_failure() {
        for (status, failure) in [
            (204, Failure::Unexpected),
            (302, Failure::Unexpected),
            (400, Failure::Unexpected),
            (408, Failure::Timeout),
            (429, Failure::Quota { retry_after: None }),
            (500, Failure::Unavailable),
            (502, Failure::Unavailable),
            (503, Failure::Unavailable),
            (504, Failure::Timeout),
        ] {
            assert_eq!(read(status, "{}"), Err(failure), "{status}");
        }
    }

    #[test]
    fn a_200_that_is_no_document_is_a_failure() {
        for (body, failure) in [
            ("", Failure::Unexpected),
            ("<html>", Failure::Unexpected),
            ("{\"data\":{}", Failure::Unexpected),
            (r#"{"data":{"a":1,"a":2}}"#, Failure::Schema),
            (r#"{"data":1,"data":2}"#, Failure::Schema),
            (&format!("{}1{}", "[".repeat(40), "]".repeat(40)), Failure::Schema),
        ] {
            assert_eq!(read(200, body), Err(failure), "{body}");
        }
        let Ok(Answer::Document(document)) = read(200, r#"{"data": {"montant": 123.40}, "meta": {}}"#) else {
            panic!("a document");
        };
        assert_eq!(document.json, r#"{"montant":123.40}"#);
    }

    #[test]
    fn a_wait_is_kept_within_bounds() {
        for (text, seconds) in [
            ("0", Some(1)),
            (" 7 ", Some(7)),
            ("86400", Some(300)),
            ("-1", None),
            ("Tue, 24 Nov", None),
        ] {
            assert_eq!(wait(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
