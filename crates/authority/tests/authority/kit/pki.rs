//! Keys and certificates.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use serde_json::Value;
use unefois_core::directory::Jwk;
use unefois_core::{Clock as _, Micros, Sha256};
use unefois_jose::{Pkcs8, SigningKey, SystemRandom as Ring};
use unefois_mesh::{Credential, SystemClock};

use super::{DAY_MS, write};

#[expect(clippy::disallowed_methods, reason = "keys and certificates of a test")]
pub(crate) fn ring() -> Ring {
    Ring::new()
}

pub(super) fn jwk(point: &[u8; 65]) -> Value {
    serde_json::to_value(Jwk::from_sec1(point).unwrap()).unwrap()
}

pub(super) fn signing_key(path: &Path) -> SigningKey {
    let key = Pkcs8::generate(&ring()).unwrap();
    write(path, &key.to_pem());
    SigningKey::from_pkcs8(&key, &ring()).unwrap()
}

pub(super) struct Pem {
    pub(super) cert: String,
    pub(super) key: String,
}

impl Pem {
    pub(super) fn credential(&self) -> Credential {
        Credential::from_pem(&self.cert, &self.key).unwrap()
    }

    pub(super) fn spki(&self) -> Sha256 {
        self.credential().spki_sha256
    }
}

pub(super) struct Ca {
    pub(super) cert: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self {
            cert: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn issue(&self, id: &str) -> Pem {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        let at = |ms: i64| date(SystemClock.now().plus_ms(ms));
        params.not_before = at(-DAY_MS);
        params.not_after = at(3 * DAY_MS);
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.is_ca = IsCa::ExplicitNoCa;
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        Pem {
            cert: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    pub(super) fn crl(&self) -> String {
        let params = CertificateRevocationListParams {
            this_update: date(SystemClock.now().plus_ms(-1_000)),
            next_update: date(SystemClock.now().plus_ms(3 * DAY_MS)),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

fn date(at: Micros) -> time::OffsetDateTime {
    at.to_utc().unwrap()
}
