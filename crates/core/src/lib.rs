//! What every part of unefois agrees on: identifiers, reasons, the catalogue, the directory, the release
//! decision, ledger entries and commitments.
//!
//! Text comes in, values go out. Nothing here does I/O, waits, reads a clock or draws randomness; those that need
//! an instant or random bytes take them as arguments ([`Clock`], [`Random`]). A value that exists is checked: a
//! [`Siret`] has its check digit, an [`Entry`] decodes to what was encoded.
//!
//! One exchange, in the types of this crate: a person's grant fixes [`AuthorizationDetails`]; the authority turns
//! them into an [`AccessTokenClaims`] for one [`Handle`]; the consumer's call has a canonical [`FetchCore`], whose
//! hash both ledgers carry in their [`Entry`]; a producer that refuses says why with one [`Reason`].

pub mod authorization;
pub mod catalogue;
mod claims;
pub mod commitment;
pub mod decision;
mod digest;
pub mod directory;
pub mod effect;
pub mod entry;
mod filter;
mod habilitation;
mod handle;
mod hidden;
mod id;
pub mod payload;
mod period;
mod person;
mod random;
mod reason;
pub mod receipt;
mod request;
pub mod revocation;
pub mod schema;
mod siren;
pub mod subject_request;
mod time;
mod vocabulary;

pub use authorization::AuthorizationDetails;
pub use catalogue::Catalogue;
pub use claims::{AccessTokenClaims, Cnf, RevocationView};
pub use digest::Sha256;
pub use directory::Directory;
pub use entry::{Entry, Outline};
pub use filter::{DatatypeFilter, EntryFilter, InvalidFilter, PeerMatch};
pub use habilitation::{
    HabilitatedDatatype, Habilitation, HabilitationRow, HabilitationSignatures, HabilitationStatement,
    SignedHabilitation, SignerRole,
};
pub use handle::{Handle, InvalidHandle};
pub use hidden::{in_line, is_hidden, printable};
pub use id::{
    DatatypeId, DatatypeRev, DemarcheId, DossierRef, ExchangeId, HabilitationId, HolderId, InvalidId,
    ParticipantId, UnitName,
};
pub use period::Period;
pub use person::{
    BirthDate, Cog, Gender, InvalidPivot, NamedPerson, Pivot, SealedSubject, SubjectForm, check_form,
    compare_key, entity_form, given_names_match,
};
pub use random::Random;
pub use reason::{Reason, Side, UnknownReason};
pub use request::FetchCore;
pub use siren::{InvalidSiren, InvalidSiret, Siren, Siret};
pub use time::{Boot, Clock, InvalidInstant, Micros, Month};
pub use vocabulary::{
    Acr, Capacity, Event, LegalBasis, OfficerAssurance, Outcome, SubjectKind, UnknownWord, Way, WithdrawnBy,
};
