//! How many people entries concern: asked by auditors, answered with numbers alone, recorded.

use tonic::Status;
use unefois_core::{Entry, Event, Micros};
use unefois_ledger::{About, Draft, Ledger, LedgerService};
use unefois_mesh::PeerId;
use unefois_mesh::status::reason_of;
use unefois_proto::pb::ledger::v1::ledger_service_server::LedgerService as _;
use unefois_proto::pb::ledger::v1::{CountPersonsRequest, CountPersonsResponse, Places};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::raw::Raw;
use crate::scene::{Scene, consumer};
use crate::service::{assert_not_entitled, auditor, authority, from, lent};

both_databases![
    i6_only_an_auditor_counts_people,
    malformed_places_are_refused_by_their_field,
    each_person_counts_once_over_entries_and_logs,
    an_erased_index_counts_nobody,
];

fn places(of: &[(&Ledger, &[u64])]) -> CountPersonsRequest {
    let of_log = |(log, indexes): &(&Ledger, &[u64])| Places {
        origin: log.origin().to_string(),
        indexes: indexes.to_vec(),
    };
    CountPersonsRequest {
        places: of.iter().map(of_log).collect(),
        purpose: "incident 7".to_owned(),
    }
}

async fn count(
    service: &LedgerService,
    peer: PeerId,
    question: CountPersonsRequest,
) -> Result<CountPersonsResponse, Status> {
    Ok(service.count_persons(from(peer, question)).await?.into_inner())
}

/// Writes an entry about these people.
async fn about(scene: &Scene, log: &Ledger, persons: &[&str]) -> u64 {
    let draft = Draft::new(Entry::new(Event::Released, Micros::new(0))).about(About {
        handle: Some(scene.handle()),
        secret: None,
        persons: persons.iter().map(|person| person.as_bytes().to_vec()).collect(),
    });
    log.append(draft).await.unwrap().index()
}

async fn i6_only_an_auditor_counts_people(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let log = scene.open(1).await;
    about(&scene, &log, &["a"]).await;
    let service = LedgerService::new(vec![log.clone()], authority(), lent());
    for peer in [consumer(), authority()] {
        let asked = count(&service, PeerId::Participant(peer), places(&[(&log, &[0])])).await;
        assert_not_entitled(asked);
    }
    let size = log.head().size;
    count(&service, auditor(), places(&[(&log, &[0])])).await.unwrap();
    assert_eq!(log.head().size, size + 1, "the question is an entry");
    let last = log.entries(size, size + 1).await.unwrap().remove(0);
    assert_eq!(Entry::decode(&last).unwrap().event, Event::Queried);
    log.close().await;
    let unrecorded = count(&service, auditor(), places(&[(&log, &[0])])).await;
    assert!(unrecorded.is_err(), "nothing is told unrecorded");
}

async fn malformed_places_are_refused_by_their_field(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let log = scene.open(1).await;
    about(&scene, &log, &["a"]).await;
    let service = LedgerService::new(vec![log.clone()], authority(), lent());
    let many: Vec<u64> = (0..50_001).collect();
    let mut unknown = places(&[(&log, &[0])]);
    unknown.places[0].origin = "urn:unefois:participant:18003506500010/9".to_owned();
    let mut long = places(&[(&log, &[0])]);
    long.purpose = "x".repeat(513);
    for wrong in [
        CountPersonsRequest::default(),
        places(&[(&log, &[])]),
        places(&[(&log, &[0, 0])]),
        places(&[(&log, &[1, 0])]),
        places(&[(&log, &[1])]),
        places(&[(&log, &many)]),
        places(&[(&log, &[0]), (&log, &[0])]),
        unknown,
        long,
    ] {
        let refused = count(&service, auditor(), wrong).await.expect_err("malformed");
        assert_eq!(reason_of(&refused), Some(unefois_core::Reason::InvalidRequest));
    }
    assert_eq!(log.head().size, 1, "what is malformed is no question");
}

async fn each_person_counts_once_over_entries_and_logs(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let (one, two) = (scene.open(1).await, scene.open(2).await);
    let household = about(&scene, &one, &["a", "b"]).await;
    let again = about(&scene, &one, &["a"]).await;
    let nobody = about(&scene, &one, &[]).await;
    let elsewhere = about(&scene, &two, &["b", "c"]).await;
    let service = LedgerService::new(vec![one.clone()], authority(), lent());
    let asked = places(&[(&one, &[household, again, nobody]), (&two, &[elsewhere])]);
    let counted = count(&service, auditor(), asked).await.unwrap();
    let expected = CountPersonsResponse {
        persons: 3,
        entries_with_persons: 3,
        handles: 4,
        entries_with_handles: 4,
    };
    assert_eq!(counted, expected);
    let counted = count(&service, auditor(), places(&[(&one, &[again])]))
        .await
        .unwrap();
    assert_eq!((counted.persons, counted.handles), (1, 1));
}

async fn an_erased_index_counts_nobody(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let log = scene.open(1).await;
    let index = about(&scene, &log, &["a"]).await;
    let mut raw = Raw::open(&scene.database).await;
    raw.execute("DELETE FROM person_index").await;
    let service = LedgerService::new(vec![log.clone()], authority(), lent());
    let counted = count(&service, auditor(), places(&[(&log, &[index])]))
        .await
        .unwrap();
    assert_eq!((counted.persons, counted.entries_with_persons), (0, 0));
    assert_eq!(counted.handles, 1);
}
