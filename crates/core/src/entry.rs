//! The ledger entry, version 1: the leaf that both ends' Merkle logs hold.
//!
//! Bytes: the version, `1`, then each field of [`Entry`] in the order of its declaration as one length byte and that
//! many bytes. Numbers are big-endian and of fixed width, words are their codes, identifiers their text (a
//! participant its SIRET); a field that does not apply has length 0. The encoding is canonical: what decodes encodes
//! to the same bytes, and nothing else decodes.

use crate::{
    Acr, Capacity, DatatypeRev, DemarcheId, Event, ExchangeId, HabilitationId, HolderId, LegalBasis, Micros,
    Outcome, ParticipantId, Reason, RevocationView, Sha256,
};

/// The largest encoding of an entry, in bytes. Every combination of fields stays below it.
pub const MAX_BYTES: usize = 1_023;

const VERSION: u8 = 1;

/// One entry of a ledger. It holds no raw identifier of a person and no unsalted hash of anything guessable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// The exchange's name at both ends; `None` for what is no exchange.
    pub exchange_id: Option<ExchangeId>,
    /// The attempt of that exchange, from 1; 0 for what is no exchange.
    pub attempt: u16,
    /// When, by the writer's clock; never decreasing in one log.
    pub at: Micros,
    /// Who asked.
    pub requester: Option<ParticipantId>,
    /// Who answers: the operator, the token's `aud`.
    pub provider: Option<ParticipantId>,
    /// Whose data it is.
    pub holder: Option<HolderId>,
    /// Who hosts the requester.
    pub publisher: Option<ParticipantId>,
    /// What was asked for.
    pub datatype: Option<DatatypeRev>,
    /// For which démarche.
    pub demarche: Option<DemarcheId>,
    /// By which right.
    pub habilitation: Option<HabilitationId>,
    /// On which legal ground.
    pub legal_basis: Option<LegalBasis>,
    /// In what capacity the person stands behind it.
    pub capacity: Option<Capacity>,
    /// How sure the person's identity was.
    pub acr: Option<Acr>,
    /// Bit n: the n-th grant unit of that revision.
    pub units: u64,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it was refused or put off.
    pub reason: Option<Reason>,
    /// The directory's version that the decision rested on; 0 where none did.
    pub directory_version: u64,
    /// The writer's view of the withdrawal log.
    pub view: RevocationView,
    /// Commitment to the handle.
    pub grant_commit: Option<Sha256>,
    /// Commitment to what was sent; the same value at both ends.
    pub content_commit: Option<Sha256>,
    /// Commitment to the dossier.
    pub dossier_commit: Option<Sha256>,
    /// Commitment to the officer, helper or operator who acted.
    pub actor_commit: Option<Sha256>,
    /// Hash of the canonical request.
    pub request_hash: Option<Sha256>,
    /// SHA-256 of the origin of the peer's log.
    pub peer_origin_hash: Option<Sha256>,
    /// Leaf hash of the peer's entry.
    pub peer_entry_hash: Option<Sha256>,
    /// Commitment to evidence kept beside the log.
    pub evidence_commit: Option<Sha256>,
}

