use std::collections::BTreeMap;

use crate::Error;

/// Largest form that is read.
pub(crate) const MAX_BYTES: usize = 64 * 1024;
/// Most parameters that a form may hold.
const MAX_FIELDS: usize = 64;

/// The parameters of a form or of a query, each once.
///
/// RFC 6749, 3.1: a parameter may not be repeated, and one without value counts as absent; what is not asked for is
/// ignored.
#[derive(Default)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads `application/x-www-form-urlencoded` text.
    ///
    /// # Errors
    /// Too large, too many parameters, one repeated, or not UTF-8.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.len() > MAX_BYTES {
            return Err(Error::TooLarge);
        }
        let mut fields = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text) {
            // The decoder puts this character where the bytes are no UTF-8.
            if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
                return Err(Error::request("the parameters are not UTF-8"));
            }
            if fields.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Error::request("a parameter is repeated"));
            }
            if fields.len() > MAX_FIELDS {
                return Err(Error::TooLarge);
            }
        }
        fields.retain(|_, value| !value.is_empty());
        Ok(Self(fields))
    }

    /// Reads a query.
    pub(crate) fn query(text: Option<&str>) -> Result<Self, Error> {
        Self::parse(text.unwrap_or_default().as_bytes())
    }

    /// Takes a parameter out; `None` where it is absent or empty.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Takes a parameter out that must be there, of at most `max` bytes.
    pub(crate) fn required(&mut self, name: &'static str, max: usize) -> Result<String, Error> {
        let value = self
            .take(name)
            .ok_or_else(|| Error::request(format!("{name} is missing")))?;
        if value.len() > max {
            return Err(Error::request(format!("{name} is too long")));
        }
        Ok(value)
    }

    /// A parameter's value; empty where it is absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whether a parameter is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Refuses what has not been taken.
    pub(crate) fn nothing_else(self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Error::request("a parameter is not allowed here"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_repetition_bad_text_and_size() {
        assert!(Form::parse(b"a=1&b=2&a=1").is_err());
        assert!(Form::parse(b"a=%ff").is_err());
        assert!(Form::parse(&vec![b'a'; MAX_BYTES + 1]).is_err());
        let many: String = (0..=MAX_FIELDS).map(|n| format!("p{n}=1&")).collect();
        assert!(Form::parse(many.as_bytes()).is_err());
    }

    #[test]
    fn an_empty_parameter_is_absent_and_a_long_one_refused() {
        let mut form = Form::parse(b"a=&b=12345&c=x").unwrap();
        assert!(form.required("a", 9).is_err());
        assert!(form.required("b", 4).is_err());
        assert_eq!(form.required("c", 1).unwrap(), "x");
        assert!(form.nothing_else().is_ok());
    }
}
