use std::fmt;
use std::str::FromStr;

use aws_lc_rs::agreement;
use ring::signature;
use serde::{Deserialize, Serialize};
use unefois_core::Sha256;

use crate::{Error, base64url};

/// The name of a key: its RFC 7638 thumbprint with SHA-256, as text 43 characters of base64url. Every `kid` that this
/// project writes is one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Thumbprint {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        base64url::decode_array(s).map(Self).map_err(|_| Error::Key)
    }
}

impl From<Thumbprint> for String {
    fn from(thumbprint: Thumbprint) -> Self {
        thumbprint.to_string()
    }
}

impl TryFrom<String> for Thumbprint {
    type Error = Error;

    fn try_from(s: String) -> Result<Self, Error> {
        s.parse()
    }
}

/// What precedes the 65 bytes of an uncompressed point in a P-256 SubjectPublicKeyInfo (RFC 5480, 2).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A P-256 public key whose point is on the curve. In serde its form is a JWK (RFC 7518, 6.2.1).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "EcMembers", try_from = "EcMembers")]
pub struct PublicKey {
    /// 0x04, then x and y, 32 bytes each.
    point: [u8; 65],
    thumbprint: Thumbprint,
}

impl PublicKey {
    /// The key with this uncompressed point (SEC 1, 2.3.3): 0x04, x, y.
    pub fn from_point(point: &[u8]) -> Result<Self, Error> {
        let point: [u8; 65] = point.try_into().map_err(|_| Error::Key)?;
        if point[0] != 4 {
            return Err(Error::Key);
        }
        // Checks the curve's equation and that both coordinates are below p.
        agreement::ParsedPublicKey::try_from(agreement::UnparsedPublicKey::new(
            &agreement::ECDH_P256,
            &point,
        ))
        .map_err(|_| Error::Key)?;
        let (x, y) = coordinates(&point);
        // Required members only, in lexicographic order, no white space (RFC 7638, 3.2).
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let thumbprint = Thumbprint(*Sha256::of(canonical.as_bytes()).as_bytes());
        Ok(Self { point, thumbprint })
    }

    /// The key of this JWK: `kty` EC, `crv` P-256, `x` and `y` of exactly 32 bytes. A private member is refused, other
    /// members mean nothing here (RFC 7517, 4).
    pub fn from_jwk(json: &[u8]) -> Result<Self, Error> {
        crate::strict_json::from_slice(json).map_err(|_| Error::Key)
    }

    /// The key of this DER SubjectPublicKeyInfo: a named curve and an uncompressed point.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, Error> {
        let point = der.strip_prefix(&SPKI_PREFIX).ok_or(Error::Key)?;
        Self::from_point(point)
    }

    /// The JWK: `kty`, `crv`, `x` and `y`.
    pub fn to_jwk(&self) -> String {
        let (x, y) = coordinates(&self.point);
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#)
    }

    /// The DER SubjectPublicKeyInfo, 91 bytes.
    pub fn to_spki_der(&self) -> Vec<u8> {
        [SPKI_PREFIX.as_slice(), &self.point].concat()
    }

    /// SHA-256 of the DER SubjectPublicKeyInfo: what the directory's rows carry.
    pub fn spki_sha256(&self) -> Sha256 {
        Sha256::of_parts(&[&SPKI_PREFIX, &self.point])
    }

    /// The uncompressed point: 0x04, x, y.
    pub const fn point(&self) -> &[u8; 65] {
        &self.point
    }

    /// The key's name.
    pub const fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.thumbprint)
    }
}

fn coordinates(point: &[u8; 65]) -> (String, String) {
    (base64url::encode(&point[1..33]), base64url::encode(&point[33..]))
}

/// The members of a JWK that make an elliptic-curve key.
#[derive(Serialize, Deserialize)]
struct EcMembers {
    kty: String,
    crv: String,
    x: String,
    y: String,
    #[serde(default, skip_serializing)]
    d: Option<serde::de::IgnoredAny>,
}

impl From<PublicKey> for EcMembers {
    fn from(key: PublicKey) -> Self {
        let (x, y) = coordinates(&key.point);
        Self {
            kty: "EC".to_owned(),
            crv: "P-256".to_owned(),
            x,
            y,
            d: None,
        }
    }
}

impl TryFrom<EcMembers> for PublicKey {
    type Error = Error;

    fn try_from(jwk: EcMembers) -> Result<Self, Error> {
        if jwk.kty != "EC" || jwk.crv != "P-256" || jwk.d.is_some() {
            return Err(Error::Key);
        }
        let x: [u8; 32] = base64url::decode_array(&jwk.x).map_err(|_| Error::Key)?;
        let y: [u8; 32] = base64url::decode_array(&jwk.y).map_err(|_| Error::Key)?;
        Self::from_point(&[&[4], x.as_slice(), &y].concat())
    }
}

/// A public key that checks ES256 signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VerifyingKey(PublicKey);

impl VerifyingKey {
    /// Trusts `key` for signatures.
    pub const fn new(key: PublicKey) -> Self {
        Self(key)
    }

    /// The key itself.
    pub const fn public(&self) -> &PublicKey {
        &self.0
    }

