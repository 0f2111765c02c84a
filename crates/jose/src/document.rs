use serde::{Deserialize, Serialize};

use crate::jws::{self, Parts, Verified};
use crate::{Error, PublicKey, SigningKey, Thumbprint, VerifyingKey, base64url, strict_json};

/// Most signatures that one document may carry.
pub const MAX_SIGNATURES: usize = 8;

/// A document with one or several signatures: JWS JSON serialisation (RFC 7515, 7.2), flattened with one signature,
/// general with more. The directory has one, a habilitation one of each party.
///
/// What it says can be read only through a signature: by a known key ([`verify`](Self::verify)) or by a key whose
/// thumbprint alone is known ([`verify_pinned`](Self::verify_pinned)). For the latter each signature's unprotected
/// header carries the signer's `jwk`, which is believed only because it hashes to the pinned name; protected headers
/// may carry none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedDocument {
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    kid: Thumbprint,
    jwk: PublicKey,
    protected: String,
    signature: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureText {
    protected: String,
    header: Unprotected,
    signature: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unprotected {
    jwk: PublicKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flattened {
    payload: String,
    protected: String,
    header: Unprotected,
    signature: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct General {
    payload: String,
    signatures: Vec<SignatureText>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Flattened(Flattened),
    General(General),
}

impl SignedDocument {
    /// Signs `payload` as a document of type `typ`.
    pub fn sign(key: &SigningKey, typ: &str, payload: &[u8]) -> Result<Self, Error> {
        let mut document = Self {
            payload: base64url::encode(payload),
            signatures: Vec::new(),
        };
        document.add_signature(key, typ)?;
        Ok(document)
    }

    /// Signs the same payload with one more key; a key that has signed already is refused.
    pub fn add_signature(&mut self, key: &SigningKey, typ: &str) -> Result<(), Error> {
        if self.signers().any(|kid| kid == key.thumbprint()) || self.signatures.len() == MAX_SIGNATURES {
            return Err(Error::Malformed);
        }
        let protected = jws::protected(key, typ);
        let signature = key.sign(format!("{protected}.{}", self.payload).as_bytes())?;
        self.signatures.push(Signature {
            kid: *key.thumbprint(),
            jwk: key.verifying_key().public().clone(),
            protected,
            signature: base64url::encode(signature),
        });
        Ok(())
    }

    /// Reads a document of type `typ` of at most `limit` bytes; verifies nothing. Every header must be one of this
    /// project's profile, no key may appear twice, and there are at most [`MAX_SIGNATURES`].
    pub fn parse(json: &[u8], typ: &str, limit: usize) -> Result<Self, Error> {
        if json.len() > limit {
            return Err(Error::TooLarge);
        }
        let general = match strict_json::from_slice(json)? {
            Form::General(general) => general,
            Form::Flattened(flattened) => General {
                payload: flattened.payload,
                signatures: vec![SignatureText {
                    protected: flattened.protected,
                    header: flattened.header,
                    signature: flattened.signature,
                }],
            },
        };
        if general.signatures.is_empty() || general.signatures.len() > MAX_SIGNATURES {
            return Err(Error::Malformed);
        }
        let mut signatures: Vec<Signature> = Vec::with_capacity(general.signatures.len());
        for text in general.signatures {
            let kid = jws::own_header(&text.protected, typ)?;
            if *text.header.jwk.thumbprint() != kid || signatures.iter().any(|known| known.kid == kid) {
                return Err(Error::Header);
            }
            signatures.push(Signature {
                kid,
                jwk: text.header.jwk,
                protected: text.protected,
                signature: text.signature,
            });
        }
        Ok(Self {
            payload: general.payload,
            signatures,
        })
    }

    /// The JSON text.
    pub fn to_json(&self) -> Result<String, Error> {
        let mut signatures: Vec<SignatureText> = self
            .signatures
            .iter()
            .map(|signature| SignatureText {
                protected: signature.protected.clone(),
                header: Unprotected {
                    jwk: signature.jwk.clone(),
                },
                signature: signature.signature.clone(),
            })
            .collect();
        let payload = self.payload.clone();
        let text = match (signatures.pop(), signatures.is_empty()) {
            (Some(only), true) => serde_json::to_string(&Flattened {
                payload,
                protected: only.protected,
                header: only.header,
                signature: only.signature,
            }),
            (last, _) => {
                signatures.extend(last);
                serde_json::to_string(&General { payload, signatures })
            }
        };
        text.map_err(|_| Error::Malformed)
    }

    /// The names of the keys that it claims to be signed by; none is verified.
    pub fn signers(&self) -> impl Iterator<Item = &Thumbprint> {
        self.signatures.iter().map(|signature| &signature.kid)
    }

    /// Verifies the signature of `key`; those of other keys are not looked at.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Verified, Error> {
        let signature = self.by(key.thumbprint())?;
        let signed = format!("{}.{}", signature.protected, self.payload);
        let parts = Parts {
            header: &signature.protected,
            payload: &self.payload,
            signature: &signature.signature,
            signed: &signed,
        };
        jws::verify_parts(&parts, key, signature.kid)
    }

    /// Verifies the signature of the key that has this thumbprint, with the public key that the document carries.
    pub fn verify_pinned(&self, pin: &Thumbprint) -> Result<Verified, Error> {
        let key = VerifyingKey::new(self.by(pin)?.jwk.clone());
        self.verify(&key)
    }

    fn by(&self, kid: &Thumbprint) -> Result<&Signature, Error> {
        self.signatures
            .iter()
            .find(|signature| signature.kid == *kid)
            .ok_or(Error::UnknownKey)
    }
}
