//! What the ledger costs, each figure beside the bare limit of the same database in the same run.
//!
//! A throw-away database is made ([`Place`]), a log is loaded into it that verifies ([`ledger`] calls it « loaded »),
//! and then are measured: its size, its verification, its proofs and searches, and appends through
//! [`unefois_ledger::Ledger::release`] at 1, 64 and 512 in flight. Beside the appends run, in turns, an insert of the
//! same bytes into a table with a primary key only (« bare ») and the same rows, tables and indexes in one raw
//! statement. A slow disk makes every design look good, so the disk's own `fdatasync` is a figure too.
//!
//! What a withdrawal and a token take is measured by the program itself, which can start every role; [`Withdrawals`] and
//! [`Mints`] report it.

mod append;
mod bare;
mod cpu;
mod error;
mod load;
mod mint;
mod place;
mod raw;
mod read;
mod report;
mod run;
mod sample;
mod size;
mod sql;
mod withdraw;

pub use error::Error;
pub use mint::{Mint, Mints};
pub use place::{Place, Store};
pub use report::{Bar, Figure, Report};
pub use run::{Plan, fdatasync_ms, ledger, machine};
pub use sample::participant;
pub use withdraw::{Judged, Row, Took, Withdrawals, p50_ms};
