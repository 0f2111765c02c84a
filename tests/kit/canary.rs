//! Strings that must appear in no signal, and the search for them.
//!
//! A value is searched for as it is, without regard to case, and as base64 (any alignment, both alphabets) and
//! hexadecimal would hide it: what is missed is what is encrypted, hashed or compressed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Text that was observed: a log, spans, a database file.
#[derive(Clone, Debug)]
pub struct Signal {
    name: String,
    text: String,
}

impl Signal {
    /// What `name` gave; of bytes that are no text, the text among them.
    pub fn new(name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.into(),
            text: String::from_utf8_lossy(bytes.as_ref()).into_owned(),
        }
    }
}

/// A forbidden value that was found: where, and what it is. Never the value.
#[derive(Clone, Debug, PartialEq, Eq)]
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
pub struct Canaries(Vec<(String, String)>);

/// The shortest value that is worth a search: shorter ones occur by chance.
const SHORTEST: usize = 6;

impl Canaries {
    /// A value for `field` that nothing else contains: letters only, so that it may be a name.
    pub fn plant(&mut self, field: &str) -> String {
        // Letters that no language puts together, then the number of the canary in base 20.
        const LETTERS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
        let mut number = self.0.len() + 400;
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
    pub fn watch(&mut self, field: &str, value: &str) {
        assert!(value.len() >= SHORTEST, "{field} is too short for a canary");
        self.0.push((field.to_owned(), value.to_owned()));
    }

    /// Every value found in `signals`: none, where all is well.
    ///
    /// # Panics
    /// There is nothing to search for, or nothing to search in.
    pub fn hits(&self, signals: &[Signal]) -> Vec<Hit> {
        assert!(!self.0.is_empty(), "no canary was planted");
        let mut hits = Vec::new();
        for signal in signals {
            assert!(!signal.text.is_empty(), "{} is empty", signal.name);
            let lower = signal.text.to_ascii_lowercase();
            for (field, value) in &self.0 {
                let hit = |form| Hit {
                    signal: signal.name.clone(),
                    field: field.clone(),
                    form,
                };
                if lower.contains(&value.to_ascii_lowercase()) {
                    hits.push(hit("text"));
                }
                let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
                if lower.contains(&hex) {
                    hits.push(hit("hexadecimal"));
                }
                if base64_forms(value).iter().any(|form| signal.text.contains(form)) {
                    hits.push(hit("base64"));
                }
            }
        }
        hits
    }
}

/// The characters that `value` alone decides when it lies somewhere in bytes written as base64.
fn base64_forms(value: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value.as_bytes());
        let text = STANDARD_NO_PAD.encode(&bytes);
        // Characters that share bits with what lies before, or after, vary.
        let first = [0, 2, 3][before];
        let last = text.len() - usize::from(bytes.len() % 3 != 0);
        let sure = &text[first..last];
        forms.push(sure.to_owned());
        forms.push(sure.replace('+', "-").replace('/', "_"));
    }
    forms
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
    fn nothing_is_found_where_nothing_is() {
        let mut canaries = Canaries::default();
        let (one, two) = (canaries.plant("given_name"), canaries.plant("family_name"));
        assert_ne!(one, two);
        let near = Signal::new("logs", format!("{} INFO served", &one[..one.len() - 1]));
        assert_eq!(canaries.hits(&[near]), []);
    }
}