/// Bytes that are not an entry of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntry {
    /// The first byte is another version.
    #[error("entry version {0} is unknown")]
    Version(u8),
    /// The bytes end inside a field.
    #[error("the entry is cut short at field {0}")]
    Truncated(&'static str),
    /// A field's bytes are not a value of it.
    #[error("field {0} of the entry is invalid")]
    Field(&'static str),
    /// Bytes follow the last field, or there are too many.
    #[error("the entry has {0} bytes too many")]
    TooLong(usize),
}

impl Entry {
    /// An entry of `event` at `at` in which nothing else applies.
    pub const fn new(event: Event, at: Micros) -> Self {
        Self {
            event,
            exchange_id: None,
            attempt: 0,
            at,
            requester: None,
            provider: None,
            holder: None,
            publisher: None,
            datatype: None,
            demarche: None,
            habilitation: None,
            legal_basis: None,
            capacity: None,
            acr: None,
            units: 0,
            outcome: None,
            reason: None,
            directory_version: 0,
            view: RevocationView::NONE,
            grant_commit: None,
            content_commit: None,
            dossier_commit: None,
            actor_commit: None,
            request_hash: None,
            peer_origin_hash: None,
            peer_entry_hash: None,
            evidence_commit: None,
        }
    }

    /// The canonical bytes: the leaf.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.push(VERSION);
        let mut put = |bytes: &[u8]| {
            // Every identifier is bounded far below 256 bytes by its own type.
            out.push(u8::try_from(bytes.len()).expect("identifiers are shorter than 256 bytes"));
            out.extend_from_slice(bytes);
        };
        put(&[self.event.code()]);
        put(self.exchange_id.as_ref().map_or(&[], |id| id.as_bytes()));
        put(&self.attempt.to_be_bytes());
        put(&self.at.get().to_be_bytes());
        for participant in [&self.requester, &self.provider] {
            put(participant
                .as_ref()
                .map(ParticipantId::siret)
                .as_ref()
                .map_or("", |s| s.as_str())
                .as_bytes());
        }
        put(self.holder.as_ref().map_or("", HolderId::as_str).as_bytes());
        put(self
            .publisher
            .as_ref()
            .map(ParticipantId::siret)
            .as_ref()
            .map_or("", |s| s.as_str())
            .as_bytes());
        put(text(&self.datatype).as_bytes());
        put(text(&self.demarche).as_bytes());
        put(text(&self.habilitation).as_bytes());
        put(text(&self.legal_basis).as_bytes());
        put(self.capacity.map(|w| [w.code()]).as_ref().map_or(&[], |c| c));
        put(self.acr.map(|w| [w.code()]).as_ref().map_or(&[], |c| c));
        put(&self.units.to_be_bytes());
        put(self.outcome.map(|w| [w.code()]).as_ref().map_or(&[], |c| c));
        put(self.reason.map(|w| [w.code()]).as_ref().map_or(&[], |c| c));
        put(&self.directory_version.to_be_bytes());
        put(&self.view.epoch.to_be_bytes());
        put(&self.view.seq.to_be_bytes());
        for digest in [
            &self.grant_commit,
            &self.content_commit,
            &self.dossier_commit,
            &self.actor_commit,
            &self.request_hash,
            &self.peer_origin_hash,
            &self.peer_entry_hash,
            &self.evidence_commit,
        ] {
            put(digest.as_ref().map_or(&[], |d| d.as_bytes()));
        }
        out
    }

    /// The entry that `bytes` encode.
    ///
    /// # Errors
    /// [`InvalidEntry`] names the field; nothing but the canonical encoding is accepted.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidEntry> {
        let mut fields = Fields::of(bytes)?;
        let entry = Self {
            event: fields
                .word("event", Event::from_code)?
                .ok_or(InvalidEntry::Field("event"))?,
            exchange_id: fields.exchange_id()?,
            attempt: u16::from_be_bytes(fields.number("attempt")?),
            at: Micros::new(i64::from_be_bytes(fields.number("at")?)),
            requester: fields.participant("requester")?,
            provider: fields.participant("provider")?,
            holder: fields.text("holder")?,
            publisher: fields.participant("publisher")?,
            datatype: fields.text("datatype")?,
            demarche: fields.text("demarche")?,
            habilitation: fields.text("habilitation")?,
            legal_basis: fields.text("legal_basis")?,
            capacity: fields.word("capacity", Capacity::from_code)?,
            acr: fields.word("acr", Acr::from_code)?,
            units: u64::from_be_bytes(fields.number("units")?),
            outcome: fields.word("outcome", Outcome::from_code)?,
            reason: fields.word("reason", Reason::from_code)?,
            directory_version: u64::from_be_bytes(fields.number("directory_version")?),
            view: RevocationView {
                epoch: u64::from_be_bytes(fields.number("view.epoch")?),
                seq: u64::from_be_bytes(fields.number("view.seq")?),
            },
            grant_commit: fields.digest("grant_commit")?,
            content_commit: fields.digest("content_commit")?,
            dossier_commit: fields.digest("dossier_commit")?,
            actor_commit: fields.digest("actor_commit")?,
            request_hash: fields.digest("request_hash")?,
            peer_origin_hash: fields.digest("peer_origin_hash")?,
            peer_entry_hash: fields.digest("peer_entry_hash")?,
            evidence_commit: fields.digest("evidence_commit")?,
        };
        match fields.rest.len() {
            0 => Ok(entry),
            extra => Err(InvalidEntry::TooLong(extra)),
        }
    }
}

/// What an entry says in fields of fixed width: all but its names and its digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// What happened.
    pub event: Event,
    /// The exchange.
    pub exchange_id: Option<ExchangeId>,
    /// When.
    pub at: Micros,
    /// In what capacity the person stands behind it.
    pub capacity: Option<Capacity>,
    /// How sure the person's identity was.
    pub acr: Option<Acr>,
    /// Bit n: the n-th grant unit.
    pub units: u64,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it was refused or put off.
    pub reason: Option<Reason>,
    /// The writer's view of the withdrawal log.
    pub view: RevocationView,
}

