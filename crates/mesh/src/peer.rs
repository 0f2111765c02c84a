use std::fmt;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::request::Parts;
use tonic::Status;
use unefois_core::{Micros, ParticipantId, Reason, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::refusal::PeerRefusal;
use crate::status;

/// The start of every name that certificates of the mesh give in a URI SAN.
const URN: &str = "urn:unefois:";

/// Whom a certificate of the mesh names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerId {
    /// A participating body, `urn:unefois:participant:<SIRET>`.
    Participant(ParticipantId),
    /// A reader of ledgers, `urn:unefois:auditor:<name>`: the name is 1 to 64 of `a-z 0-9 -`.
    Auditor(String),
}

/// The text names neither a participant nor an auditor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer is urn:unefois:participant: and a SIRET, or urn:unefois:auditor: and a name")]
pub struct InvalidPeerId;

impl PeerId {
    const AUDITOR: &'static str = "urn:unefois:auditor:";

    /// The participant, where it is one.
    pub const fn participant(&self) -> Option<ParticipantId> {
        match self {
            Self::Participant(id) => Some(*id),
            Self::Auditor(_) => None,
        }
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Participant(id) => id.fmt(f),
            Self::Auditor(name) => write!(f, "{}{name}", Self::AUDITOR),
        }
    }
}

impl FromStr for PeerId {
    type Err = InvalidPeerId;

    fn from_str(s: &str) -> Result<Self, InvalidPeerId> {
        let Some(name) = s.strip_prefix(Self::AUDITOR) else {
            return s.parse().map(Self::Participant).map_err(|_| InvalidPeerId);
        };
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let valid = (1..=64).contains(&name.len()) && name.bytes().all(plain);
        valid.then(|| Self::Auditor(name.to_owned())).ok_or(InvalidPeerId)
    }
}

/// The serial number of a certificate, as its issuer wrote it: up to 20 bytes, shown in hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Box<[u8]>);

impl Serial {
    /// The serial number that these bytes are; leading zeroes do not count.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
        Self(bytes[start..].into())
    }

    /// The bytes, without leading zeroes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// The text is not a serial number in lower-case hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a serial number is 1 to 20 bytes in lower-case hexadecimal")]
pub struct InvalidSerial;

impl FromStr for Serial {
    type Err = InvalidSerial;

    fn from_str(s: &str) -> Result<Self, InvalidSerial> {
        let digits = s.as_bytes();
        let valid = digits.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        if !valid || digits.is_empty() || digits.len() > 40 || !digits.len().is_multiple_of(2) {
            return Err(InvalidSerial);
        }
        let value = |c: u8| {
            if c.is_ascii_digit() {
                c - b'0'
            } else {
                c - b'a' + 10
            }
        };
        let bytes: Vec<u8> = digits
            .chunks_exact(2)
            .map(|pair| value(pair[0]) << 4 | value(pair[1]))
            .collect();
        Ok(Self::from_bytes(&bytes))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who is at the other end of a connection, read once from its certificate.
///
/// In requests it is there only behind a listener that verified the chain and the CRL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The name in the certificate's one URI SAN of ours.
    pub id: PeerId,
    /// The certificate's serial number.
    pub serial: Serial,
    /// SHA-256 of the SubjectPublicKeyInfo: the key, whichever certificate carries it. The directory lists it.
    pub spki_sha256: Sha256,
    /// SHA-256 of the certificate's DER: what a bound token names (RFC 8705, 3.1).
    pub cert_sha256: Sha256,
    /// End of the certificate's validity.
    pub not_after: Micros,
}

impl Peer {
    /// The peer that this certificate (DER) names. It verifies nothing: that is [`Trust`](crate::Trust)'s part.
    ///
    /// # Errors
    /// The certificate does not parse, or does not hold exactly one URI SAN that starts with `urn:unefois:` and
    /// names a participant or an auditor.
    pub fn from_der(der: &[u8]) -> Result<Self, PeerRefusal> {
        let (rest, cert) = X509Certificate::from_der(der).map_err(|_| PeerRefusal::Malformed)?;
        if !rest.is_empty() {
            return Err(PeerRefusal::Malformed);
        }
        let sans = cert
            .subject_alternative_name()
            .map_err(|_| PeerRefusal::Malformed)?;
        let names = sans.map_or(&[][..], |san| &san.value.general_names);
        let mut ours = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with(URN) => Some(*uri),
            _ => None,
        });
        let (first, second) = (ours.next(), ours.next());
        if second.is_some() {
            return Err(PeerRefusal::SeveralNames);
        }
        let id = first
            .and_then(|uri| uri.parse().ok())
            .ok_or(PeerRefusal::NoParticipantName)?;

        Ok(Self {
            id,
            serial: Serial::from_bytes(cert.raw_serial()),
            spki_sha256: Sha256::of(cert.public_key().raw),
            cert_sha256: Sha256::of(der),
            not_after: Micros::from_secs(cert.validity().not_after.timestamp()),
        })
    }

    /// The peer of a gRPC call.
    ///
    /// # Errors
    /// NOT_ENTITLED where the call did not come over mutual TLS.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self, Status> {
        let peer = request.extensions().get::<Self>().cloned();
        peer.ok_or_else(|| status::refused(Reason::NotEntitled, "this service wants a client certificate"))
    }

    /// The confirmation value `x5t#S256` of its certificate (RFC 8705, 3.1): base64url of [`Self::cert_sha256`].
    pub fn x5t_s256(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.cert_sha256.as_bytes())
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(StatusCode::UNAUTHORIZED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_one_spelling() {
        for text in [
            "",
            "urn:unefois:auditor:",
            "urn:unefois:auditor:A",
            "urn:unefois:auditor:a/b",
            "URN:unefois:auditor:a",
            "urn:unefois:participant:13000495500015",
            "urn:unefois:other:a",
        ] {
            assert_eq!(text.parse::<PeerId>(), Err(InvalidPeerId), "{text}");
        }
        for text in [
            "urn:unefois:auditor:cnil-1",
            "urn:unefois:participant:13000495500014",
        ] {
            assert_eq!(text.parse::<PeerId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_serial_number_counts_no_leading_zero() {
        assert_eq!(Serial::from_bytes(&[0, 0x80, 1]), Serial::from_bytes(&[0x80, 1]));
        assert_eq!(Serial::from_bytes(&[0, 0]).as_bytes(), b"");
        for text in ["", "0", "AB", "gg", "é", &"00".repeat(21)] {
            assert_eq!(text.parse::<Serial>(), Err(InvalidSerial), "{text}");
        }
        assert_eq!("008001".parse(), Ok(Serial::from_bytes(&[0x80, 1])));
    }

    #[test]
    fn bytes_that_are_no_certificate_are_malformed() {
        for der in [&b""[..], b"0", &[0x30, 0x82, 0xff, 0xff], &[0; 64]] {
            assert_eq!(Peer::from_der(der), Err(PeerRefusal::Malformed));
        }
    }

    #[test]
    fn a_call_without_peer_is_refused() {
        let refusal = Peer::of(&tonic::Request::new(())).expect_err("no certificate");
        assert_eq!(status::reason_of(&refusal), Some(Reason::NotEntitled));
    }
}
