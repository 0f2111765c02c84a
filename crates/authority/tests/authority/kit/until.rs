//! Waiting for what comes by itself.

use std::time::Duration;

/// How long it may take, on a machine that has much else to do.
const AT_MOST: Duration = Duration::from_secs(60);
/// Between two looks. The authority bounds what one browser and one peer may ask: who looks without a pause meets that
/// bound instead of what they wait for.
const EVERY: Duration = Duration::from_millis(100);

/// What `look` finds at last.
pub(crate) async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut every = tokio::time::interval(EVERY);
    let found = async {
        loop {
            every.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(AT_MOST, found).await.expect("in time")
}
