//! The certificate authority of a mesh: it issues, revokes and signs CRLs.
//!
//! [`Ca`] is in memory and pure, with instants and serial numbers' randomness as arguments; [`folder`] keeps one on
//! disk; [`show`] tells what a certificate holds. What a certificate may be used for comes from
//! `certs/profiles.toml` alone.

pub mod folder;
pub mod profile;
pub mod show;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SanType,
    SerialNumber,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use unefois_core::{Micros, Random};
use unefois_mesh::{PeerId, Serial};

pub use folder::CaFolder;
pub use profile::Profile;
pub use show::{CertificateFacts, facts};

/// Why the certificate authority does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The profile names somebody else than the one given, or nobody.
    #[error("a {profile} certificate names {wanted}")]
    WrongIdentity {
        /// The profile asked for.
        profile: Profile,
        /// What its `identity` is.
        wanted: &'static str,
    },
    /// The profile wants DNS names or IP addresses and there are none, or the reverse.
    #[error("a {profile} certificate {rule} DNS names or IP addresses")]
    WrongNames {
        /// The profile asked for.
        profile: Profile,
        /// `"needs"` or `"holds no"`.
        rule: &'static str,
    },
    /// Neither a DNS name nor an IP address.
    #[error("`{0}` is neither a DNS name nor an IP address")]
    InvalidName(String),
    /// The end of validity, or the next update of a CRL, does not lie after its start, or lies out of the calendar.
    #[error("the validity must end after it begins")]
    InvalidValidity,
    /// The serial number was not issued here.
    #[error("no certificate {0} was issued by this authority")]
    UnknownSerial(Serial),
    /// The serial number is revoked already.
    #[error("certificate {0} is revoked already")]
    AlreadyRevoked(Serial),
    /// A file that would be written exists.
    #[error("{0} exists already and is not overwritten")]
    Exists(String),
    /// A file cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// `"read"` or `"write"`.
        action: &'static str,
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A file of the authority does not hold what it should.
    #[error("{path} is not {what}")]
    Malformed {
        /// The file.
        path: String,
        /// What it should be.
        what: &'static str,
    },
    /// A certificate cannot be encoded or a key not used.
    #[error("the certificate cannot be made")]
    Encoding(#[source] rcgen::Error),
}

impl From<rcgen::Error> for Error {
    fn from(source: rcgen::Error) -> Self {
        Self::Encoding(source)
    }
}

/// From when to when something is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First valid instant.
    pub not_before: Micros,
    /// Last valid instant.
    pub not_after: Micros,
}

impl Validity {
    /// How far validity begins in the past, for peers whose clocks are late.
    const BACKDATE_MS: i64 = 5 * 60 * 1000;

    /// `days` days from `now`, begun five minutes ago.
    pub fn days(now: Micros, days: u32) -> Self {
        Self {
            not_before: now.plus_ms(-Self::BACKDATE_MS),
            not_after: now.plus_ms(i64::from(days) * 86_400_000),
        }
    }

    fn dates(self) -> Result<(OffsetDateTime, OffsetDateTime), Error> {
        if self.not_before >= self.not_after {
            return Err(Error::InvalidValidity);
        }
        Ok((date(self.not_before)?, date(self.not_after)?))
    }
}

fn date(at: Micros) -> Result<OffsetDateTime, Error> {
    at.to_utc().ok_or(Error::InvalidValidity)
}

/// What a leaf certificate should hold.
#[derive(Clone, Debug)]
pub struct LeafRequest {
    /// What it is for.
    pub profile: Profile,
    /// Whom it names, where the profile names somebody.
    pub identity: Option<PeerId>,
    /// Common name, for people only.
    pub common_name: String,
    /// DNS names and IP addresses.
    pub names: Vec<String>,
    /// From when to when.
    pub validity: Validity,
}

/// A certificate just issued, with its key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// Its private key, PKCS#8 PEM.
    pub key_pem: String,
    /// The certificate, DER.
    pub cert_der: Vec<u8>,
    /// Its serial number.
    pub serial: Serial,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

/// What the authority remembers of itself: what it issued, what it revoked, how many CRLs it signed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Number of the last CRL.
    pub crl_number: u64,
    /// Every leaf, in the order of issue.
    pub issued: Vec<IssuedRow>,
}

/// One certificate of the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuedRow {
    /// Serial number in hexadecimal.
    pub serial: String,
    /// The profile's name.
    pub profile: String,
    /// The URN it names, or its common name.
    pub subject: String,
    /// End of validity.
    pub not_after: Micros,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Micros>,
}

/// A certificate authority in memory: one P-256 root that signs leaves and CRLs.
#[derive(Debug)]
pub struct Ca {
    cert_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
    index: Index,
}

