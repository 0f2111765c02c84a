//! Entries, requests and drafts like those of a producer: a few hundred counterparties, a few dozen datatypes and
//! démarches, one person an answer.

use std::sync::Mutex;

use unefois_core::commitment::{Field, GrantSecret};
use unefois_core::{
    Acr, Capacity, Entry, Event, ExchangeId, Handle, LegalBasis, Micros, Outcome, ParticipantId, Random,
    Sha256,
};
use unefois_ledger::{About, ClaimMode, ClaimRequest, Draft};
use unefois_store::index::SecretRow;

/// How many administrations ask.
pub(crate) const PEERS: u64 = 300;
const KINDS: u64 = 24;

/// Fast draws for bulk loads, the same in each run (xorshift64*): nothing here is a secret.
#[derive(Debug)]
pub(crate) struct Draws(Mutex<u64>);

impl Draws {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed | 1))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

impl Random for Draws {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.next().to_be_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

/// One exchange as the producer logs it, with what stands beside its entry.
pub(crate) struct Exchange {
    pub(crate) entry: Entry,
    pub(crate) handle: Handle,
    pub(crate) secret: GrantSecret,
    pub(crate) person: Vec<u8>,
    pub(crate) at: Micros,
}

/// What the exchanges are made of.
pub(crate) struct Sample {
    pub(crate) owner: ParticipantId,
    pub(crate) peers: Vec<ParticipantId>,
    draws: Draws,
}

impl Sample {
    pub(crate) fn new() -> Self {
        Self {
            owner: participant(0),
            peers: (1..=PEERS).map(participant).collect(),
            draws: Draws::new(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// The exchange number `n`, at `at`.
    pub(crate) fn exchange(&self, n: u64, at: Micros) -> Exchange {
        let random: &dyn Random = &self.draws;
        let kind = n % KINDS;
        let handle = Handle::draw(at, random);
        let exchange_id = random.exchange_id(at);
        let secret = GrantSecret::draw(random);
        let digest = || Some(Sha256::from_bytes(random.bytes()));
        let place = usize::try_from(self.draws.next() % PEERS).unwrap_or_default();
        let entry = Entry {
            exchange_id: Some(exchange_id),
            attempt: 1,
            requester: self.peers.get(place).copied(),
            provider: Some(self.owner),
            holder: named("cnaf"),
            datatype: named(&format!("cnaf/quotient-familial-{}@{}", kind / 2, 1 + kind % 2)),
            demarche: named(&format!("restauration-scolaire-{kind}")),
            habilitation: named(&format!("DP-2026.{}", 100 + kind)),
            legal_basis: Some(LegalBasis::Request),
            capacity: Some(Capacity::SelfPerson),
            acr: Some(Acr::Eidas1),
            units: 0b1011,
            outcome: Some(Outcome::Answered),
            directory_version: 17,
            grant_commit: digest(),
            content_commit: digest(),
            dossier_commit: digest(),
            request_hash: digest(),
            ..Entry::new(Event::Released, at)
        };
        Exchange {
            entry,
            handle,
            secret,
            person: (self.draws.next() % 10_000_000).to_be_bytes().to_vec(),
            at,
        }
    }

    /// One entry of each kind and counterparty: every name there is.
    pub(crate) fn every_name(&self) -> Vec<Entry> {
        let of = |n: u64| {
            let requester = usize::try_from(n).ok().and_then(|n| self.peers.get(n)).copied();
            Entry {
                requester,
                ..self.exchange(n, Micros::new(0)).entry
            }
        };
        (0..PEERS).map(of).collect()
    }
}

impl Exchange {
    pub(crate) fn request(&self) -> Option<ClaimRequest> {
        Some(ClaimRequest {
            handle: self.handle,
            mode: ClaimMode::Once,
            client: self.entry.requester?,
            request_id: self.exchange_id()?,
            request_hash: self.entry.request_hash?,
        })
    }

    fn exchange_id(&self) -> Option<ExchangeId> {
        self.entry.exchange_id
    }

    pub(crate) fn secret_row(&self, mac: [u8; 32]) -> SecretRow {
        SecretRow {
            month: self.at.month(),
            unit: self.handle.unit(),
            mac,
            secret: self.secret.clone(),
        }
    }

    /// The draft of its release, committed as a producer commits.
    pub(crate) fn draft(self) -> Draft {
        let mut entry = self.entry;
        if let Some(id) = &entry.exchange_id {
            entry.grant_commit = Some(self.secret.commit(id, Field::Grant, self.handle.as_bytes()));
        }
        Draft::new(entry).about(About {
            handle: Some(self.handle),
            secret: Some((self.at.month(), self.secret)),
            persons: vec![self.person],
            ..About::default()
        })
    }
}

fn named<T: std::str::FromStr>(name: &str) -> Option<T> {
    name.parse().ok()
}

/// The n-th made-up participant: a number with the check digits that a SIRET has.
///
/// # Panics
/// Never: its check digits are computed.
pub fn participant(n: u64) -> ParticipantId {
    let siren = checked(&format!("{:08}", 90_000_000 + n));
    let siret = checked(&format!("{siren}0001"));
    format!("urn:unefois:participant:{siret}")
        .parse()
        .expect("its check digits are computed")
}

/// `digits` and the digit that makes them pass Luhn's check.
fn checked(digits: &str) -> String {
    let sum: u32 = digits
        .bytes()
        .rev()
        .zip([2, 1].into_iter().cycle())
        .map(|(digit, factor)| u32::from(digit - b'0') * factor)
        .map(|n| n / 10 + n % 10)
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_has_every_name_it_should() {
        let sample = Sample::new();
        let entry = sample.exchange(7, Micros::from_secs(1_795_512_305)).entry;
        assert!(entry.requester.is_some() && entry.datatype.is_some() && entry.habilitation.is_some());
        assert_eq!(sample.every_name().len(), 300);
        assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
    }
}
