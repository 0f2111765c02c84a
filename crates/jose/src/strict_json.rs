//! The check that every JSON text passes before its meaning is looked at.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: u8 = 16;

/// Why a JSON text is refused. It names no key and no value of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJson {
    /// Not one JSON value in UTF-8 (RFC 8259), or a number beyond what a double holds.
    #[error("not a JSON text")]
    Syntax,
    /// An object names a member twice, so two readers may see two values.
    #[error("a JSON object names a member twice")]
    DuplicateKey,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the JSON is nested too deeply")]
    TooDeep,
    /// A member has a name that is reserved where it stands.
    #[error("a JSON object has a member with a reserved name")]
    ReservedKey,
    /// Well-formed, but not of the expected type.
    #[error("the JSON does not have the expected members")]
    Shape,
}

/// Checks that `text` is one JSON value in UTF-8, no object of which names a member twice (`"a"` and `"\u0061"` are
/// the same name), nested at most [`MAX_DEPTH`] deep.
///
/// Parsers differ on duplicates: one takes the first, another the last. So nothing signed or forwarded holds any.
pub fn check(text: &[u8]) -> Result<(), InvalidJson> {
    check_keys(text, &|_, _| true)
}

/// Checks `text` as [`check`] does, then reads a `T` from it.
pub fn from_slice<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, InvalidJson> {
    check(text)?;
    serde_json::from_slice(text).map_err(|_| InvalidJson::Shape)
}

/// Checks `text` as [`check`] does, and that `allowed(depth, name)` holds for every member; the members of the
/// outermost object have depth 1.
pub(crate) fn check_keys(text: &[u8], allowed: &dyn Fn(u8, &str) -> bool) -> Result<(), InvalidJson> {
    let cause = Cell::new(InvalidJson::Syntax);
    let outermost = Level {
        depth: 0,
        allowed,
        cause: &cause,
    };
    let mut reader = serde_json::Deserializer::from_slice(text);
    outermost
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(|_| cause.get())
}

#[derive(Clone, Copy)]
struct Level<'a> {
    depth: u8,
    allowed: &'a dyn Fn(u8, &str) -> bool,
    cause: &'a Cell<InvalidJson>,
}

impl Level<'_> {
    fn refuse<E: serde::de::Error>(self, cause: InvalidJson) -> E {
        self.cause.set(cause);
        E::custom(cause)
    }

    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse(InvalidJson::TooDeep));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !(inner.allowed)(inner.depth, &name) {
                return Err(self.refuse(InvalidJson::ReservedKey));
            }
            if !seen.insert(name) {
                return Err(self.refuse(InvalidJson::DuplicateKey));
            }
            map.next_value_seed(inner)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn refuses_duplicates_at_every_level() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"[0,[{"é":1,"\u00e9":2}]]"#,
        ] {
            assert_eq!(check(text.as_bytes()), Err(InvalidJson::DuplicateKey), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_one_json_value() {
        for text in [
            "",
            " ",
            "{",
            "{}x",
            "{} {}",
            "1,2",
            "{'a':1}",
            "{a:1}",
            "[1,]",
            "01",
            "+1",
            "1e999",
            "NaN",
            "\"\u{1}\"",
            r#""\ud800""#,
            "// c\n1",
            "\u{feff}{}",
        ] {
            assert_eq!(check(text.as_bytes()), Err(InvalidJson::Syntax), "{text}");
        }
        assert_eq!(check(b"\"\xff\""), Err(InvalidJson::Syntax));
        assert_eq!(check(b"{\"\xc0\xaf\":1}"), Err(InvalidJson::Syntax));
    }

    #[test]
    fn refuses_deep_nesting_at_the_bound() {
        assert_eq!(check(nested(17).as_bytes()), Err(InvalidJson::TooDeep));
        assert_eq!(check("[".repeat(100_000).as_bytes()), Err(InvalidJson::TooDeep));
        assert_eq!(
            check(format!("{}1{}", r#"{"a":"#.repeat(17), "}".repeat(17)).as_bytes()),
            Err(InvalidJson::TooDeep)
        );
        assert_eq!(check(nested(16).as_bytes()), Ok(()));
    }

    #[test]
    fn another_shape_is_told_from_bad_syntax() {
        assert_eq!(from_slice::<[u8; 1]>(b"[1,2]"), Err(InvalidJson::Shape));
        assert_eq!(from_slice::<u8>(b"256"), Err(InvalidJson::Shape));
        assert_eq!(from_slice::<[u8; 2]>(b"[1,2]"), Ok([1, 2]));
    }

    #[test]
    fn same_names_in_different_objects_and_odd_numbers_pass() {
        for text in [
            r#"{"a":{"a":[{"a":null},{"a":true}]}}"#,
            "123.40",
            "-0",
            "123456789012345678901234567890",
            r#""\ud83d\ude00""#,
        ] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
    }
}
