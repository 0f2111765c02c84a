use std::path::{Path, PathBuf};

use crate::Serial;

/// Why trust, an identity or a listener cannot be made or taken up again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The text does not hold what it should, in PEM.
    #[error("{0}: no PEM block of the kind wanted, or a malformed one")]
    Pem(&'static str),
    /// A certificate of an authority does not parse.
    #[error("a certificate of the authorities is malformed")]
    Root,
    /// A CRL does not parse, or is of an unsupported kind (delta, indirect).
    #[error("a CRL is malformed or of an unsupported kind")]
    Crl,
    /// The key is of an unsupported kind.
    #[error("the private key is of an unsupported kind")]
    Key,
    /// The key is not that of the certificate.
    #[error("the private key does not belong to certificate {0}")]
    KeyMismatch(Serial),
    /// The certificate does not parse.
    #[error("the certificate is malformed")]
    Certificate,
    /// It was made from memory, so there is no file to read again.
    #[error("there is no file to load again from")]
    NoFiles,
    /// A socket cannot be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address or path.
        address: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// An address outside of the mesh that is not called.
    #[error("an address outside is https, or http on 127.0.0.1 or [::1], without query or password")]
    OutsideUrl,
    /// Plain HTTP was asked for on an address that others reach.
    #[error("plain HTTP is served on loopback only, not on {0}")]
    NotLoopback(std::net::SocketAddr),
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
