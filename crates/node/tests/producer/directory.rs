//! A newer directory that the disk does not take: the one in use stays, the log says so, and it is asked for again.

use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use unefois_core::Reason;

use crate::database::TestDatabase;
use crate::world::{WAIT, World, case, until};

const DOCUMENT: &str = r#"{"data":{"montant":900}}"#;

/// What was said on this thread as an error.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    /// Whether it was said that a directory cannot be kept at this place.
    fn told(&self, place: &str) -> bool {
        let said = self.0.lock().expect("no panic");
        said.iter()
            .any(|text| text.contains("a newer directory cannot be kept") && text.contains(place))
    }
}

impl<S: Subscriber> Layer<S> for Said {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{}={value:?} ", field.name());
            }
        }
        if *event.metadata().level() == Level::ERROR {
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().expect("no panic").push(text.0);
        }
    }
}

#[tokio::test]
async fn a_directory_that_the_disk_does_not_take_is_asked_for_again() {
    let said = Said::default();
    let subscriber = tracing_subscriber::registry().with(said.clone());
    // Of one subscriber alone, the library asks whichever thread comes to an event first whether it is of interest: a
    // test beside this one, which has none, would say no for all. Of two it asks both.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))])
        .await
        .unhurried();
    let database = TestDatabase::sqlite();
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let (authority, directory) = (&world.authority.0, &node.foundation.directory);
    let held = directory.edition().directory.version();
    until(|| authority.known() == [held]).await;
    let on_disk = || std::fs::read(world.path("directory.jws")).expect("a file");
    let before = on_disk();

    // What is to be written beside its place cannot be.
    let place = world.path("directory.jws.next");
    std::fs::create_dir(&place).expect("a folder");
    let (version, jws) = world.change(|d| d.habilitations.clear());
    let catalogue = std::fs::read(world.path("catalogue.json")).expect("a file");
    authority.publish(version, jws, catalogue);
    // The stream ends and another is opened, from the version in use.
    until(|| authority.known().len() > 1).await;
    assert!(said.told("directory.jws.next"));
    // The node goes on with the one that it has, which lets the commune ask.
    let request = world.request(&world.grant("EXEMPLE", &["montant"]));
    caller.fetch(request).await.expect("a document");
    assert_eq!(directory.edition().directory.version(), held);
    assert!(authority.known().iter().all(|known| *known == held));
    assert!(on_disk() == before);

    std::fs::remove_dir(&place).expect("the folder is there");
    let mut versions = directory.versions();
    let taken = versions.wait_for(|taken| *taken == version);
    let taken = tokio::time::timeout(WAIT, taken).await.expect("in time");
    drop(taken.expect("the follower lives"));
    assert!(on_disk() != before);
    let request = world.request(&world.grant("EXEMPLE", &["montant"]));
    let (reason, _) = caller.refused(request).await;
    assert_eq!(reason, Reason::NotEntitled);
    node.stop().await;
}
