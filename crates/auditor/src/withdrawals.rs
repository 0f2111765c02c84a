//! Whether withdrawals took effect when the authority says so, from ledgers alone (authority.md, « Proof »).
//!
//! Three verified readings come together, and neither a clock nor anybody's word: the authority's log
//! ([`Announced`]), whose `effective` entries commit to proofs; each proof, opened ([`Case`]); and the logs of the
//! producers concerned ([`ProducerLog`]), of which [`judge`] finds every release of the handle that lies where none may.
//!
//! Producers' entries hold salted commitments, so that a release is told to be of a handle by the secret of the month of
//! its token, which the authority discloses with the proof. The salts of the exchanges concerned would do to open those,
//! but whoever gives them chooses them: only the secret, from which every salt follows, shows that no release of the
//! handle was left out. It is seen to be the right one by the `effective` entry's own commitment.
//!
//! What ledgers cannot show is not judged, and said so: a release *decided* in time whose bytes left late; tokens by
//! their certificate, their key or their age, which no entry names.

mod announced;
mod case;
mod finding;
mod judge;
mod producer;
#[cfg(test)]
mod tests;

pub use announced::{Announced, MAX_WITHDRAWALS, Noted};
pub use case::{Case, Disclosed, Listed, Opening};
pub use finding::{Fault, Judged, Late, NotJudged, Pending, Place, Remark, Report, Why};
pub use judge::judge;
pub use producer::{MAX_RELEASES, ProducerLog, Wanted};
