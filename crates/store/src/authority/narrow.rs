//! Elements give way to narrower ones.

use unefois_core::revocation::{Head, Record, Withdrawal};
use unefois_core::{Handle, Micros, WithdrawnBy};

use super::grant::{Element, left_out};
use super::revocation::withdraw;
use crate::{Error, Tx, on};

/// What becomes of one element.
#[derive(Clone, Debug)]
pub struct Narrowing {
    /// Its handle, which is withdrawn.
    pub old: Handle,
    /// What stands in its place; `None` where nothing of it is left.
    pub next: Option<Element>,
}

/// Withdraws the handles of these elements and puts others in their places, all of it in the caller's transaction.
///
/// The records written, none for a handle that had been withdrawn before and for which nothing is changed, and the head
/// after them; `None` if this process does not hold the epoch, and then the caller rolls back.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn narrow(
    tx: &mut Tx,
    epoch: u64,
    narrowings: &[Narrowing],
    at: Micros,
) -> Result<Option<(Vec<Record>, Head)>, Error> {
    let by = |narrowing: &Narrowing| match narrowing.next {
        Some(_) => WithdrawnBy::Narrowed,
        None => WithdrawnBy::Person,
    };
    let handles: Vec<_> = narrowings.iter().map(|n| (n.old, by(n))).collect();
    // The withdrawal is the lock: of two that end an element at once, one finds it standing.
    let done = withdraw(tx, epoch, &handles, at).await?;
    let Some((records, _)) = &done else {
        return Ok(None);
    };
    for Narrowing { old, next } in narrowings {
        let fresh = records
            .iter()
            .any(|record| record.withdrawal == Withdrawal::Grant(*old));
        if let Some(next) = next.as_ref().filter(|_| fresh) {
            follow(tx, old, next).await?;
        }
    }
    Ok(done)
}

/// Puts `next` in the place of `old`.
async fn follow(tx: &mut Tx, old: &Handle, next: &Element) -> Result<(), Error> {
    const NEXT: &str = "INSERT INTO grant_element (handle, grant_id, position, details, left_out) \
         SELECT $2, grant_id, (SELECT MAX(position) + 1 FROM grant_element a WHERE a.grant_id = e.grant_id), $3, $4 \
         FROM grant_element e WHERE handle = $1";
    const FOLLOW: &str = "UPDATE grant_element SET followed_by = $2 WHERE handle = $1";
    let (old, handle) = (&old.as_bytes()[..], &next.handle.as_bytes()[..]);
    let left_out = left_out(next);
    on!(tx, c => sqlx::query(NEXT).bind(old).bind(handle).bind(&next.details).bind(&left_out)
        .execute(c).await?.rows_affected());
    on!(tx, c => sqlx::query(FOLLOW).bind(old).bind(handle).execute(c).await?.rows_affected());
    Ok(())
}
