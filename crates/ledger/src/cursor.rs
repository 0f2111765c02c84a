//! What a reader comes back with for the next page: the query itself, under the node's own authentication code, so that
//! nobody turns the record of one query into another.

use std::ops::Range;

use unefois_core::commitment::NodeKey;
use unefois_core::{EntryFilter, Micros, Sha256};

/// How long the pages of one query may be asked for. They are of one size, so that a late one tells nothing new.
const KEPT_MS: i64 = 24 * 3_600_000;
const MAC_BYTES: usize = 32;
const VERSION: &str = "unefois/cursor/v1";

/// Where a query stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The reader's key: nobody else goes on with the query.
    pub(crate) reader: Sha256,
    /// When the query was recorded.
    pub(crate) since: Micros,
    pub(crate) origin: String,
    /// The size of the log that every page is of.
    pub(crate) size: u64,
    pub(crate) way: Way,
    /// The places still to be looked at.
    pub(crate) rest: Range<u64>,
    /// The places looked at.
    pub(crate) looked: Range<u64>,
    pub(crate) filter: EntryFilter,
}

/// How a query reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    OldestFirst,
    NewestFirst,
    /// Every entry, wherever the reader asks to go on.
    InOrder,
}

impl Way {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::OldestFirst => "oldest_first",
            Self::NewestFirst => "newest_first",
            Self::InOrder => "in_order",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::OldestFirst, Self::NewestFirst, Self::InOrder];
        all.into_iter().find(|way| way.as_str() == text)
    }
}

impl Cursor {
    pub(crate) fn seal(&self, key: &NodeKey) -> Vec<u8> {
        let text = format!(
            "{VERSION}\n{}\n{}\n{}\n{}\n{}\n{} {}\n{} {}\n{}",
            self.reader,
            self.since.get(),
            self.origin,
            self.size,
            self.way.as_str(),
            self.rest.start,
            self.rest.end,
            self.looked.start,
            self.looked.end,
            self.filter
        );
        let mut sealed = key.cursor_mac(text.as_bytes()).to_vec();
        sealed.extend_from_slice(text.as_bytes());
        sealed
    }

    /// The cursor that this node gave `reader` within a day; `None` for anything else.
    pub(crate) fn open(sealed: &[u8], key: &NodeKey, reader: &Sha256, now: Micros) -> Option<Self> {
        let (mac, text) = sealed.split_at_checked(MAC_BYTES)?;
        if !key.cursor_is_ours(text, mac) {
            return None;
        }
        let cursor = Self::parse(std::str::from_utf8(text).ok()?)?;
        let fresh = now < cursor.since.plus_ms(KEPT_MS);
        (fresh && cursor.reader == *reader).then_some(cursor)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        if lines.next()? != VERSION {
            return None;
        }
        let range = |line: &str| {
            let (start, end) = line.split_once(' ')?;
            Some(start.parse().ok()?..end.parse().ok()?)
        };
        Some(Self {
            reader: lines.next()?.parse().ok()?,
            since: Micros::new(lines.next()?.parse().ok()?),
            origin: lines.next()?.to_owned(),
            size: lines.next()?.parse().ok()?,
            way: Way::parse(lines.next()?)?,
            rest: range(lines.next()?)?,
            looked: range(lines.next()?)?,
            filter: lines.next()?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_serves_its_reader_for_a_day_and_no_other_query() {
        let key = NodeKey::new(&[1; 32]);
        let since = Micros::from_secs(1_000_000);
        let cursor = Cursor {
            reader: Sha256::of(b"key"),
            since,
            origin: "urn:unefois:participant:18003506500010/1".to_owned(),
            size: 40,
            way: Way::NewestFirst,
            rest: 0..20,
            looked: 20..40,
            filter: "first=0 end=40".parse().unwrap(),
        };
        let sealed = cursor.seal(&key);
        let open = |sealed: &[u8], reader: &[u8], ms| {
            Cursor::open(sealed, &key, &Sha256::of(reader), since.plus_ms(ms))
        };
        assert_eq!(open(&sealed, b"key", KEPT_MS - 1), Some(cursor));
        assert_eq!(open(&sealed, b"key", KEPT_MS), None);
        assert_eq!(open(&sealed, b"another key", 0), None);
        assert_eq!(open(b"", b"key", 0), None);
        for place in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[place] ^= 1;
            assert_eq!(open(&forged, b"key", 0), None, "{place}");
        }
        let other = NodeKey::new(&[2; 32]);
        assert_eq!(Cursor::open(&sealed, &other, &Sha256::of(b"key"), since), None);
    }
}
