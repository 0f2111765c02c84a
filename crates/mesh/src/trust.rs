use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};
use tokio::sync::watch;
use unefois_core::ParticipantId;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};

use crate::error::read;
use crate::{Error, Peer, PeerId, PeerRefusal, tls};

/// Asks the directory whether this name may hold this key: `Ok`, or why not.
///
/// It is called in handshakes and again for every live connection after [`Trust::touch`], so it must be quick and
/// must not block.
pub type PeerGate = Arc<dyn Fn(&Peer) -> Result<(), PeerRefusal> + Send + Sync>;

/// The certificate authorities that are believed and their CRLs, replaceable while connections are open.
///
/// Without a CRL of a certificate's issuer, or past that CRL's next update, nobody is believed (I9).
pub struct Trust {
    files: Option<(PathBuf, PathBuf)>,
    bundle: ArcSwap<Bundle>,
    generation: watch::Sender<u64>,
}

struct Bundle {
    anchors: Vec<TrustAnchor<'static>>,
    crls: Vec<CertRevocationList<'static>>,
}

/// Which end of a connection a certificate is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

impl Trust {
    /// Trust in the authorities of one PEM file, with the CRLs of another.
    pub fn load(authorities: PathBuf, crls: PathBuf) -> Result<Self, Error> {
        let bundle = Bundle::read(&authorities, &crls)?;
        Ok(Self::of(bundle, Some((authorities, crls))))
    }

    /// Trust in the authorities of `authorities`, with the CRLs of `crls`, both PEM.
    ///
    /// # Errors
    /// There is no authority, or something does not parse. No CRL at all is allowed: nobody is believed then.
    pub fn from_pem(authorities: &str, crls: &str) -> Result<Self, Error> {
        let bundle = Bundle::parse(authorities.as_bytes(), crls.as_bytes())?;
        Ok(Self::of(bundle, None))
    }

    fn of(bundle: Bundle, files: Option<(PathBuf, PathBuf)>) -> Self {
        Self {
            files,
            bundle: ArcSwap::from_pointee(bundle),
            generation: watch::Sender::new(0),
        }
    }

    /// Reads the files again; what they no longer allow is cut. On an error, what was believed stays, and so it does
    /// where no CRL is left: a file that is being written is no reason to believe nobody.
    pub fn reload(&self) -> Result<(), Error> {
        let (authorities, crls) = self.files.as_ref().ok_or(Error::NoFiles)?;
        let bundle = Bundle::read(authorities, crls)?;
        if bundle.crls.is_empty() {
            return Err(Error::Pem("CRLs"));
        }
        self.take(bundle);
        Ok(())
    }

    /// As [`Self::reload`], from memory.
    pub fn replace_pem(&self, authorities: &str, crls: &str) -> Result<(), Error> {
        self.take(Bundle::parse(authorities.as_bytes(), crls.as_bytes())?);
        Ok(())
    }

    fn take(&self, bundle: Bundle) {
        self.bundle.store(Arc::new(bundle));
        self.touch();
    }

    /// Has every live connection judged again: to be called when the directory that gates look at has changed.
    pub fn touch(&self) {
        self.generation.send_modify(|n| *n += 1);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        end: End,
    ) -> Result<(), PeerRefusal> {
        let bundle = self.bundle.load();
        let crls: Vec<_> = bundle.crls.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&crls)
            .map_err(|_| PeerRefusal::NoCrl)?
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build();
        let algorithms = tls::provider().signature_verification_algorithms.all;
        EndEntityCert::try_from(leaf)
            .and_then(|cert| {
                cert.verify_for_usage(
                    algorithms,
                    &bundle.anchors,
                    intermediates,
                    now,
                    end.usage(),
                    Some(revocation),
                    None,
                )
                .map(drop)
            })
            .map_err(|error| refusal_of(&error))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Bundle {
    fn read(authorities: &std::path::Path, crls: &std::path::Path) -> Result<Self, Error> {
        Self::parse(&read(authorities)?, &read(crls)?)
    }

    fn parse(authorities: &[u8], crls: &[u8]) -> Result<Self, Error> {
        let roots: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(authorities)
            .collect::<Result<_, _>>()
            .map_err(|_| Error::Pem("certificate authorities"))?;
        if roots.is_empty() {
            return Err(Error::Pem("certificate authorities"));
        }
        let anchors = roots
            .iter()
            .map(|root| {
                Ok(webpki::anchor_from_trusted_cert(root)
                    .map_err(|_| Error::Root)?
                    .to_owned())
            })
            .collect::<Result<_, Error>>()?;
        let crls = CertificateRevocationListDer::pem_slice_iter(crls)
            .map(|crl| {
                let crl = crl.map_err(|_| Error::Pem("CRLs"))?;
                let owned = OwnedCertRevocationList::from_der(&crl).map_err(|_| Error::Crl)?;
                Ok(CertRevocationList::Owned(owned))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self { anchors, crls })
    }
}

impl End {
    /// The extended key usage that the certificate must hold: one without any is refused.
    const fn usage(self) -> KeyUsage {
        // DER of the OIDs 1.3.6.1.5.5.7.3.1 and .2 (RFC 5280, 4.2.1.12).
        match self {
            Self::Server => KeyUsage::required(&[0x2b, 6, 1, 5, 5, 7, 3, 1]),
            Self::Client => KeyUsage::required(&[0x2b, 6, 1, 5, 5, 7, 3, 2]),
        }
    }
}

fn refusal_of(error: &webpki::Error) -> PeerRefusal {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => PeerRefusal::Expired,
        E::CertNotValidYet { .. } => PeerRefusal::NotYetValid,
        E::UnknownIssuer => PeerRefusal::UnknownIssuer,
        E::CertRevoked => PeerRefusal::Revoked,
        E::CrlExpired { .. } => PeerRefusal::StaleCrl,
        E::UnknownRevocationStatus => PeerRefusal::NoCrl,
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => PeerRefusal::WrongUsage,
        E::BadDer
        | E::BadDerTime
        | E::TrailingData(_)
        | E::MalformedExtensions
        | E::UnsupportedCertVersion
        | E::InvalidSerialNumber => PeerRefusal::Malformed,
        // The enumeration is open: whatever else is wrong, the certificate is not valid.
        _ => PeerRefusal::Invalid,
    }
}

/// Everything that is asked of the certificate at the other end.
#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) trust: Arc<Trust>,
    pub(crate) gate: PeerGate,
    pub(crate) end: End,
    /// Whom a client called.
    pub(crate) expected: Option<ParticipantId>,
}

