//! Reading files so that a rule broken anywhere is reported with its line and column.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};

use super::{DatatypeSheet, Demarche, Problem, Producer};

/// A value with where it was written.
pub(super) struct Entry<T> {
    pub(super) value: T,
    file: String,
    places: Option<Spanned<Node>>,
}

/// What was read so far.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) datatypes: Vec<Entry<DatatypeSheet>>,
    pub(super) demarches: Vec<Entry<Demarche>>,
    pub(super) producers: Vec<Entry<Producer>>,
    pub(super) problems: Vec<Problem>,
}

impl<T> Entry<T> {
    /// A value of a compiled catalogue, which has no places.
    pub(super) fn compiled(name: String, value: T) -> Self {
        Self {
            value,
            file: name,
            places: None,
        }
    }

    /// Whether it was read from a file rather than compiled.
    pub(super) fn file(&self) -> Option<&str> {
        self.places.as_ref().map(|_| self.file.as_str())
    }

    /// A problem at `path`, a JSON Pointer into the file; where nothing is there, at the closest thing around it.
    pub(super) fn problem(&self, path: &str, code: &'static str, message: String) -> Problem {
        let place = self.places.as_ref().map(|root| place(root, path));
        let (line, column) = place.map_or((0, 0), |at| (at.line(), at.column()));
        Problem {
            file: self.file.clone(),
            line,
            column,
            code,
            message,
        }
    }
}

impl Sources {
    pub(super) fn read(&mut self, path: &str, text: &str) {
        match path
            .split_once('/')
            .filter(|(_, name)| name.ends_with(".yaml") && !name.contains('/'))
        {
            Some(("types", _)) => {
                let entry = read(path, text, &mut self.problems);
                self.datatypes.extend(entry);
            }
            Some(("demarches", _)) => {
                let entry = read(path, text, &mut self.problems);
                self.demarches.extend(entry);
            }
            Some(("producers", _)) => {
                let entry = read(path, text, &mut self.problems);
                self.producers.extend(entry);
            }
            Some(_) | None => self.problems.push(Problem {
                file: path.to_owned(),
                line: 0,
                column: 0,
                code: "file_place",
                message: "un fichier du catalogue est types/…yaml, demarches/…yaml ou producers/…yaml"
                    .to_owned(),
            }),
        }
    }
}

fn read<T: DeserializeOwned>(file: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Entry<T>> {
    let mut report = |code, at: Location, message: String| {
        problems.push(Problem {
            file: file.to_owned(),
            line: at.line(),
            column: at.column(),
            code,
            message,
        });
    };
    let places: Spanned<Node> = match serde_saphyr::from_str(text) {
        Ok(places) => places,
        Err(error) => {
            report(
                "yaml",
                error.location().unwrap_or(Location::UNKNOWN),
                format!("YAML illisible : {}", short(&error)),
            );
            return None;
        }
    };
    // Named apart, since "unknown legal basis" would not say that the law has one.
    let mut refused = false;
    for n in 0.. {
        let Some((at, node)) = find(&places, &format!("/legal_bases/{n}")) else {
            break;
        };
        if matches!(node, Node::Scalar(text) if text == "SDG-14") {
            refused = true;
            report(
                "legal_sdg14",
                at,
                "SDG-14 (échanges transfrontières) n'est pas admis tant que la prévisualisation n'existe pas"
                    .to_owned(),
            );
        }
    }
    if refused {
        return None;
    }
    match serde_saphyr::from_str::<T>(text) {
        Ok(value) => Some(Entry {
            value,
            file: file.to_owned(),
            places: Some(places),
        }),
        Err(error) => {
            report(
                "shape",
                error.location().unwrap_or(Location::UNKNOWN),
                format!("forme inattendue : {}", short(&error)),
            );
            None
        }
    }
}

/// The parser's message on one line, without the excerpt that it draws and the place that is given beside it.
fn short(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.split(" at line ").next().unwrap_or_default().to_owned()
}

enum Node {
    Scalar(String),
    Sequence(Vec<Spanned<Node>>),
    Mapping(Vec<(Spanned<String>, Spanned<Node>)>),
}

/// The place of the deepest node on the way that `path` goes.
fn place(root: &Spanned<Node>, path: &str) -> Location {
    let mut steps: Vec<&str> = path.split('/').collect();
    loop {
        match find(root, &steps.join("/")) {
            Some((at, _)) => return at,
            None => {
                steps.pop();
            }
        }
    }
}

fn find<'n>(root: &'n Spanned<Node>, path: &str) -> Option<(Location, &'n Node)> {
    let start = (root.referenced, &root.value);
    path.split('/')
        .skip(1)
        .try_fold(start, |(_, node), step| match node {
            Node::Scalar(_) => None,
            Node::Sequence(items) => {
                let item = items.get(step.parse::<usize>().ok()?)?;
                Some((item.referenced, &item.value))
            }
            Node::Mapping(members) => {
                let (key, value) = members.iter().find(|(key, _)| key.value == step)?;
                Some((key.referenced, &value.value))
            }
        })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Nodes;
        impl<'de> Visitor<'de> for Nodes {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("YAML")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
                Ok(Node::Scalar(String::new()))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
                Ok(Node::Scalar(String::new()))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
                Ok(Node::Scalar(String::new()))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Scalar(String::new()))
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(String::new()))
            }

            fn visit_none<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(String::new()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Scalar(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::Sequence(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Node::Mapping(members))
            }
        }
        d.deserialize_any(Nodes)
    }
}
