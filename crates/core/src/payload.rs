//! JSON payloads as text: scanned strictly, cut by pointer, never turned into numbers and back.
//!
//! A source's `123.40` must leave as `123.40` and its `null` as `null`, so a [`Payload`] only remembers where each
//! value stands in the text. What [`Payload::prune`] and [`Mapping::apply`] write is made of slices of that text; the
//! white space between tokens is the one thing that they drop.

mod mapping;
mod pointer;
mod scan;

pub use mapping::{InvalidMapping, Mapping, Rename};
pub use pointer::{InvalidPointer, Pointer, PointerSet};

use std::borrow::Cow;

use pointer::Segment;

/// The deepest nesting that a payload may have; an array or object at the top is at depth 1.
pub const MAX_DEPTH: usize = 32;

/// A strictly valid JSON text (RFC 8259) without duplicate keys, and where each of its values stands.
#[derive(Debug)]
pub struct Payload<'a> {
    root: Value<'a>,
}

/// Why bytes are not an acceptable payload. Offsets count bytes from the start; nothing of the text is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Longer than the caller allows.
    #[error("the payload is longer than {max} bytes")]
    TooLarge {
        /// The most bytes allowed.
        max: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the payload is nested too deep at byte {offset}")]
    TooDeep {
        /// Where.
        offset: usize,
    },
    /// Not UTF-8, or not JSON: bad token, escape or number, trailing bytes, lone surrogate.
    #[error("the payload is not valid JSON at byte {offset}")]
    Syntax {
        /// Where.
        offset: usize,
    },
    /// One object names a key twice, in whatever spelling.
    #[error("an object of the payload names a key twice at byte {offset}")]
    DuplicateKey {
        /// Where the object starts.
        offset: usize,
    },
    /// A pointer goes on where the payload has neither an object, an array nor `null`.
    #[error("the payload has an unexpected shape at {at}")]
    Shape {
        /// The place, as the pointer that led there.
        at: Pointer,
    },
}

#[derive(Debug)]
struct Value<'a> {
    /// The value's exact text.
    text: &'a str,
    shape: Shape<'a>,
}

#[derive(Debug)]
enum Shape<'a> {
    Object(Vec<Member<'a>>),
    Array(Vec<Value<'a>>),
    Null,
    /// A string, a number, `true` or `false`.
    Scalar,
}

#[derive(Debug)]
struct Member<'a> {
    /// The key as written, with its quotation marks.
    raw: &'a str,
    key: Cow<'a, str>,
    value: Value<'a>,
}

impl<'a> Payload<'a> {
    /// Scans `bytes`, of which there may be at most `max`.
    pub fn parse(bytes: &'a [u8], max: usize) -> Result<Self, PayloadError> {
        if bytes.len() > max {
            return Err(PayloadError::TooLarge { max });
        }
        let text = std::str::from_utf8(bytes).map_err(|e| PayloadError::Syntax {
            offset: e.valid_up_to(),
        })?;
        scan::scan(text).map(|root| Self { root })
    }

    /// The exact source texts of what `pointer` leads to, in order; none where it leads nowhere.
    pub fn texts(&self, pointer: &Pointer) -> Vec<&'a str> {
        let mut found = Vec::new();
        self.root
            .find(pointer.segments(), &mut |value| found.push(value.text));
        found
    }

    /// The strings that `pointer` leads to, unescaped; other values are left out.
    pub fn strings(&self, pointer: &Pointer) -> Vec<Cow<'a, str>> {
        let mut found = Vec::new();
        self.root.find(pointer.segments(), &mut |value| {
            found.extend(scan::unquote(value.text))
        });
        found
    }

    /// The whole text without the white space between tokens.
    pub fn compact(&self) -> String {
        let mut out = String::with_capacity(self.root.text.len());
        self.root.write(&mut out);
        out
    }

    /// The JSON text that holds what `kept` points to and nothing else, in the source's order, each key and value byte
    /// for byte. A place that is `null` where a pointer goes on stays `null`; objects and arrays on the way stay,
    /// empty if need be; what is absent stays absent.
    pub fn prune(&self, kept: &PointerSet) -> Result<String, PayloadError> {
        let mut out = String::with_capacity(self.root.text.len());
        self.root.prune(kept, &mut Vec::new(), &mut out)?;
        Ok(out)
    }
}

impl<'a> Value<'a> {
    fn member(&self, key: &str) -> Option<&Self> {
        match &self.shape {
            Shape::Object(members) => members.iter().find(|m| m.key == key).map(|m| &m.value),
            Shape::Array(_) | Shape::Null | Shape::Scalar => None,
        }
    }

    fn find<'s>(&'s self, segments: &[Segment], found: &mut impl FnMut(&'s Self)) {
        match (segments.split_first(), &self.shape) {
            (None, _) => found(self),
            (Some((Segment::Key(key), rest)), Shape::Object(_)) => {
                if let Some(value) = self.member(key) {
                    value.find(rest, found);
                }
            }
            (Some((Segment::Each, rest)), Shape::Array(items)) => {
                items.iter().for_each(|item| item.find(rest, found));
            }
            (Some(_), _) => {}
        }
    }

    fn write(&self, out: &mut String) {
        match &self.shape {
            Shape::Null | Shape::Scalar => out.push_str(self.text),
            Shape::Object(members) => {
                separated(out, '{', '}', members, |out, member| {
                    out.push_str(member.raw);
                    out.push(':');
                    member.value.write(out);
                });
            }
            Shape::Array(items) => separated(out, '[', ']', items, |out, item| item.write(out)),
        }
    }

    fn prune(&self, kept: &PointerSet, at: &mut Vec<Segment>, out: &mut String) -> Result<(), PayloadError> {
        if kept.is_whole() {
            self.write(out);
            return Ok(());
        }
        let mut result = Ok(());
        let mut descend = |out: &mut String, segment: Segment, value: &Self, kept: &PointerSet| {
            if result.is_ok() {
                at.push(segment);
                result = value.prune(kept, at, out);
                at.pop();
            }
        };
        match &self.shape {
            Shape::Null => out.push_str(self.text),
            Shape::Object(members) if kept.each().is_none() => {
                let members = members.iter().filter_map(|m| Some((m, kept.key(&m.key)?)));
                separated(out, '{', '}', members, |out, (member, kept)| {
                    out.push_str(member.raw);
                    out.push(':');
                    descend(
                        out,
                        Segment::Key(member.key.clone().into_owned()),
                        &member.value,
                        kept,
                    );
                });
            }
            Shape::Array(items) if kept.each().is_some() => {
                let items = items.iter().filter_map(|item| Some((item, kept.each()?)));
                separated(out, '[', ']', items, |out, (item, kept)| {
                    descend(out, Segment::Each, item, kept)
                });
            }
            Shape::Object(_) | Shape::Array(_) | Shape::Scalar => {
                return Err(PayloadError::Shape {
                    at: Pointer::from_segments(at.clone()),
                });
            }
        }
        result
    }
}

fn separated<T>(
    out: &mut String,
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push(open);
    for (n, item) in items.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(close);
}

#[cfg(test)]
mod tests;
