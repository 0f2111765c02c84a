use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use unefois_core::{Micros, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::error::read;
use crate::{Error, Serial, tls};

/// A certificate and its private key.
#[derive(Debug)]
pub struct Credential {
    key: Arc<CertifiedKey>,
    /// The certificate's serial number.
    pub serial: Serial,
    /// SHA-256 of the key (SubjectPublicKeyInfo), as the directory lists it.
    pub spki_sha256: Sha256,
    /// SHA-256 of the certificate: what tokens minted over its connections are bound to.
    pub cert_sha256: Sha256,
    /// End of validity.
    pub not_after: Micros,
}

impl Credential {
    /// The credential of a certificate chain (leaf first) and its key, both PEM.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, Error> {
        Self::parse(chain.as_bytes(), key.as_bytes())
    }

    fn parse(chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| Error::Pem("certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Error::Pem("private key"))?;
        let key = tls::provider()
            .key_provider
            .load_private_key(key)
            .map_err(|_| Error::Key)?;
        let leaf = chain.first().cloned().ok_or(Error::Pem("certificate"))?;
        let (_, cert) = X509Certificate::from_der(&leaf).map_err(|_| Error::Certificate)?;
        let serial = Serial::from_bytes(cert.raw_serial());
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| Error::KeyMismatch(serial.clone()))?;
        Ok(Self {
            key: Arc::new(key),
            serial,
            spki_sha256: Sha256::of(cert.public_key().raw),
            cert_sha256: Sha256::of(&leaf),
            not_after: Micros::from_secs(cert.validity().not_after.timestamp()),
        })
    }
}

/// This process's own credential, replaceable while connections are open: the next handshake shows the new one.
#[derive(Debug)]
pub struct Identity {
    files: Option<(PathBuf, PathBuf)>,
    current: ArcSwap<Credential>,
}

impl Identity {
    /// The identity in two PEM files, certificate chain and key.
    pub fn load(chain: PathBuf, key: PathBuf) -> Result<Self, Error> {
        let credential = read_pair(&chain, &key)?;
        Ok(Self {
            files: Some((chain, key)),
            current: ArcSwap::from_pointee(credential),
        })
    }

    /// An identity from memory.
    pub fn new(credential: Credential) -> Self {
        Self {
            files: None,
            current: ArcSwap::from_pointee(credential),
        }
    }

    /// Reads the files again. On an error (a key half written, say), the credential stays what it was.
    pub fn reload(&self) -> Result<(), Error> {
        let (chain, key) = self.files.as_ref().ok_or(Error::NoFiles)?;
        self.replace(read_pair(chain, key)?);
        Ok(())
    }

    /// Takes up another credential.
    pub fn replace(&self, credential: Credential) {
        self.current.store(Arc::new(credential));
    }

    /// The credential that the next handshake will show. Whoever mints a token over a connection keeps it, since
    /// the token is bound to it: [`Connector::with_credential`](crate::Connector::with_credential).
    pub fn current(&self) -> Arc<Credential> {
        self.current.load_full()
    }
}

fn read_pair(chain: &Path, key: &Path) -> Result<Credential, Error> {
    Credential::parse(&read(chain)?, &read(key)?)
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesClientCert for Credential {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
