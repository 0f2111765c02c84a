//! The scanner: RFC 8259, one pass, no number ever parsed.

use std::borrow::Cow;

use super::{MAX_DEPTH, Member, PayloadError, Shape, Value};

pub(super) fn scan(text: &str) -> Result<Value<'_>, PayloadError> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.space();
    let value = scanner.value(1)?;
    scanner.space();
    match scanner.peek() {
        None => Ok(value),
        Some(_) => Err(scanner.error()),
    }
}

/// The string that a JSON string token spells; `None` for another token.
pub(super) fn unquote(token: &str) -> Option<Cow<'_, str>> {
    let inner = token.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(token).ok().map(Cow::Owned)
}

struct Scanner<'a> {
    text: &'a str,
    /// The next byte; always at the boundary of a character when a token starts or ends.
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn error(&self) -> PayloadError {
        PayloadError::Syntax { offset: self.at }
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, bytes: &[u8]) -> Result<(), PayloadError> {
        bytes
            .iter()
            .all(|b| self.eat(*b))
            .then_some(())
            .ok_or_else(|| self.error())
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, PayloadError> {
        let start = self.at;
        let shape = match self.peek() {
            Some(b'{' | b'[') if depth > MAX_DEPTH => return Err(PayloadError::TooDeep { offset: start }),
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => self.string().map(|_| Shape::Scalar)?,
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| Shape::Scalar)?,
            Some(b't') => self.expect(b"true").map(|()| Shape::Scalar)?,
            Some(b'f') => self.expect(b"false").map(|()| Shape::Scalar)?,
            Some(b'n') => self.expect(b"null").map(|()| Shape::Null)?,
            Some(_) | None => return Err(self.error()),
        };
        Ok(Value {
            text: &self.text[start..self.at],
            shape,
        })
    }

    fn object(&mut self, depth: usize) -> Result<Shape<'a>, PayloadError> {
        let start = self.at;
        self.at += 1;
        let mut members = Vec::new();
        self.space();
        if self.eat(b'}') {
            return Ok(Shape::Object(members));
        }
        loop {
            self.space();
            let raw = self.string()?;
            let key = unquote(raw).ok_or_else(|| self.error())?;
            self.space();
            self.expect(b":")?;
            self.space();
            let value = self.value(depth + 1)?;
            members.push(Member { raw, key, value });
            self.space();
            if self.eat(b'}') {
                break;
            }
            self.expect(b",")?;
        }
        let mut keys: Vec<&str> = members.iter().map(|m| m.key.as_ref()).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(PayloadError::DuplicateKey { offset: start });
        }
        Ok(Shape::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Shape<'a>, PayloadError> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.eat(b']') {
            return Ok(Shape::Array(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            if self.eat(b']') {
                return Ok(Shape::Array(items));
            }
            self.expect(b",")?;
        }
    }

    /// One string token, with its quotation marks.
    fn string(&mut self) -> Result<&'a str, PayloadError> {
        let start = self.at;
        self.expect(b"\"")?;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at]);
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) | None => return Err(self.error()),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), PayloadError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                match self.hex4()? {
                    0xdc00..=0xdfff => Err(self.error()),
                    0xd800..=0xdbff => {
                        self.expect(b"\\u")?;
                        let low = self.hex4()?;
                        (0xdc00..=0xdfff)
                            .contains(&low)
                            .then_some(())
                            .ok_or_else(|| self.error())
                    }
                    _ => Ok(()),
                }
            }
            Some(_) | None => Err(self.error()),
        }
    }

    fn hex4(&mut self) -> Result<u32, PayloadError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self
                .peek()
                .and_then(|b| char::from(b).to_digit(16))
                .ok_or_else(|| self.error())?;
            unit = unit << 4 | digit;
            self.at += 1;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Result<(), PayloadError> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), PayloadError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > start).then_some(()).ok_or_else(|| self.error())
    }
}
