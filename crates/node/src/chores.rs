//! What a node does by the clock.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use unefois_ledger::{Ledger, Retention};

use crate::build::Foundation;
use crate::consumer::Consumer;

/// What is due each hour: the tally of each of `logs`, which are all that the process writes, and forgetting claims that nobody can meet any more and what a consumer holds in
/// vain; and, once a month, destroying what is past its time.
pub(crate) async fn chores(
    foundation: Foundation,
    logs: Vec<Ledger>,
    consumer: Option<Consumer>,
    shutdown: CancellationToken,
) {
    const MINUTE: Duration = Duration::from_secs(60);
    let Foundation {
        ledger,
        clock,
        directory,
        ..
    } = foundation;
    let hour = || clock.now().secs().div_euclid(3_600);
    let mut last = hour();
    let mut tallied: Vec<(Ledger, i64)> = logs.into_iter().map(|log| (log, last)).collect();
    let mut retention = Retention::new(ledger.clone());
    let mut every = tokio::time::interval(MINUTE);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = every.tick() => {}
        }
        let now = clock.now();
        // A clock that ran ahead finds the directory expired: it destroys nothing.
        if directory.edition().ground(now).is_ok()
            && let Err(error) = retention.run(now).await
        {
            tracing::error!(
                error = unefois_mesh::status::chain(&error),
                "what is past its time is not destroyed"
            );
        }
        for (log, last) in tallied.iter_mut().filter(|(_, last)| *last != hour()) {
            match log.tally(now).await {
                Ok(_) => *last = hour(),
                Err(error) => tracing::error!(
                    log = %log.origin(),
                    error = unefois_mesh::status::chain(&error),
                    "the hourly tally is not written"
                ),
            }
        }
        // What is past its time goes whether the counts are written or not.
        if hour() == last {
            continue;
        }
        match ledger.purge(now).await {
            Ok(_) => last = hour(),
            Err(error) => tracing::error!(
                error = unefois_mesh::status::chain(&error),
                "claims that nobody can meet any more are not forgotten"
            ),
        }
        if let Some(consumer) = &consumer
            && let Err(error) = consumer.sweep().await
        {
            tracing::error!(
                error = unefois_mesh::status::chain(&error),
                "what a consumer holds in vain is not deleted"
            );
        }
    }
}
