//! Strings that must appear in no signal, and the search for them.
//!
//! A value is searched for as it is, without regard to case, and as base64 (any alignment, both alphabets) and
//! hexadecimal would hide it: what is missed is what is encrypted, hashed or compressed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// What was observed: a log, spans, a database file.
#[derive(Clone, Debug)]
pub struct Signal {
    name: String,
    bytes: Vec<u8>,
}

impl Signal {
    /// What `name` gave.
    pub fn new(name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.into(),
            bytes: bytes.as_ref().to_vec(),
        }
    }
}

/// A forbidden value that was found: where, and what it is. Never the value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// The signal.
    pub signal: String,
    /// The field that the value was planted in.
    pub field: String,
    /// How it was written there.
    pub form: &'static str,
}

/// The values planted in personal fields, or seen there.
#[derive(Clone, Debug, Default)]
pub struct Canaries(Vec<Canary>);

#[derive(Clone, Debug)]
struct Canary {
    field: String,
    needles: Vec<Needle>,
}

/// One way to write a value.
#[derive(Clone, Debug)]
struct Needle {
    form: &'static str,
    bytes: Vec<u8>,
    /// Whether a capital is another character.
    exact: bool,
    /// Whether it counts only where no letter or digit is beside it.
    word: bool,
}

/// The shortest value that is worth a search: shorter ones occur by chance.
const SHORTEST: usize = 6;
/// The shortest word.
const SHORTEST_WORD: usize = 5;

impl Canaries {
    /// A value for `field` that nothing else in this process contains: letters only, so that it may be a name.
    pub fn plant(&mut self, field: &str) -> String {
        // Letters that no language puts together, then the number of the canary in base 20.
        const LETTERS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
        static PLANTED: AtomicUsize = AtomicUsize::new(400);
        let mut number = PLANTED.fetch_add(1, Ordering::Relaxed);
        let mut value = "Qxzwj".to_owned();
        while number > 0 {
            value.push(char::from(LETTERS[number % LETTERS.len()]));
            number /= LETTERS.len();
        }
        value.push_str("vkq");
        self.watch(field, &value);
        value
    }

    /// Searches for `value` too, which others chose: a token, a handle, a birth date.
    ///
    /// # Panics
    /// It is too short to be searched for.
    pub fn watch(&mut self, field: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        assert!(value.len() >= SHORTEST, "{field} is too short for a canary");
        let needle = |form, bytes, exact| Needle {
            form,
            bytes,
            exact,
            word: false,
        };
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut needles = vec![
            needle("text", value.to_ascii_lowercase(), false),
            needle("hexadecimal", hex.into_bytes(), false),
        ];
        needles.extend(
            base64_forms(value)
                .into_iter()
                .map(|form| needle("base64", form.into_bytes(), true)),
        );
        self.add(field, needles);
    }

    /// Searches for `value`, too short to be unique, where it stands alone: a code of five digits.
    ///
    /// # Panics
    /// It is shorter still.
    pub fn watch_word(&mut self, field: &str, value: &str) {
        assert!(value.len() >= SHORTEST_WORD, "{field} is too short for a canary");
        let word = Needle {
            form: "word",
            bytes: value.to_ascii_lowercase().into_bytes(),
            exact: false,
            word: true,
        };
        self.add(field, vec![word]);
    }

