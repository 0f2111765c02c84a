//! What is done by the clock: each minute what has expired is deleted and what could not be logged is logged; each hour
//! the ledger's tally is written; each month what is past its time is destroyed.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use unefois_core::Micros;
use unefois_core::directory::Freshness;
use unefois_ledger::{Ledger, Retention};
use unefois_store::authority::{grant, mandate, opposition, request, session};

use crate::Error;
use crate::pages::grants::KEPT_MS;
use crate::revocation::Effects;
use crate::service::Authority;

const MINUTE: Duration = Duration::from_secs(60);
/// How long a session that nobody uses is kept.
const SESSION_KEPT_MS: i64 = 3_600_000;
/// How long codes and refresh tokens are kept after their end, so that a reuse is seen.
const TOKEN_KEPT_MS: i64 = 24 * 3_600_000;
/// How long a mandate that was never in force is kept after its end.
const UNUSED_KEPT_MS: i64 = 31 * 24 * 3_600_000;

/// Does them until `shutdown`.
pub(crate) async fn chores(authority: Arc<Authority>, shutdown: CancellationToken) {
    let mut tallied = hour(authority.clock.now());
    let mut retention = Retention::new(authority.journal.ledger.clone());
    let mut every = tokio::time::interval(MINUTE);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = every.tick() => {}
        }
        if let Err(error) = sweep(&authority).await {
            tracing::warn!(
                error = unefois_mesh::status::chain(&error),
                "the minute's chores are not done"
            );
        }
        let now = authority.clock.now();
        // A clock that ran ahead finds the directory expired: it destroys nothing.
        let in_force = authority.published.edition().directory.freshness(now) != Freshness::Expired;
        if in_force && let Err(error) = retention.run(now).await {
            tracing::error!(
                error = unefois_mesh::status::chain(&error),
                "what is past its time is not destroyed"
            );
        }
        if let Err(error) = hourly(&authority.journal.ledger, &mut tallied, authority.clock.now()).await {
            tracing::error!(
                error = unefois_mesh::status::chain(&error),
                "the hourly tally is not written"
            );
        }
    }
}

fn hour(at: Micros) -> i64 {
    at.secs().div_euclid(3_600)
}

/// Tallies once an hour other than `tallied` has come; after a failure, the next minute tries again.
async fn hourly(ledger: &Ledger, tallied: &mut i64, now: Micros) -> Result<(), unefois_ledger::Error> {
    if hour(now) != *tallied {
        // What is past its time goes whether the counts are written or not.
        let counted = ledger.tally(now).await;
        ledger.purge(now).await?;
        counted?;
        *tallied = hour(now);
    }
    Ok(())
}

async fn sweep(authority: &Authority) -> Result<(), Error> {
    let now = authority.clock.now();
    let mut tx = authority.db.begin().await?;
    session::session_sweep(&mut tx, now.plus_ms(-SESSION_KEPT_MS)).await?;
    request::request_sweep(&mut tx, now, now.secs().div_euclid(86_400)).await?;
    grant::token_sweep(&mut tx, now.plus_ms(-TOKEN_KEPT_MS)).await?;
    opposition::opposition_sweep(&mut tx, now).await?;
    mandate::mandate_sweep(&mut tx, now.plus_ms(-KEPT_MS), now.plus_ms(-UNUSED_KEPT_MS)).await?;
    tx.commit().await?;
    // A row that cannot be logged stands in no other's way.
    let withdrawals = authority.log_missing_withdrawals().await;
    let filled = authority.fill_near_digests().await;
    let mandates = authority.fill_mandates().await;
    authority.log_missing_oppositions().await?;
    authority.log_missing_mandates().await?;
    authority.log_missing_orders().await?;
    Effects::log_missing(&authority.journal, &authority.published.edition()).await?;
    filled.and(mandates).and(withdrawals)
}

#[cfg(test)]
mod tests {
    use unefois_core::commitment::NodeKey;
    use unefois_core::{Clock as _, Entry, Event, Handle, Random, Reason, RevocationView, Sha256};
    use unefois_ledger::{Begin, ClaimMode, ClaimRequest, Draft, GateState, Release, ReleaseDraft};
    use unefois_mesh::{SystemClock, SystemRandom};
    use unefois_store::{Component, Db};
    use unefois_tlog::SignerKey;

    use super::*;
    use crate::database::TestDatabase;

    async fn open(db: Db) -> Ledger {
        let keys = unefois_ledger::Keys {
            signer: SignerKey::new("autorite.example/1".parse().unwrap(), &[1; 32]),
            node_key: NodeKey::new(&[1; 32]),
        };
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom::new()));
        Ledger::open(db, keys, unefois_ledger::Safeguards::default(), clock, random)
            .await
            .unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn i8_each_hour_is_tallied_once() {
        let database = TestDatabase::sqlite();
        let db = Db::open(database.url(), Component::Authority).await.unwrap();
        let ledger = open(db).await;
        let now = SystemClock.now();
        let mut tallied = hour(now);
        for hours in [0, 1, 1, 2] {
            let at = now.plus_ms(hours * 3_600_000);
            hourly(&ledger, &mut tallied, at).await.unwrap();
        }
        let entries = ledger.entries(0, u64::MAX).await.unwrap();
        let events = entries.iter().map(|bytes| Entry::decode(bytes).unwrap().event);
        assert_eq!(events.collect::<Vec<_>>(), [Event::Tally, Event::Tally]);

        ledger.close().await;
        let later = now.plus_ms(3 * 3_600_000);
        assert!(hourly(&ledger, &mut tallied, later).await.is_err());
        assert_ne!(tallied, hour(later), "the next minute tries again");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn i2_what_is_past_its_time_goes_though_no_tally_is_written() {
        let database = TestDatabase::sqlite();
        let db = Db::open(database.url(), Component::Authority).await.unwrap();
        let ledger = open(db).await;
        let now = SystemClock.now();
        let random: &dyn Random = &SystemRandom::new();
        let request = |n: u8| ClaimRequest {
            handle: Handle::from_bytes([7; 16]),
            mode: ClaimMode::Once,
            client: "urn:unefois:participant:21920023500014".parse().unwrap(),
            request_id: random.exchange_id(now),
            request_hash: Sha256::of(&[n]),
        };
        let attempt = ledger.attempt(request(1)).unwrap();
        let release = ReleaseDraft {
            draft: Draft::new(Entry::new(Event::Refused, now)),
            payload: Sha256::of(b"payload"),
            gate: Arc::new(|| GateState::Open(RevocationView::NONE)),
        };
        let released = ledger.release(&attempt, release).await.unwrap();
        assert!(matches!(released, Release::Claimed(_)), "{released:?}");
        drop(attempt);
        let another = ledger.begin(request(2)).await.unwrap();
        assert!(
            matches!(another, Begin::Refused(Reason::TokenConsumed)),
            "{another:?}"
        );

        ledger.close().await;
        let later = now.plus_ms(25 * 3_600_000);
        assert!(hourly(&ledger, &mut hour(now), later).await.is_err());
        let another = ledger.begin(request(2)).await.unwrap();
        assert!(matches!(another, Begin::First(_)), "{another:?}");
    }
}
