//! What a certificate holds, for people.

use std::fmt;

use serde::Serialize;
use unefois_core::{Micros, Sha256};
use unefois_mesh::Serial;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Error;

/// What `cert show` prints of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateFacts {
    /// Subject, RFC 4514 style.
    pub subject: String,
    /// Issuer, the same.
    pub issuer: String,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// First valid instant, RFC 3339.
    pub not_before: String,
    /// Last valid instant, RFC 3339.
    pub not_after: String,
    /// Subject alternative names, `URI:…`, `DNS:…`, `IP:…`.
    pub sans: Vec<String>,
    /// Extended key usages.
    pub usages: Vec<String>,
    /// Whether it may sign certificates.
    pub ca: bool,
    /// SHA-256 of the key (SubjectPublicKeyInfo), as the directory lists it.
    pub spki_sha256: String,
    /// SHA-256 of the certificate.
    pub cert_sha256: String,
}

impl fmt::Display for CertificateFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("subject", self.subject.as_str()),
            ("issuer", &self.issuer),
            ("serial", &self.serial),
            ("not before", &self.not_before),
            ("not after", &self.not_after),
            ("names", &self.sans.join(", ")),
            ("usages", &self.usages.join(", ")),
            ("authority", if self.ca { "yes" } else { "no" }),
            ("key sha-256", &self.spki_sha256),
            ("sha-256", &self.cert_sha256),
        ];
        rows.iter()
            .try_for_each(|(name, value)| writeln!(f, "{name:<12} {value}"))
    }
}

/// The facts of every certificate in `pem`, in its order; `path` names the file in errors.
///
/// # Errors
/// A block is no certificate, or there is none.
pub fn facts(path: &str, pem: &str) -> Result<Vec<CertificateFacts>, Error> {
    let malformed = || Error::Malformed {
        path: path.to_owned(),
        what: "a certificate in PEM",
    };
    let blocks: Vec<Pem> = Pem::iter_from_buffer(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| malformed())?;
    let certificates = blocks.iter().filter(|block| block.label == "CERTIFICATE");
    let facts: Vec<_> = certificates
        .map(|block| one(&block.contents))
        .collect::<Option<_>>()
        .ok_or_else(malformed)?;
    if facts.is_empty() {
        return Err(malformed());
    }
    Ok(facts)
}

fn one(der: &[u8]) -> Option<CertificateFacts> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let sans = cert.subject_alternative_name().ok()?;
    let usages = cert.extended_key_usage().ok()?;
    let instant = |t: i64| Micros::from_secs(t).to_rfc3339();
    Some(CertificateFacts {
        subject: cert.subject().to_string(),
        issuer: cert.issuer().to_string(),
        serial: Serial::from_bytes(cert.raw_serial()).to_string(),
        not_before: instant(cert.validity().not_before.timestamp()),
        not_after: instant(cert.validity().not_after.timestamp()),
        sans: sans.map_or_else(Vec::new, |san| {
            san.value.general_names.iter().map(san_text).collect()
        }),
        usages: usages.map_or_else(Vec::new, |eku| {
            let named = [
                (eku.value.server_auth, "serverAuth"),
                (eku.value.client_auth, "clientAuth"),
            ];
            let other = eku.value.other.iter().map(ToString::to_string);
            named
                .iter()
                .filter(|(on, _)| *on)
                .map(|(_, name)| (*name).to_owned())
                .chain(other)
                .collect()
        }),
        ca: cert.is_ca(),
        spki_sha256: Sha256::of(cert.public_key().raw).to_string(),
        cert_sha256: Sha256::of(der).to_string(),
    })
}

fn san_text(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::DNSName(dns) => format!("DNS:{dns}"),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(v4), _) => format!("IP:{}", std::net::Ipv4Addr::from(v4)),
            (_, Ok(v6)) => format!("IP:{}", std::net::Ipv6Addr::from(v6)),
            (Err(_), Err(_)) => "IP:malformed".to_owned(),
        },
        other => other.to_string(),
    }
}
