//! What the `http` source may do to an answer: rename and drop, never combine or compute.

use serde::{Deserialize, Serialize};

use super::pointer::Segment;
use super::{Payload, PayloadError, Pointer, Shape, Value};

/// One move: the value at `from` in the source's answer stands at `to` in the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// Where the value is, in the source's answer.
    pub from: Pointer,
    /// Where it goes, in the payload.
    pub to: Pointer,
}

/// The moves that turn a source's answer into a payload; whatever no move names is dropped.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Vec<Rename>", try_from = "Vec<Rename>")]
pub struct Mapping {
    renames: Vec<Rename>,
    root: Node,
}

/// The moves would combine values, or contradict one another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the move to {to} overlaps another, or does not walk the same arrays on both sides")]
pub struct InvalidMapping {
    /// Where the offending move leads.
    pub to: Pointer,
}

#[derive(Clone, Debug)]
enum Node {
    Copy { from: Vec<String> },
    Each { from: Vec<String>, item: Box<Node> },
    Object(Vec<(String, Node)>),
}

enum Found {
    /// Written.
    Yes,
    /// The source has nothing there.
    Absent,
    /// The source has `null` on the way there.
    UnderNull,
}

impl Mapping {
    /// The answer as this mapping rearranges it: values byte for byte, in the order of the moves. Where the source has
    /// `null` on the way to a value, the payload has `null` in its place; where the source has nothing, neither has
    /// the payload.
    pub fn apply(&self, answer: &Payload<'_>) -> Result<String, PayloadError> {
        let mut out = String::new();
        match self.root.write(&answer.root, &mut out)? {
            Found::Yes => {}
            Found::Absent => out.push_str("{}"),
            Found::UnderNull => out.push_str("null"),
        }
        Ok(out)
    }
}

impl TryFrom<Vec<Rename>> for Mapping {
    type Error = InvalidMapping;

    fn try_from(renames: Vec<Rename>) -> Result<Self, InvalidMapping> {
        let mut root = None;
        for rename in &renames {
            insert(&mut root, rename.from.segments(), rename.to.segments()).ok_or_else(|| {
                InvalidMapping {
                    to: rename.to.clone(),
                }
            })?;
        }
        let root = root.unwrap_or(Node::Object(Vec::new()));
        Ok(Self { renames, root })
    }
}

impl From<Mapping> for Vec<Rename> {
    fn from(mapping: Mapping) -> Self {
        mapping.renames
    }
}

/// Splits off the keys before the first `*`.
fn keys(segments: &[Segment]) -> (Vec<String>, &[Segment]) {
    let keys: Vec<String> = segments
        .iter()
        .map_while(|s| match s {
            Segment::Key(key) => Some(key.clone()),
            Segment::Each => None,
        })
        .collect();
    let rest = &segments[keys.len()..];
    (keys, rest)
}

/// Puts one move into the tree; `None` if it does not fit.
fn insert(slot: &mut Option<Node>, from: &[Segment], to: &[Segment]) -> Option<()> {
    match to.split_first() {
        None => {
            let (from, rest) = keys(from);
            if slot.is_some() || !rest.is_empty() {
                return None;
            }
            *slot = Some(Node::Copy { from });
        }
        Some((Segment::Key(key), to)) => {
            let Node::Object(members) = slot.get_or_insert_with(|| Node::Object(Vec::new())) else {
                return None;
            };
            match members.iter_mut().find(|(k, _)| k == key) {
                Some((_, node)) => {
                    // An occupied place takes another move only further down.
                    let mut taken = Some(std::mem::replace(node, Node::Object(Vec::new())));
                    insert(&mut taken, from, to)?;
                    *node = taken?;
                }
                None => {
                    let mut fresh = None;
                    insert(&mut fresh, from, to)?;
                    members.push((key.clone(), fresh?));
                }
            }
        }
        Some((Segment::Each, to)) => {
            let (array, rest) = keys(from);
            let (_, rest) = rest.split_first()?;
            match slot {
                None => {
                    let mut item = None;
                    insert(&mut item, rest, to)?;
                    *slot = Some(Node::Each {
                        from: array,
                        item: Box::new(item?),
                    });
                }
                Some(Node::Each { from, item }) if *from == array => {
                    let mut taken = Some(std::mem::replace(&mut **item, Node::Object(Vec::new())));
                    insert(&mut taken, rest, to)?;
                    **item = taken?;
                }
                // Two arrays cannot become one.
                Some(_) => return None,
            }
        }
    }
    Some(())
}

impl Node {
    fn write(&self, source: &Value<'_>, out: &mut String) -> Result<Found, PayloadError> {
        match self {
            Self::Copy { from } => Ok(match walk(source, from)? {
                Ok(value) => {
                    value.write(out);
                    Found::Yes
                }
                Err(missing) => missing,
            }),
            Self::Each { from, item } => match walk(source, from)? {
                Ok(value) => match &value.shape {
                    Shape::Null => Ok(Found::UnderNull),
                    Shape::Array(items) => {
                        out.push('[');
                        for (n, value) in items.iter().enumerate() {
                            if n > 0 {
                                out.push(',');
                            }
                            match item.write(value, out)? {
                                Found::Yes => {}
                                Found::Absent => out.push_str("{}"),
                                Found::UnderNull => out.push_str("null"),
                            }
                        }
                        out.push(']');
                        Ok(Found::Yes)
                    }
                    Shape::Object(_) | Shape::Scalar => Err(shape(from)),
                },
                Err(missing) => Ok(missing),
            },
            Self::Object(members) => {
                let start = out.len();
                let (mut written, mut under_null) = (false, Vec::new());
                for (key, node) in members {
                    let before = out.len();
                    out.push(if written { ',' } else { '{' });
                    write_key(out, key);
                    match node.write(source, out)? {
                        Found::Yes => written = true,
                        Found::Absent => out.truncate(before),
                        Found::UnderNull => {
                            out.truncate(before);
                            under_null.push(key);
                        }
                    }
                }
                if !written {
                    out.truncate(start);
                    return Ok(if under_null.is_empty() {
                        Found::Absent
                    } else {
                        Found::UnderNull
                    });
                }
                for key in under_null {
                    out.push(',');
                    write_key(out, key);
                    out.push_str("null");
                }
                out.push('}');
                Ok(Found::Yes)
            }
        }
    }
}

fn write_key(out: &mut String, key: &str) {
    out.push_str(&serde_json::Value::from(key).to_string());
    out.push(':');
}

/// Follows `keys` from `value`.
fn walk<'s, 'a>(value: &'s Value<'a>, keys: &[String]) -> Result<Result<&'s Value<'a>, Found>, PayloadError> {
    let mut at = value;
    for (n, key) in keys.iter().enumerate() {
        at = match (&at.shape, at.member(key)) {
            (Shape::Object(_), Some(next)) => next,
            (Shape::Object(_), None) => return Ok(Err(Found::Absent)),
            (Shape::Null, _) => return Ok(Err(Found::UnderNull)),
            (Shape::Array(_) | Shape::Scalar, _) => return Err(shape(&keys[..n])),
        };
    }
    Ok(Ok(at))
}

fn shape(keys: &[String]) -> PayloadError {
    let at = Pointer::from_segments(keys.iter().cloned().map(Segment::Key).collect());
    PayloadError::Shape { at }
}