impl Ca {
    /// A new authority called `name`.
    pub fn new(name: &str, validity: Validity, random: &dyn Random) -> Result<Self, Error> {
        let (not_before, not_after) = validity.dates()?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.not_before = not_before;
        params.not_after = not_after;
        params.distinguished_name = common_name(name);
        params.serial_number = Some(SerialNumber::from_slice(draw_serial(random).as_bytes()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert_pem = params.self_signed(&key)?.pem();
        Ok(Self {
            cert_pem,
            key_pem: key.serialize_pem(),
            issuer: Issuer::new(params, key),
            index: Index::default(),
        })
    }

    /// The authority whose certificate, key and index these are.
    pub fn from_pem(cert_pem: &str, key_pem: &str, index: Index) -> Result<Self, Error> {
        let key = KeyPair::from_pem(key_pem)?;
        Ok(Self {
            cert_pem: cert_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            issuer: Issuer::from_ca_cert_pem(cert_pem, key)?,
            index,
        })
    }

    /// Its certificate, PEM: what peers trust.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Its private key, PKCS#8 PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// What it issued and revoked.
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// Issues a leaf with a fresh P-256 key.
    ///
    /// # Errors
    /// The request does not fit its profile, a name is none, or the validity is empty.
    pub fn issue(&mut self, request: &LeafRequest, random: &dyn Random) -> Result<Issued, Error> {
        let params = leaf_params(request)?;
        let issued = self.sign(params, random)?;
        let subject = request
            .identity
            .as_ref()
            .map_or_else(|| request.common_name.clone(), PeerId::to_string);
        self.index.issued.push(IssuedRow {
            serial: issued.serial.to_string(),
            profile: request.profile.as_str().to_owned(),
            subject,
            not_after: request.validity.not_after,
            revoked_at: None,
        });
        Ok(issued)
    }

    /// Signs what it is given, with a fresh key and serial number and without a row in the index: for tests of
    /// certificates that no profile allows.
    pub fn sign(&self, mut params: CertificateParams, random: &dyn Random) -> Result<Issued, Error> {
        let key = KeyPair::generate()?;
        let serial = draw_serial(random);
        params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
        params.use_authority_key_identifier_extension = true;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
            cert_der: cert.der().to_vec(),
            serial,
        })
    }

    /// Revokes a certificate: the next CRL names it.
    ///
    /// # Errors
    /// It was not issued here, or is revoked already.
    pub fn revoke(&mut self, serial: &Serial, now: Micros) -> Result<(), Error> {
        let text = serial.to_string();
        let row = self.index.issued.iter_mut().find(|row| row.serial == text);
        let row = row.ok_or_else(|| Error::UnknownSerial(serial.clone()))?;
        if row.revoked_at.is_some() {
            return Err(Error::AlreadyRevoked(serial.clone()));
        }
        row.revoked_at = Some(now);
        Ok(())
    }

    /// Signs a CRL (PEM) that peers accept from `now` until `next_update`; past that, they refuse everybody.
    pub fn crl(&mut self, now: Micros, next_update: Micros) -> Result<String, Error> {
        let validity = Validity {
            not_before: now,
            not_after: next_update,
        };
        let (this_update, next_update) = validity.dates()?;
        let revoked = self
            .index
            .issued
            .iter()
            .filter_map(|row| Some((row, row.revoked_at?)));
        let revoked_certs = revoked
            .map(|(row, at)| {
                Ok(RevokedCertParams {
                    serial_number: SerialNumber::from_slice(serial_of(row)?.as_bytes()),
                    revocation_time: date(at)?,
                    reason_code: Some(RevocationReason::Unspecified),
                    invalidity_date: None,
                })
            })
            .collect::<Result<_, Error>>()?;
        let number = self.index.crl_number + 1;
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from_slice(&number.to_be_bytes()),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = params.signed_by(&self.issuer)?.pem()?;
        self.index.crl_number = number;
        Ok(pem)
    }
}

/// The parameters of a leaf as its profile has them.
///
/// # Errors
/// As [`Ca::issue`].
pub fn leaf_params(request: &LeafRequest) -> Result<CertificateParams, Error> {
    let spec = request.profile.spec();
    let (not_before, not_after) = request.validity.dates()?;
    spec.check(request)?;

    let mut params = CertificateParams::default();
    params.not_before = not_before;
    params.not_after = not_after;
    params.distinguished_name = common_name(&request.common_name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = spec.usages();
    if let Some(identity) = &request.identity {
        params
            .subject_alt_names
            .push(SanType::URI(identity.to_string().try_into()?));
    }
    for name in &request.names {
        params.subject_alt_names.push(name_san(name)?);
    }
    Ok(params)
}

fn name_san(name: &str) -> Result<SanType, Error> {
    if let Ok(ip) = name.parse() {
        return Ok(SanType::IpAddress(ip));
    }
    let invalid = || Error::InvalidName(name.to_owned());
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(invalid());
    }
    name.try_into().map(SanType::DnsName).map_err(|_| invalid())
}

fn common_name(name: &str) -> DistinguishedName {
    let mut dn = DistinguishedName::new();
    dn.push(DnType::CommonName, name);
    dn
}

/// 16 random bytes whose first bit is clear and second set, so that the DER integer is positive and 16 bytes long
/// (RFC 5280, 4.1.2.2).
fn draw_serial(random: &dyn Random) -> Serial {
    let mut bytes: [u8; 16] = random.bytes();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Serial::from_bytes(&bytes)
}

fn serial_of(row: &IssuedRow) -> Result<Serial, Error> {
    row.serial.parse().map_err(|_| Error::Malformed {
        path: "index.json".to_owned(),
        what: "an index of this authority",
    })
}

#[cfg(test)]
mod tests;
