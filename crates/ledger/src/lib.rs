//! The logs of one process: the sequencer, the claims, and the receipts without which nothing leaves.
//!
//! - I1: a [`DurableReceipt`] exists only once its entry is committed, and only the sequencer makes one; whoever
//!   asks for one before sending cannot send too early.
//! - I2: one request alone claims a one-shot handle: the claim and its entry are one transaction, whose own result
//!   says whether it was won, over all replicas of a database.
//! - I11: a crash leaves both or neither.
//!
//! One release: [`Ledger::begin`] registers the [`Attempt`] and refuses early what cannot be answered; the source is
//! asked; [`Ledger::release`] queues the draft, the sequencer takes it into its next batch, claims the handle, asks
//! the guard, writes the leaf and the head in one transaction and answers after the commit; if the guard then says
//! that the grant was withdrawn meanwhile, [`Ledger::withhold`] records that nothing left.
//!
//! What no transaction told is unknown: the sequencer takes a new epoch, reads the head and acknowledges only what is
//! there. A process that another one replaced writes nothing more ([`Error::Fenced`]). A log of which somebody holds a head
//! that the database does not have writes nothing more either ([`Ledger::seen`], [`Standing::RolledBack`]; I7).
//!
//! What others may check: [`Public`] shows anybody the published head and its tiles, an auditor every entry, and
//! cosigns the heads of others' logs; [`Publisher`] publishes this one's, with the cosignatures of those that it asks.

mod anchor;
mod attempt;
mod batch;
mod claims;
mod cursor;
mod draft;
mod erasure;
mod error;
mod guard;
mod inquiry;
mod log;
mod lookout;
mod open;
mod peer;
mod public;
mod publish;
mod query;
mod read;
mod receipt;
mod retention;
mod search;
mod sequencer;
mod service;
mod stored;
mod tally;
mod tiles;
pub mod verify;
mod watch;
mod witness;

pub use anchor::AnchorError;
pub use attempt::{Attempt, ClaimMode, ClaimRequest};
pub use draft::{About, Draft, Gate, GateState, ReleaseDraft};
pub use erasure::{DecisionRef, Erasing, Erasure, InvalidDecisionRef};
pub use error::Error;
pub use guard::{Patience, Safeguards, Seen, Standing};
pub use inquiry::{DirectoryInUse, Inquiry};
pub use log::{Begin, Keys, Ledger};
pub use peer::{Growth, Witnessed, peer_head_witness};
pub use public::{Public, PublicCertificate, PublicConfig, PublicDoor, PublicError, Surroundings};
pub use publish::{Published, Publisher};
pub use query::Query;
pub use receipt::{DurableReceipt, Head, Release};
pub use retention::{Counts, Retention};
pub use service::{AuditorNames, Delegations, Identities, Identity, LedgerService, Lent};
pub use stored::StoredLog;
pub use witness::{AskConfig, Cosigned, Registry, WitnessConfig};
