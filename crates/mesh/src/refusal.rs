use std::sync::atomic::{AtomicU64, Ordering};

/// Why a peer's handshake was refused, or its connection cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum PeerRefusal {
    /// No certificate was shown.
    #[error("no certificate")]
    NoCertificate,
    /// It is no X.509 certificate, or one whose fields break RFC 5280.
    #[error("malformed certificate")]
    Malformed,
    /// Its validity has ended.
    #[error("expired")]
    Expired,
    /// Its validity has not begun.
    #[error("not yet valid")]
    NotYetValid,
    /// No certificate authority that is trusted here signed it.
    #[error("unknown issuer")]
    UnknownIssuer,
    /// Its issuer revoked it.
    #[error("revoked")]
    Revoked,
    /// The newest CRL of its issuer is past its next update.
    #[error("stale CRL")]
    StaleCrl,
    /// No CRL of its issuer is held.
    #[error("no CRL")]
    NoCrl,
    /// Its extended key usage does not allow this end of a connection.
    #[error("no clientAuth or serverAuth")]
    WrongUsage,
    /// No URI SAN names a participant or an auditor.
    #[error("no participant SAN")]
    NoParticipantName,
    /// More than one URI SAN of ours.
    #[error("several participant SANs")]
    SeveralNames,
    /// It names someone else than the participant that was called.
    #[error("another participant")]
    OtherParticipant,
    /// Its name is not in the directory.
    #[error("not in the directory")]
    NotInDirectory,
    /// Its name is in the directory, under another key.
    #[error("key not in the directory")]
    KeyNotInDirectory,
    /// The directory is expired or was never received.
    #[error("stale directory")]
    StaleDirectory,
    /// Another rule of certificate validation is broken, or a signature does not verify.
    #[error("invalid certificate")]
    Invalid,
    /// The handshake took longer than allowed.
    #[error("handshake timeout")]
    Timeout,
    /// The bytes are no TLS 1.3 handshake, or the peer went away.
    #[error("no TLS 1.3 handshake")]
    Protocol,
    /// The listener, or this peer, has as many connections as it may have.
    #[error("too many connections")]
    Busy,
}

impl PeerRefusal {
    /// Every refusal.
    pub const ALL: [Self; 19] = [
        Self::NoCertificate,
        Self::Malformed,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownIssuer,
        Self::Revoked,
        Self::StaleCrl,
        Self::NoCrl,
        Self::WrongUsage,
        Self::NoParticipantName,
        Self::SeveralNames,
        Self::OtherParticipant,
        Self::NotInDirectory,
        Self::KeyNotInDirectory,
        Self::StaleDirectory,
        Self::Invalid,
        Self::Timeout,
        Self::Protocol,
        Self::Busy,
    ];

    /// What the operator of the refused certificate should check.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NoCertificate => "configure a client certificate",
            Self::Malformed | Self::Invalid => "issue the certificate again with `unefois ca issue`",
            Self::Expired => "renew the certificate",
            Self::NotYetValid => "check the clocks of both machines and the start of validity",
            Self::UnknownIssuer => {
                "check that both sides hold the same certificate authority (`unefois cert show`)"
            }
            Self::Revoked => "the certificate was revoked: ask for a new one with a new key",
            Self::StaleCrl | Self::NoCrl => "publish a fresh CRL (`unefois ca crl`) and install it",
            Self::WrongUsage => "issue the certificate with a profile that allows this use",
            Self::NoParticipantName | Self::SeveralNames => {
                "the certificate must carry exactly one SAN urn:unefois:participant:<SIRET>"
            }
            Self::OtherParticipant => "check the address: another participant answers there",
            Self::NotInDirectory => "the participant is not in the directory: check the directory's version",
            Self::KeyNotInDirectory => "the key is not the one in the directory: publish the new key first",
            Self::StaleDirectory => "the directory has expired: publish a new version",
            Self::Timeout => "the network or the peer is too slow",
            Self::Protocol => "the other end does not speak TLS 1.3",
            Self::Busy => "too many connections: close some, or wait",
        }
    }
}

/// How many handshakes were refused and connections cut, by reason, since the process started.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; PeerRefusal::ALL.len()]);

impl Refusals {
    /// One more for `refusal`.
    pub fn count(&self, refusal: PeerRefusal) {
        self.0[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far for `refusal`.
    pub fn of(&self, refusal: PeerRefusal) -> u64 {
        self.0[refusal as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_own_counter() {
        let refusals = Refusals::default();
        for (n, refusal) in PeerRefusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, n, "{refusal}");
            refusals.count(refusal);
            assert_eq!(refusals.of(refusal), 1);
        }
    }
}
