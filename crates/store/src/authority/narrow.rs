//! One element gives way to a narrower one.

use unefois_core::revocation::{Head, Record};
use unefois_core::{Handle, Micros, WithdrawnBy};

use super::grant::{Element, left_out};
use super::revocation::withdraw;
use crate::{Error, Tx, on};

/// Withdraws the handle `old` and puts `next` in its place, in the caller's transaction.
///
/// The record written, none where the handle had been withdrawn before and nothing is changed, and the head after it;
/// `None` if this process does not hold the epoch, and then the caller rolls back.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn narrow(
    tx: &mut Tx,
    epoch: u64,
    old: &Handle,
    next: &Element,
    at: Micros,
) -> Result<Option<(Vec<Record>, Head)>, Error> {
    const NEXT: &str = "INSERT INTO grant_element (handle, grant_id, position, details, left_out) \
         SELECT $2, grant_id, (SELECT MAX(position) + 1 FROM grant_element a WHERE a.grant_id = e.grant_id), $3, $4 \
         FROM grant_element e WHERE handle = $1";
    const FOLLOW: &str = "UPDATE grant_element SET followed_by = $2 WHERE handle = $1";
    // The withdrawal is the lock: of two that end the element at once, one finds it standing.
    let done = withdraw(tx, epoch, &[(*old, WithdrawnBy::Narrowed)], at).await?;
    if done.as_ref().is_none_or(|(records, _)| records.is_empty()) {
        return Ok(done);
    }
    let (old, handle) = (&old.as_bytes()[..], &next.handle.as_bytes()[..]);
    let left_out = left_out(next);
    on!(tx, c => sqlx::query(NEXT).bind(old).bind(handle).bind(&next.details).bind(&left_out)
        .execute(c).await?.rows_affected());
    on!(tx, c => sqlx::query(FOLLOW).bind(old).bind(handle).execute(c).await?.rows_affected());
    Ok(done)
}
