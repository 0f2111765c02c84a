use std::fmt;

use uuid::Uuid;

use crate::{ExchangeId, Micros};

/// Where random bytes come from: the system's generator in service, a seeded one in simulations.
///
/// `fill` is total: an implementation that cannot draw stops the process.
pub trait Random: Send + Sync + fmt::Debug {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Random + '_ {
    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A fresh UUID version 7 (RFC 9562, 5.7) for `now`.
    pub fn exchange_id(&self, now: Micros) -> ExchangeId {
        let ms = u64::try_from(now.get() / 1_000).unwrap_or(0);
        ExchangeId::from_v7(uuid::Builder::from_unix_timestamp_millis(ms, &self.bytes()).into_uuid())
    }

    /// A fresh UUID version 4, for what must tell nothing of its birth.
    pub fn uuid_v4(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid()
    }
}