    /// Searches for all that `others` search for.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    fn add(&mut self, field: &str, needles: Vec<Needle>) {
        let field = field.to_owned();
        self.0.push(Canary { field, needles });
    }

    /// Every value found in `signals`, once a form: none, where all is well.
    ///
    /// # Panics
    /// There is nothing to search for, or nothing to search in.
    pub fn hits(&self, signals: &[Signal]) -> Vec<Hit> {
        assert!(!self.0.is_empty(), "no canary was planted");
        // Thousands of needles in megabytes: at each place only those that begin as the text does are compared.
        let place = |start: &[u8]| usize::from(start[0]) << 8 | usize::from(start[1]);
        let mut by_start: Vec<Vec<(&str, &Needle)>> = vec![Vec::new(); 1 << 16];
        for Canary { field, needles } in &self.0 {
            for needle in needles {
                by_start[place(&needle.bytes)].push((field, needle));
            }
        }
        let mut hits = BTreeSet::new();
        for signal in signals {
            assert!(!signal.bytes.is_empty(), "{} is empty", signal.name);
            let lower = signal.bytes.to_ascii_lowercase();
            for (text, exact) in [(&signal.bytes, true), (&lower, false)] {
                for (at, start) in text.windows(2).enumerate() {
                    for (field, needle) in &by_start[place(start)] {
                        if needle.exact == exact && needle.is_at(text, at) {
                            hits.insert(Hit {
                                signal: signal.name.clone(),
                                field: (*field).to_owned(),
                                form: needle.form,
                            });
                        }
                    }
                }
            }
        }
        hits.into_iter().collect()
    }
}

impl Needle {
    fn is_at(&self, text: &[u8], at: usize) -> bool {
        let plain = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let alone = || {
            let before = at.checked_sub(1).and_then(|before| text.get(before));
            !plain(before) && !plain(text.get(at + self.bytes.len()))
        };
        text[at..].starts_with(&self.bytes) && (!self.word || alone())
    }
}

/// The characters that `value` alone decides when it lies somewhere in bytes written as base64.
fn base64_forms(value: &[u8]) -> BTreeSet<String> {
    let forms = (0..3_usize).flat_map(|before| {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value);
        let text = STANDARD_NO_PAD.encode(&bytes);
        // Characters that share bits with what lies before, or after, vary.
        let first = [0, 2, 3][before];
        let last = text.len() - usize::from(!bytes.len().is_multiple_of(3));
        let sure = text[first..last].to_owned();
        let url = sure.replace('+', "-").replace('/', "_");
        [sure, url]
    });
    forms.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_however_it_is_written() {
        let mut canaries = Canaries::default();
        let name = canaries.plant("family_name");
        let hex: String = name.bytes().map(|byte| format!("{byte:02X}")).collect();
        let mut forms = vec![("text", name.to_uppercase()), ("hexadecimal", hex)];
        for before in ["", "a", "ab", "abc"] {
            forms.push((
                "base64",
                STANDARD_NO_PAD.encode(format!("{before}{name}, né(e) hier")),
            ));
        }
        for (form, text) in forms {
            let hits = canaries.hits(&[Signal::new("logs", format!("user={text} failed"))]);
            assert_eq!(hits.len(), 1, "{form} {text}");
            assert_eq!((hits[0].field.as_str(), hits[0].form), ("family_name", form));
        }
    }

    #[test]
    fn bytes_are_found_where_nothing_is_text() {
        let mut canaries = Canaries::default();
        canaries.watch("handle", [0xff, 0x00, 0xc3, 0x28, 0x80, 0xfe, 0x07]);
        let file = [
            &[0xc3, 0x28][..],
            &[0xff, 0x00, 0xc3, 0x28, 0x80, 0xfe, 0x07],
            &[9],
        ]
        .concat();
        assert_eq!(canaries.hits(&[Signal::new("file", &file)]).len(), 1);
        assert_eq!(canaries.hits(&[Signal::new("file", &file[1..8])]), []);
    }

    #[test]
    fn a_word_is_found_alone() {
        let mut canaries = Canaries::default();
        canaries.watch_word("birthplace", "98397");
        for text in ["98397", "?cog=98397&x", "{\"birthplace\":\"98397\"}"] {
            assert_eq!(canaries.hits(&[Signal::new("logs", text)]).len(), 1, "{text}");
        }
        for text in ["198397", "12.983971Z", "a98397", "9839"] {
            assert_eq!(canaries.hits(&[Signal::new("logs", text)]), [], "{text}");
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let mut canaries = Canaries::default();
        let (one, two) = (canaries.plant("given_name"), canaries.plant("family_name"));
        assert_ne!(one, two);
        let near = Signal::new("logs", format!("{} INFO served", &one[..one.len() - 1]));
        assert_eq!(canaries.hits(&[near]), []);
    }
}