impl Outline {
    /// Reads the outline of an entry, and the bytes of its names (requester to legal basis) as they stand.
    ///
    /// For who reads many entries with the same names: bytes whose outline reads are an entry exactly if an entry with
    /// these names' bytes decodes.
    ///
    /// # Errors
    /// [`InvalidEntry`], as [`Entry::decode`] gives it for all but the names.
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8]), InvalidEntry> {
        const NAMES: [&str; 8] = [
            "requester",
            "provider",
            "holder",
            "publisher",
            "datatype",
            "demarche",
            "habilitation",
            "legal_basis",
        ];
        const DIGESTS: [&str; 8] = [
            "grant_commit",
            "content_commit",
            "dossier_commit",
            "actor_commit",
            "request_hash",
            "peer_origin_hash",
            "peer_entry_hash",
            "evidence_commit",
        ];
        let mut fields = Fields::of(bytes)?;
        let event = fields
            .word("event", Event::from_code)?
            .ok_or(InvalidEntry::Field("event"))?;
        let exchange_id = fields.exchange_id()?;
        fields.number::<2>("attempt")?;
        let at = Micros::new(i64::from_be_bytes(fields.number("at")?));
        let start = fields.rest;
        for name in NAMES {
            fields.next(name)?;
        }
        let names = &start[..start.len() - fields.rest.len()];
        let capacity = fields.word("capacity", Capacity::from_code)?;
        let acr = fields.word("acr", Acr::from_code)?;
        let units = u64::from_be_bytes(fields.number("units")?);
        let outcome = fields.word("outcome", Outcome::from_code)?;
        let reason = fields.word("reason", Reason::from_code)?;
        fields.number::<8>("directory_version")?;
        let view = RevocationView {
            epoch: u64::from_be_bytes(fields.number("view.epoch")?),
            seq: u64::from_be_bytes(fields.number("view.seq")?),
        };
        for name in DIGESTS {
            fields.digest(name)?;
        }
        let outline = Self {
            event,
            exchange_id,
            at,
            capacity,
            acr,
            units,
            outcome,
            reason,
            view,
        };
        match fields.rest.len() {
            0 => Ok((outline, names)),
            extra => Err(InvalidEntry::TooLong(extra)),
        }
    }
}

impl From<&Entry> for Outline {
    fn from(entry: &Entry) -> Self {
        Self {
            event: entry.event,
            exchange_id: entry.exchange_id,
            at: entry.at,
            capacity: entry.capacity,
            acr: entry.acr,
            units: entry.units,
            outcome: entry.outcome,
            reason: entry.reason,
            view: entry.view,
        }
    }
}

