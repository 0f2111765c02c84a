//! What telemetry changes for the whole process, in a process of its own.

use kit::canary::{Canaries, Signal};
use kit::capture::Captured;
use unefois::telemetry::{self, Error};

#[tokio::test(flavor = "multi_thread")]
async fn panics_keep_their_text_and_the_filter_changes_while_running() {
    let captured = Captured::start().await.unwrap();
    let mut canaries = Canaries::default();
    let value = canaries.plant("value in a panic");

    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(telemetry::log_panic));
    let ended = std::thread::Builder::new().name("worker".to_owned());
    let ended = ended
        .spawn(move || panic!("cannot handle {value}"))
        .unwrap()
        .join();
    std::panic::set_hook(hook);
    assert!(ended.is_err());
    let logs = captured.logs();
    assert!(logs.contains("process.rs") && logs.contains("worker"), "{logs}");
    assert_eq!(canaries.hits(&[Signal::new("logs", logs)]), []);

    let again = telemetry::init_to(&telemetry::Config::default(), std::io::sink);
    assert!(matches!(again, Err(Error::AlreadyStarted)));

    captured.telemetry.set_log_filter("eror").unwrap_err();
    tracing::debug!(target: "unefois_node", "seen while the filter is trace");
    captured
        .telemetry
        .set_log_filter("warn,unefois_node::consumer=info")
        .unwrap();
    tracing::info!(target: "unefois_node", "silenced");
    tracing::info!(target: "unefois_node::consumer", "spared");
    let logs = captured.logs();
    assert!(
        logs.contains("seen while the filter is trace") && logs.contains("spared"),
        "{logs}"
    );
    assert!(!logs.contains("silenced"), "{logs}");

    tracing::info_span!(target: "unefois_node", "last").in_scope(|| ());
    let Captured {
        telemetry, collector, ..
    } = captured;
    telemetry.shutdown().await.unwrap();
    assert!(collector.spans().iter().any(|span| span.name == "last"));
}
