//! How often a publisher's node calls a producer in trouble: each body that it hosts has its own budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use unefois_core::Handle;
use unefois_node::consumer::{Consumer, Error, FetchConfig};
use unefois_proto::HandleCall;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::house::House;
use crate::publisher::{granted, hosted, tenant};
use crate::world::World;

both_databases![a_body_that_has_spent_its_retries_takes_none_of_another_s];

/// A producer that hangs up on whoever comes, and how often somebody did; where.
async fn hanging_up() -> (String, Arc<AtomicUsize>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = socket.local_addr().expect("an address").to_string();
    let came = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    TaskTracker::new().spawn(async move {
        while let Ok((connection, _)) = socket.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    (address, came)
}

async fn a_body_that_has_spent_its_retries_takes_none_of_another_s(database: TestDatabase) {
    let world = World::new(&[]).await;
    let (_, jws) = world.change(hosted);
    std::fs::write(world.path("directory.jws"), jws).expect("a file");
    let world = Arc::new(world);
    let (address, came) = hanging_up().await;
    let tenants = [tenant(0), tenant(1), tenant(2)];
    let house = House::hosting(&tenants, &world, database, vec![address]).await;
    let handles = [
        granted(&house, 0).await.elements[0].handle,
        granted(&house, 1).await.elements[0].handle,
        house.granted().await.elements[0].handle,
    ];
    // One retry in a row, and a tenth of one for each fetch.
    let publisher = house.replica_with(FetchConfig {
        retry_budget: 1,
        ..FetchConfig::default()
    });
    let body = |n: usize| publisher.hosting(tenant(n), house.hosted[n].ledger().clone());
    let bodies = [body(0), body(1), publisher.clone()];
    let calls = async |consumer: &Consumer, handle: Handle| {
        let before = came.load(Ordering::SeqCst);
        let call = HandleCall {
            link: None,
            handle,
            request_id: None,
            units: vec![],
        };
        let error = consumer
            .fetch(call, Duration::from_secs(5))
            .await
            .expect_err("nobody answers");
        assert!(matches!(error, Error::Unanswered), "{error}");
        came.load(Ordering::SeqCst) - before
    };
    assert_eq!(calls(&bodies[0], handles[0]).await, 2, "it calls again");
    for _ in 0..2 {
        assert_eq!(calls(&bodies[0], handles[0]).await, 1, "its retry is spent");
    }
    // Neither another body nor the publisher itself is any worse off.
    for n in [1, 2] {
        assert_eq!(calls(&bodies[n], handles[n]).await, 2, "{n} calls again");
        assert_eq!(calls(&bodies[n], handles[n]).await, 1, "{n} has spent its own");
    }
    for body in &bodies {
        body.drained().await;
    }
    house.stop().await;
}
