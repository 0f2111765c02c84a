use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// The calls of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity(watch::Sender<Calls>);

#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    begun: u64,
    under_way: u64,
}

/// A call under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.send_modify(|calls| calls.under_way -= 1);
    }
}

impl Activity {
    /// A call begins.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.0.send_modify(|calls| {
            calls.begun += 1;
            calls.under_way += 1;
        });
        UnderWay(Arc::clone(self))
    }

    /// Returns once no call has been under way for so long.
    pub(super) async fn idle(self: Arc<Self>, so_long: Duration) {
        let mut calls = self.0.subscribe();
        loop {
            let Ok(begun) = calls
                .wait_for(|calls| calls.under_way == 0)
                .await
                .map(|c| c.begun)
            else {
                return;
            };
            let next = calls.wait_for(|calls| calls.begun != begun);
            if tokio::time::timeout(so_long, next).await.is_err() {
                return;
            }
        }
    }
}
