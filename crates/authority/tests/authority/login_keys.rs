//! The keys of an identity provider are believed for an hour: one that it has left out since may have been stolen.

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::Kit;
use crate::login::is_nobody;

both_databases![i10_keys_older_than_an_hour_let_nobody_in];

const HOUR_MS: i64 = 3_600_000;
/// More than this test takes.
const MINUTE_MS: i64 = 60_000;

async fn i10_keys_older_than_an_hour_let_nobody_in(database: TestDatabase) {
    let kit = Kit::on(database).await;
    kit.browser().follow("/fc/connexion").await;
    kit.provider.says.lock().unwrap().without_keys = true;
    // Known since the first login, and good without the provider for as long as that is not an hour ago.
    kit.clock.age(HOUR_MS - MINUTE_MS);
    let mut known = kit.browser();
    known.follow("/fc/connexion").await;
    assert!(!is_nobody(&mut known).await);

    kit.clock.age(MINUTE_MS);
    let mut browser = kit.browser();
    let page = browser.follow("/fc/connexion").await;
    assert!(page.body.contains("ne répond pas correctement"), "{}", page.body);
    assert!(is_nobody(&mut browser).await);
    // Whoever is logged in by then stays so, and the other providers go on.
    assert!(!is_nobody(&mut known).await);
    browser.follow("/fcp/connexion").await;
    assert!(!is_nobody(&mut browser).await);

    kit.provider.says.lock().unwrap().without_keys = false;
    let mut browser = kit.browser();
    browser.follow("/fc/connexion").await;
    assert!(!is_nobody(&mut browser).await);
    kit.stop().await;
}