fn text<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map(T::to_string).unwrap_or_default()
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// What follows the version.
    fn of(bytes: &'a [u8]) -> Result<Self, InvalidEntry> {
        if bytes.len() > MAX_BYTES {
            return Err(InvalidEntry::TooLong(bytes.len() - MAX_BYTES));
        }
        let (version, rest) = bytes.split_first().ok_or(InvalidEntry::Truncated("version"))?;
        match *version {
            VERSION => Ok(Self { rest }),
            version => Err(InvalidEntry::Version(version)),
        }
    }

    fn next(&mut self, name: &'static str) -> Result<&'a [u8], InvalidEntry> {
        let (len, rest) = self.rest.split_first().ok_or(InvalidEntry::Truncated(name))?;
        let (field, rest) = rest
            .split_at_checked(usize::from(*len))
            .ok_or(InvalidEntry::Truncated(name))?;
        self.rest = rest;
        Ok(field)
    }

    fn number<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], InvalidEntry> {
        self.next(name)?.try_into().map_err(|_| InvalidEntry::Field(name))
    }

    fn word<T>(&mut self, name: &'static str, from: fn(u8) -> Option<T>) -> Result<Option<T>, InvalidEntry> {
        match self.next(name)? {
            [] => Ok(None),
            [code] => from(*code).map(Some).ok_or(InvalidEntry::Field(name)),
            _ => Err(InvalidEntry::Field(name)),
        }
    }

    /// A text that its type writes exactly as it was read, so that no second spelling decodes.
    fn text<T: std::str::FromStr + ToString>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, InvalidEntry> {
        match self.next(name)? {
            [] => Ok(None),
            bytes => {
                let text = std::str::from_utf8(bytes).map_err(|_| InvalidEntry::Field(name))?;
                let value: T = text.parse().map_err(|_| InvalidEntry::Field(name))?;
                (value.to_string() == text)
                    .then_some(Some(value))
                    .ok_or(InvalidEntry::Field(name))
            }
        }
    }

    fn participant(&mut self, name: &'static str) -> Result<Option<ParticipantId>, InvalidEntry> {
        Ok(self.text(name)?.map(ParticipantId::new))
    }

    fn exchange_id(&mut self) -> Result<Option<ExchangeId>, InvalidEntry> {
        const NAME: &str = "exchange_id";
        match self.next(NAME)? {
            [] => Ok(None),
            bytes => {
                let uuid = uuid::Uuid::from_slice(bytes).map_err(|_| InvalidEntry::Field(NAME))?;
                ExchangeId::try_from(uuid)
                    .map(Some)
                    .map_err(|_| InvalidEntry::Field(NAME))
            }
        }
    }

    fn digest(&mut self, name: &'static str) -> Result<Option<Sha256>, InvalidEntry> {
        match self.next(name)? {
            [] => Ok(None),
            bytes => {
                let digest = bytes.try_into().map_err(|_| InvalidEntry::Field(name))?;
                Ok(Some(Sha256::from_bytes(digest)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Entry {
        let digest = |n| Some(Sha256::of(&[n]));
        Entry {
            exchange_id: Some("0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap()),
            attempt: 2,
            requester: Some("urn:unefois:participant:21920023500014".parse().unwrap()),
            provider: Some("urn:unefois:participant:18003506500010".parse().unwrap()),
            holder: Some("msa".parse().unwrap()),
            publisher: Some("urn:unefois:participant:13000495500014".parse().unwrap()),
            datatype: Some("cnaf/quotient-familial@1".parse().unwrap()),
            demarche: Some("cantine".parse().unwrap()),
            habilitation: Some("DP-2026.17_a".parse().unwrap()),
            legal_basis: Some(LegalBasis::Request),
            capacity: Some(Capacity::SelfPerson),
            acr: Some(Acr::Eidas1),
            units: 0b101,
            outcome: Some(Outcome::Later),
            reason: Some(Reason::SourceTimeout),
            directory_version: 7,
            view: RevocationView { epoch: 3, seq: 9 },
            grant_commit: digest(1),
            content_commit: digest(2),
            dossier_commit: digest(3),
            actor_commit: digest(4),
            request_hash: digest(5),
            peer_origin_hash: digest(6),
            peer_entry_hash: digest(7),
            evidence_commit: digest(8),
            ..Entry::new(Event::Refused, Micros::new(1_795_512_305_000_001))
        }
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_refused() {
        let bytes = full().encode();
        for end in 0..bytes.len() {
            assert!(Entry::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(Entry::decode(&longer), Err(InvalidEntry::TooLong(1)));
        assert_eq!(Entry::decode(&[2]), Err(InvalidEntry::Version(2)));
        assert!(Entry::decode(&[1; MAX_BYTES + 1]).is_err());
    }

    #[test]
    fn what_decodes_is_canonical_whatever_byte_is_changed() {
        let bytes = full().encode();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                if let Ok(entry) = Entry::decode(&changed) {
                    assert_eq!(entry.encode(), changed, "byte {at}");
                }
            }
        }
    }

    /// Whatever is changed: an outline reads, over names that decode, exactly where the whole entry does.
    #[test]
    fn an_outline_reads_exactly_what_decodes_but_for_the_names() {
        let bytes = full().encode();
        let (outline, names) = Outline::read(&bytes).unwrap();
        assert_eq!(outline, Outline::from(&full()));
        let start = bytes.windows(names.len()).position(|part| part == names).unwrap();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x02, 0x20, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                let whole = Entry::decode(&changed);
                match Outline::read(&changed) {
                    Ok((outline, read)) if read == names => {
                        assert_eq!(outline, Outline::from(&whole.unwrap()), "byte {at}");
                    }
                    Ok(_) => assert!((start..start + names.len()).contains(&at), "byte {at}"),
                    Err(_) => assert!(whole.is_err(), "byte {at}"),
                }
            }
        }
        for end in 0..bytes.len() {
            assert!(Outline::read(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn round_trips_full_and_empty_and_stays_small() {
        let bare = Entry::new(Event::Lapsed, Micros::new(-1));
        assert_eq!(Entry::decode(&bare.encode()), Ok(bare.clone()));
        assert_eq!(Entry::decode(&full().encode()), Ok(full()));
        assert!(full().encode().len() < 560, "{}", full().encode().len());
    }
}
