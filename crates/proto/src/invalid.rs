use std::fmt::Display;

/// A field of a message and what is wrong with it; the value is never part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the message, such as `elements[2].units`.
    pub field: String,
    /// What a valid value looks like.
    pub description: String,
}

/// A message that is not what its schema and this system's types allow: `INVALID_ARGUMENT` with these violations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is malformed: {}", fields(.violations))]
pub struct InvalidMessage {
    /// At least one.
    pub violations: Vec<Violation>,
}

fn fields(violations: &[Violation]) -> String {
    violations
        .iter()
        .map(|v| format!("{}: {}", v.field, v.description))
        .collect::<Vec<_>>()
        .join("; ")
}

/// Collects the violations of one message, so that a caller learns of all at once.
#[derive(Default)]
pub(crate) struct Check {
    violations: Vec<Violation>,
}

impl Check {
    /// Notes that `field` is wrong.
    pub(crate) fn wrong(&mut self, field: impl Into<String>, description: impl Display) {
        self.violations.push(Violation {
            field: field.into(),
            description: description.to_string(),
        });
    }

    /// The parsed text, or a noted violation.
    pub(crate) fn parse<T: std::str::FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        text.parse().map_err(|e| self.wrong(field, e)).ok()
    }

    /// The parsed text where there is one.
    pub(crate) fn optional<T: std::str::FromStr<Err: Display>>(
        &mut self,
        field: &str,
        text: &str,
    ) -> Option<T> {
        if text.is_empty() {
            None
        } else {
            self.parse(field, text)
        }
    }

    /// Bytes of a fixed length, or a noted violation.
    pub(crate) fn bytes<const N: usize>(&mut self, field: &str, bytes: &[u8]) -> Option<[u8; N]> {
        bytes
            .try_into()
            .map_err(|_| self.wrong(field, format_args!("{N} bytes")))
            .ok()
    }

    /// A text within `max` bytes that is not empty, or a noted violation.
    pub(crate) fn text(&mut self, field: &str, text: String, max: usize) -> Option<String> {
        if (1..=max).contains(&text.len()) {
            return Some(text);
        }
        self.wrong(field, format_args!("1 to {max} bytes"));
        None
    }

    /// The message's value if nothing was wrong; `value` is `None` only where something was noted.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, InvalidMessage> {
        match value {
            Some(value) if self.violations.is_empty() => Ok(value),
            Some(_) | None => Err(InvalidMessage {
                violations: self.violations,
            }),
        }
    }
}
