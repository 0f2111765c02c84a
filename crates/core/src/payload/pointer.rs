use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::MAX_DEPTH;

/// A JSON Pointer (RFC 6901) in which `*` stands for every element of an array: `/enfants/*/prenoms`. The empty text
/// is the whole payload.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Pointer(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Segment {
    Key(String),
    Each,
}

/// The text is not a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pointer is empty, or keys and * each after a /, at most 32 of them")]
pub struct InvalidPointer;

impl Pointer {
    /// The whole payload.
    pub const ROOT: Self = Self(Vec::new());

    pub(super) const fn from_segments(segments: Vec<Segment>) -> Self {
        Self(segments)
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Its steps: a key, or `None` for `*`.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter().map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::Each => None,
        })
    }

    /// This pointer followed by a key.
    pub fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    /// This pointer followed by `*`.
    pub fn each(&self) -> Self {
        self.with(Segment::Each)
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(s: &str) -> Result<Self, InvalidPointer> {
        if s.is_empty() {
            return Ok(Self::ROOT);
        }
        let segments = s
            .strip_prefix('/')
            .ok_or(InvalidPointer)?
            .split('/')
            .map(|segment| {
                // RFC 6901, 3: a tilde is written ~0 and a slash ~1, and nothing else follows a tilde.
                let mut tildes = segment.split('~').skip(1);
                match segment {
                    "*" => Ok(Segment::Each),
                    _ if !tildes.all(|rest| rest.starts_with(['0', '1'])) => Err(InvalidPointer),
                    _ => Ok(Segment::Key(segment.replace("~1", "/").replace("~0", "~"))),
                }
            });
        let segments = segments.collect::<Result<Vec<_>, _>>()?;
        (segments.len() <= MAX_DEPTH)
            .then_some(Self(segments))
            .ok_or(InvalidPointer)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|segment| match segment {
            Segment::Key(key) => write!(f, "/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Each => f.write_str("/*"),
        })
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.to_string()
    }
}

impl TryFrom<String> for Pointer {
    type Error = InvalidPointer;

    fn try_from(s: String) -> Result<Self, InvalidPointer> {
        s.parse()
    }
}

/// Several pointers at once: what may stay of a payload. A pointer holds everything under it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointerSet {
    whole: bool,
    keys: BTreeMap<String, PointerSet>,
    each: Option<Box<PointerSet>>,
}

impl PointerSet {
    /// Adds everything under `pointer`.
    pub fn insert(&mut self, pointer: &Pointer) {
        let mut node = self;
        for segment in pointer.segments() {
            node = match segment {
                Segment::Key(key) => node.keys.entry(key.clone()).or_default(),
                Segment::Each => node.each.get_or_insert_default(),
            };
        }
        node.whole = true;
    }

    /// Whether everything under `pointer` is in the set because the pointer, or a shorter one, was inserted.
    pub fn covers(&self, pointer: &Pointer) -> bool {
        let mut node = self;
        for segment in pointer.segments() {
            let next = match segment {
                _ if node.whole => return true,
                Segment::Key(key) => node.keys.get(key),
                Segment::Each => node.each.as_deref(),
            };
            match next {
                Some(next) => node = next,
                None => return false,
            }
        }
        node.whole
    }

    /// Everything under here is in the set.
    pub(crate) const fn is_whole(&self) -> bool {
        self.whole
    }

    /// What of the set lies under a key.
    pub(crate) fn key(&self, key: &str) -> Option<&Self> {
        self.keys.get(key)
    }

    /// What of the set lies under each element of an array.
    pub(crate) fn each(&self) -> Option<&Self> {
        self.each.as_deref()
    }
}

impl<'a> FromIterator<&'a Pointer> for PointerSet {
    fn from_iter<I: IntoIterator<Item = &'a Pointer>>(pointers: I) -> Self {
        let mut set = Self::default();
        pointers.into_iter().for_each(|pointer| set.insert(pointer));
        set
    }
}