impl Admission {
    /// The peer, where chain, CRL, usage, name and directory agree.
    pub(crate) fn admit(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Peer, PeerRefusal> {
        self.trust.verify(leaf, intermediates, now, self.end)?;
        let peer = Peer::from_der(leaf)?;
        if self.expected.is_some_and(|id| peer.id != PeerId::Participant(id)) {
            return Err(PeerRefusal::OtherParticipant);
        }
        (self.gate)(&peer)?;
        Ok(peer)
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// What both of rustls's traits ask for beside the certificate. TLS 1.2 is never negotiated, so that both versions'
/// signatures may be judged by the stricter rules of 1.3.
macro_rules! signatures_of_tls13 {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            schemes()
        }
    };
}

/// A server's view of its clients.
#[derive(Debug)]
pub(crate) struct ServerSide(pub(crate) Admission);

/// A client's view of its server.
#[derive(Debug)]
pub(crate) struct ClientSide(pub(crate) Admission);

impl ClientCertVerifier for ServerSide {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let admitted = self.0.admit(end_entity, intermediates, now);
        admitted.map(|_| ClientCertVerified::assertion()).map_err(to_tls)
    }

    signatures_of_tls13!();
}

impl ServerCertVerifier for ClientSide {
    /// The name in the handshake does not count: who answers is the participant, wherever it answers.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let admitted = self.0.admit(end_entity, intermediates, now);
        admitted.map(|_| ServerCertVerified::assertion()).map_err(to_tls)
    }

    signatures_of_tls13!();
}

fn verify_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    rustls::crypto::verify_tls13_signature(
        message,
        cert,
        dss,
        &tls::provider().signature_verification_algorithms,
    )
}

fn schemes() -> Vec<SignatureScheme> {
    tls::provider()
        .signature_verification_algorithms
        .supported_schemes()
}

/// The refusal as rustls has it, which decides the alert that the peer receives.
fn to_tls(refusal: PeerRefusal) -> rustls::Error {
    let error = match refusal {
        PeerRefusal::Expired => CertificateError::Expired,
        PeerRefusal::NotYetValid => CertificateError::NotValidYet,
        PeerRefusal::UnknownIssuer => CertificateError::UnknownIssuer,
        PeerRefusal::Revoked => CertificateError::Revoked,
        PeerRefusal::StaleCrl => CertificateError::ExpiredRevocationList,
        PeerRefusal::NoCrl => CertificateError::UnknownRevocationStatus,
        PeerRefusal::WrongUsage => CertificateError::InvalidPurpose,
        PeerRefusal::Malformed => CertificateError::BadEncoding,
        PeerRefusal::NoCertificate
        | PeerRefusal::NoParticipantName
        | PeerRefusal::SeveralNames
        | PeerRefusal::OtherParticipant
        | PeerRefusal::NotInDirectory
        | PeerRefusal::KeyNotInDirectory
        | PeerRefusal::StaleDirectory
        | PeerRefusal::Invalid
        | PeerRefusal::Timeout
        | PeerRefusal::Protocol
        | PeerRefusal::Busy => CertificateError::Other(OtherError(Arc::new(refusal))),
    };
    rustls::Error::InvalidCertificate(error)
}

/// Why a handshake failed here, as a refusal of ours.
pub(crate) fn from_tls(error: &rustls::Error) -> PeerRefusal {
    match error {
        rustls::Error::NoCertificatesPresented => PeerRefusal::NoCertificate,
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired => PeerRefusal::Expired,
            CertificateError::NotValidYet => PeerRefusal::NotYetValid,
            CertificateError::UnknownIssuer => PeerRefusal::UnknownIssuer,
            CertificateError::Revoked => PeerRefusal::Revoked,
            CertificateError::ExpiredRevocationList => PeerRefusal::StaleCrl,
            CertificateError::UnknownRevocationStatus => PeerRefusal::NoCrl,
            CertificateError::InvalidPurpose => PeerRefusal::WrongUsage,
            CertificateError::BadEncoding => PeerRefusal::Malformed,
            CertificateError::Other(OtherError(ours)) => {
                ours.downcast_ref().copied().unwrap_or(PeerRefusal::Invalid)
            }
            // The enumeration is open; what our verifiers return is above.
            _ => PeerRefusal::Invalid,
        },
        _ => PeerRefusal::Protocol,
    }
}
