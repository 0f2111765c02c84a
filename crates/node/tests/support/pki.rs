//! A certificate authority of the mesh that lives in memory.

use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use time::OffsetDateTime;
use unefois_core::{Micros, ParticipantId};
use unefois_mesh::Credential;

const DAY_MS: i64 = 86_400_000;

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Pem {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Pem {
    pub(crate) fn credential(&self) -> Credential {
        Credential::from_pem(&self.cert, &self.key).expect("a credential")
    }
}

pub(crate) struct Ca {
    pub(crate) cert: String,
    pub(crate) crl: String,
    issuer: Issuer<'static, KeyPair>,
    now: Micros,
}

impl Ca {
    pub(crate) fn new(now: Micros) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        let crl = CertificateRevocationListParams {
            this_update: date(now.plus_ms(-DAY_MS)),
            next_update: date(now.plus_ms(30 * DAY_MS)),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let crl = crl.signed_by(&issuer).expect("a CRL").pem().expect("PEM");
        Self {
            cert,
            crl,
            issuer,
            now,
        }
    }

    /// A certificate with a new key for `participant`.
    pub(crate) fn issue(&self, participant: &ParticipantId) -> Pem {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.not_before = date(self.now.plus_ms(-DAY_MS));
        params.not_after = date(self.now.plus_ms(30 * DAY_MS));
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.is_ca = IsCa::ExplicitNoCa;
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SERIAL.fetch_add(1, Ordering::SeqCst).into());
        let uri = participant.to_string().as_str().try_into().expect("an URI");
        // The address that tests connect to.
        let address = std::net::IpAddr::from([127, 0, 0, 1]);
        params.subject_alt_names = vec![SanType::URI(uri), SanType::IpAddress(address)];
        Pem {
            cert: params.signed_by(&key, &self.issuer).expect("a certificate").pem(),
            key: key.serialize_pem(),
        }
    }
}

fn date(at: Micros) -> OffsetDateTime {
    at.to_utc().expect("a date")
}