    /// The key's name, which its signatures carry as `kid`.
    pub const fn thumbprint(&self) -> &Thumbprint {
        self.0.thumbprint()
    }

    /// Checks a raw ES256 signature, r then s, over `message` (RFC 7518, 3.4): r and s between 1 and n − 1. Both s and
    /// n − s verify, as ECDSA has it; no identity may rest on the signature's bytes.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, self.0.point())
            .verify(message, signature)
            .map_err(|_| Error::Signature)
    }
}

/// A public key to encrypt to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EncryptionKey(PublicKey);

impl EncryptionKey {
    /// Uses `key` for encryption.
    pub const fn new(key: PublicKey) -> Self {
        Self(key)
    }

    /// The key itself.
    pub const fn public(&self) -> &PublicKey {
        &self.0
    }

    /// The key's name, which what is encrypted to it carries as `kid`.
    pub const fn thumbprint(&self) -> &Thumbprint {
        self.0.thumbprint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The key of RFC 7515, A.3.
    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn jwk(kty: &str, crv: &str, x: &str, y: &str, more: &str) -> Result<PublicKey, Error> {
        let text = format!(r#"{{"kty":"{kty}","crv":"{crv}","x":"{x}","y":"{y}"{more}}}"#);
        PublicKey::from_jwk(text.as_bytes())
    }

    #[test]
    fn refuses_what_is_no_point_of_the_curve() {
        let zero = base64url::encode([0; 32]);
        // y where x is 0; and p, which is 0 in a second spelling.
        let y0 = "ZkhceA4vg9ckM71dhKBrtlQcKvMdrocXKL-FahdPk_Q";
        let mut p = [0xff; 32];
        p[4..20].fill(0);
        p[7] = 1;
        let p = base64url::encode(p);
        for (x, y) in [(X, X), (Y, X), (&zero, &zero), (X, &zero), (&p, y0)] {
            assert_eq!(jwk("EC", "P-256", x, y, ""), Err(Error::Key));
        }
        assert!(jwk("EC", "P-256", &zero, y0, "").is_ok());
        assert_eq!(PublicKey::from_point(&[0; 1]), Err(Error::Key));
        assert_eq!(PublicKey::from_point(&[0; 65]), Err(Error::Key));
        // Compressed and hybrid forms (SEC 1, 2.3.3; X9.62); y is odd.
        let mut point = *jwk("EC", "P-256", X, Y, "").unwrap().point();
        point[0] = 3;
        assert_eq!(PublicKey::from_point(&point[..33]), Err(Error::Key));
        point[0] = 7;
        assert_eq!(PublicKey::from_point(&point), Err(Error::Key));
    }

    #[test]
    fn refuses_other_kinds_lengths_and_spellings() {
        let short = base64url::encode([1; 31]);
        let long = base64url::encode([1; 33]);
        for (kty, crv, x, y, more) in [
            ("RSA", "P-256", X, Y, ""),
            ("EC", "P-384", X, Y, ""),
            ("EC", "secp256k1", X, Y, ""),
            ("ec", "P-256", X, Y, ""),
            ("EC", "P-256", &short, Y, ""),
            ("EC", "P-256", X, &long, ""),
            ("EC", "P-256", &format!("{X}="), Y, ""),
            ("EC", "P-256", X, Y, r#","d":"AA""#),
            ("EC", "P-256", X, Y, r#","x":"AA""#),
        ] {
            assert_eq!(
                jwk(kty, crv, x, y, more),
                Err(Error::Key),
                "{kty} {crv} {x} {more}"
            );
        }
        assert_eq!(PublicKey::from_jwk(b"{}"), Err(Error::Key));
    }

    #[test]
    fn thumbprint_is_that_of_rfc_7638() {
        let key = jwk("EC", "P-256", X, Y, r#","kid":"1","use":"sig""#).unwrap();
        // Computed apart: printf '{"crv":"P-256","kty":"EC","x":"f83…","y":"x_F…"}' | openssl dgst -sha256 -binary | basenc --base64url
        assert_eq!(
            key.thumbprint().to_string(),
            "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
        );
        assert_eq!(key.thumbprint().to_string().parse(), Ok(*key.thumbprint()));
        assert_eq!("oKIy".parse::<Thumbprint>(), Err(Error::Key));
    }

    #[test]
    fn forms_lead_back() {
        let key = jwk("EC", "P-256", X, Y, "").unwrap();
        assert_eq!(PublicKey::from_jwk(key.to_jwk().as_bytes()), Ok(key.clone()));
        assert_eq!(PublicKey::from_spki_der(&key.to_spki_der()), Ok(key.clone()));
        assert_eq!(Sha256::of(&key.to_spki_der()), key.spki_sha256());
        assert_eq!(serde_json::to_string(&key).unwrap(), key.to_jwk());
        let mut other_curve = key.to_spki_der();
        other_curve[22] ^= 1;
        assert_eq!(PublicKey::from_spki_der(&other_curve), Err(Error::Key));
        assert_eq!(
            PublicKey::from_spki_der(&key.to_spki_der()[..90]),
            Err(Error::Key)
        );
    }
}
