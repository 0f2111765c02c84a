//! The spans of one call, as operations.md names them.

use std::sync::{Arc, Mutex};

use tracing::Subscriber;
use tracing::span::Id;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use unefois_mesh::spans;

use crate::database::TestDatabase;
use crate::world::{World, case};

/// The spans that were entered on this thread, each as its name and those of the spans around it, from the outermost.
#[derive(Clone, Default)]
struct Entered(Arc<Mutex<Vec<Vec<&'static str>>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Entered {
    fn on_enter(&self, id: &Id, spans: Context<'_, S>) {
        let Some(scope) = spans.span_scope(id) else { return };
        let names = scope.from_root().map(|span| span.name()).collect();
        self.0.lock().expect("no panic").push(names);
    }
}

#[tokio::test]
async fn each_step_of_a_call_is_entered_within_it() {
    let entered = Entered::default();
    let subscriber = tracing_subscriber::registry().with(entered.clone());
    // Of one subscriber alone, the library asks whichever thread comes to a span first whether it is of interest: a test
    // beside this one, which has none, would say no for all. Of two it asks both.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let document = r#"{"data":{"montant":900}}"#;
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, document))]).await;
    let database = TestDatabase::sqlite();
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let request = world.request(&world.grant("EXEMPLE", &["montant"]));
    caller.fetch(request).await.expect("a document");

    node.stop().await;

    let entered = entered.0.lock().expect("no panic");
    for name in [
        spans::TOKEN_VERIFY,
        spans::SUBJECT_MATCH,
        spans::SOURCE_CALL,
        spans::LEDGER_APPEND,
        spans::RELEASE,
    ] {
        let within = entered.iter().find(|names| names.last() == Some(&name));
        let within = within.unwrap_or_else(|| unreachable!("{name} is entered"));
        assert_eq!(within.first(), Some(&"call"), "{name}");
    }
}
