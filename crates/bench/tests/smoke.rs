//! The whole measurement, small, on both databases: what it loads verifies, and every figure is there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use unefois_bench::{Plan, Report, Store, ledger};

async fn measure(store: Store) -> Report {
    let plan = Plan {
        store,
        url: None,
        folder: std::env::temp_dir(),
        load: 20_000,
        appends: 256,
        rounds: 1,
    };
    let report = ledger(&plan, &|_, _, _| {}).await.unwrap();
    for figure in [
        "fdatasync_p50",
        "bytes_core",
        "bytes_all",
        "verify_per_s",
        "search_p99",
        "proof_cold_p50",
        "proof_warm_p50",
        "appends_per_s_1",
        "p50_of_bare",
        "of_bare_64",
        "of_raw_512",
        "cpu_us_512",
    ] {
        let figure = report
            .figure(figure)
            .unwrap_or_else(|| unreachable!("{figure} was not measured"));
        assert!(figure.value.is_finite() && figure.value > 0.0, "{figure:?}");
    }
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    let report = measure(Store::Sqlite).await;
    assert!(report.figure("wal_bytes").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let report = measure(Store::Postgres).await;
    assert!(
        report
            .figure("wal_bytes")
            .is_some_and(|figure| figure.value > 0.0)
    );
}
