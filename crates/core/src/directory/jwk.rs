use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::Sha256;

/// A P-256 public key as a JSON Web Key (RFC 7518, 6.2.1). That the point lies on the curve is for its user to check.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "Members", try_from = "Members")]
pub struct Jwk {
    x: [u8; 32],
    y: [u8; 32],
}

/// The members are not those of a public P-256 key, or its `kid` is not its thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is kty EC, crv P-256, x and y of 32 bytes, its kid the RFC 7638 thumbprint")]
pub struct InvalidJwk;

impl Jwk {
    /// The key with these coordinates.
    pub const fn new(x: [u8; 32], y: [u8; 32]) -> Self {
        Self { x, y }
    }

    /// The key with this uncompressed point (SEC 1, 2.3.3): 4, x, y.
    pub fn from_sec1(point: &[u8]) -> Result<Self, InvalidJwk> {
        let (tag, coordinates) = point.split_first().ok_or(InvalidJwk)?;
        let (x, y) = coordinates.split_at_checked(32).ok_or(InvalidJwk)?;
        match (tag, x.try_into(), y.try_into()) {
            (4, Ok(x), Ok(y)) => Ok(Self { x, y }),
            (_, Ok(_) | Err(_), _) => Err(InvalidJwk),
        }
    }

    /// The uncompressed point (SEC 1, 2.3.3), which ring takes.
    pub fn sec1(&self) -> [u8; 65] {
        let mut point = [4; 65];
        point[1..33].copy_from_slice(&self.x);
        point[33..].copy_from_slice(&self.y);
        point
    }

    /// The key's name: its SHA-256 thumbprint (RFC 7638) in base64url.
    pub fn kid(&self) -> String {
        let [x, y] = [&self.x, &self.y].map(|c| URL_SAFE_NO_PAD.encode(c));
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(Sha256::of(canonical.as_bytes()).as_bytes())
    }
}

impl std::fmt::Debug for Jwk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Jwk({})", self.kid())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    kty: String,
    crv: String,
    x: String,
    y: String,
    #[serde(default)]
    kid: Option<String>,
}

impl From<Jwk> for Members {
    fn from(key: Jwk) -> Self {
        Self {
            kty: "EC".to_owned(),
            crv: "P-256".to_owned(),
            x: URL_SAFE_NO_PAD.encode(key.x),
            y: URL_SAFE_NO_PAD.encode(key.y),
            kid: Some(key.kid()),
        }
    }
}

impl TryFrom<Members> for Jwk {
    type Error = InvalidJwk;

    fn try_from(members: Members) -> Result<Self, InvalidJwk> {
        let coordinate = |text: &str| -> Result<[u8; 32], InvalidJwk> {
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidJwk)?;
            bytes.try_into().map_err(|_| InvalidJwk)
        };
        let key = Self {
            x: coordinate(&members.x)?,
            y: coordinate(&members.y)?,
        };
        let named = members.kid.is_none_or(|kid| kid == key.kid());
        (members.kty == "EC" && members.crv == "P-256" && named)
            .then_some(key)
            .ok_or(InvalidJwk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The public part of the key of RFC 7515, A.3.
    const RFC7515_A3: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    #[test]
    fn refuses_private_parts_other_curves_short_points_and_a_wrong_kid() {
        for (from, to) in [
            (r#""kty":"EC""#, r#""kty":"EC","d":"AA""#),
            ("P-256", "P-384"),
            ("f83O", "f8"),
            (r#""kty":"EC""#, r#""kty":"EC","kid":"other""#),
        ] {
            let changed = RFC7515_A3.replace(from, to);
            assert_ne!(changed, RFC7515_A3);
            assert!(serde_json::from_str::<Jwk>(&changed).is_err(), "{to}");
        }
        assert_eq!(Jwk::from_sec1(&[4; 64]), Err(InvalidJwk));
        assert_eq!(Jwk::from_sec1(&[2; 65]), Err(InvalidJwk));
    }

    #[test]
    fn point_and_members_lead_back_to_the_key() {
        let key: Jwk = serde_json::from_str(RFC7515_A3).unwrap();
        assert_eq!(Jwk::from_sec1(&key.sec1()), Ok(key.clone()));
        let text = serde_json::to_string(&key).unwrap();
        assert!(text.contains(&key.kid()));
        assert_eq!(serde_json::from_str::<Jwk>(&text).unwrap(), key);
    }
}
