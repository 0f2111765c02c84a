//! How many people exchanges concern: asked by auditors, answered with no small number, recorded.

use tonic::Status;
use unefois_core::{Entry, EntryFilter, Event, Micros, ParticipantId};
use unefois_ledger::{About, Draft, Ledger, LedgerService};
use unefois_mesh::PeerId;
use unefois_mesh::status::{Refusal, reason_of};
use unefois_proto::pb::ledger::v1::ledger_service_server::LedgerService as _;
use unefois_proto::pb::ledger::v1::{CountPersonsRequest, CountPersonsResponse, Places};
use unefois_store::evidence::evidence_read;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::raw::Raw;
use crate::scene::{Scene, consumer, producer, stranger};
use crate::service::{assert_not_entitled, auditor, authority, from, lent};

both_databases![
    i6_only_an_auditor_counts_people_and_the_log_says_what_it_asked,
    i6_fewer_than_five_people_or_entries_are_not_told,
    i6_places_of_the_asker_s_choice_are_refused,
    i6_of_several_participants_one_is_named_and_counted_alone,
    each_person_counts_once_over_entries_and_logs_up_to_a_multiple_of_five,
    an_erased_index_counts_nobody,
];

fn about_whom(party: ParticipantId) -> CountPersonsRequest {
    let filter = EntryFilter {
        party: Some(party),
        ..EntryFilter::default()
    };
    CountPersonsRequest {
        filter: Some((&filter).into()),
        purpose: "incident 7".to_owned(),
        ..CountPersonsRequest::default()
    }
}

async fn count(
    service: &LedgerService,
    peer: PeerId,
    question: CountPersonsRequest,
) -> Result<CountPersonsResponse, Status> {
    Ok(service.count_persons(from(peer, question)).await?.into_inner())
}

/// Writes an exchange with the consumer about these people.
async fn about(scene: &Scene, log: &Ledger, persons: &[&str]) {
    with(scene, log, consumer(), persons).await;
}

/// A name that begins with `=` finds a person a second time.
async fn with(scene: &Scene, log: &Ledger, requester: ParticipantId, persons: &[&str]) {
    let (aliases, persons): (Vec<&str>, Vec<&str>) =
        persons.iter().copied().partition(|name| name.starts_with('='));
    let entry = Entry {
        requester: Some(requester),
        provider: Some(producer()),
        ..Entry::new(Event::Released, Micros::new(0))
    };
    let draft = Draft::new(entry).about(About {
        handle: Some(scene.handle()),
        secret: None,
        persons: persons.iter().map(|person| person.as_bytes().to_vec()).collect(),
        aliases: aliases.iter().map(|alias| alias.as_bytes().to_vec()).collect(),
    });
    log.append(draft).await.unwrap();
}

async fn i6_only_an_auditor_counts_people_and_the_log_says_what_it_asked(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let log = scene.open(1).await;
    about(&scene, &log, &["a"]).await;
    let service = LedgerService::new(vec![log.clone()], authority(), lent());
    for peer in [consumer(), authority()] {
        let asked = count(&service, PeerId::Participant(peer), about_whom(consumer())).await;
        assert_not_entitled(asked);
    }
    let size = log.head().size;
    count(&service, auditor(), about_whom(consumer())).await.unwrap();
    assert_eq!(log.head().size, size + 1, "the question is an entry");
    let last = log.entries(size, size + 1).await.unwrap().remove(0);
    assert_eq!(Entry::decode(&last).unwrap().event, Event::Queried);
    let evidence = evidence_read(&scene.db, 1, size).await.unwrap().unwrap();
    let text = String::from_utf8(evidence.body).unwrap();
    let what = format!(
        "what party={} events=released,released_again,withheld,received",
        consumer()
    );
    for line in [
        what.as_str(),
        "kind count_persons",
        "purpose incident 7",
        "rows 1",
    ] {
        assert!(
            text.lines().any(|told| told == line),
            "{line} is missing from\n{text}"
        );
    }
    log.close().await;
    let unrecorded = count(&service, auditor(), about_whom(consumer())).await;
    assert!(unrecorded.is_err(), "nothing is told unrecorded");
}

async fn i6_fewer_than_five_people_or_entries_are_not_told(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let log = scene.open(1).await;
    let service = LedgerService::new(vec![log.clone()], authority(), lent());
    let few = |entries, few_handles: bool| CountPersonsResponse {
        entries,
        few_persons: true,
        few_handles,
        participant: producer().to_string(),
        ..CountPersonsResponse::default()
    };
    let asked = async || count(&service, auditor(), about_whom(consumer())).await.unwrap();
    assert_eq!(asked().await, few(0, true), "nobody is few, too");
    // Many people in few entries, then few people in many entries.
    about(&scene, &log, &["a", "b", "c", "d", "e", "f"]).await;
    assert_eq!(asked().await, few(1, true));
    for person in ["s", "t", "u", "s", "t", "u", "s"] {
        with(&scene, &log, stranger(), &[person]).await;
    }
    let counted = count(&service, auditor(), about_whom(stranger())).await.unwrap();
    assert!(counted.few_persons && !counted.few_handles);
    assert_eq!((counted.persons, counted.entries_with_persons), (0, 0));
    assert_eq!((counted.handles, counted.entries), (10, 7));
}

async fn i6_places_of_the_asker_s_choice_are_refused(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let log = scene.open(1).await;
    for _ in 0..6 {
        about(&scene, &log, &["a"]).await;
    }
    let size = log.head().size;
    let service = LedgerService::new(vec![log.clone()], authority(), lent());
    let narrowed = |narrow: fn(&mut EntryFilter)| {
        let mut filter = EntryFilter {
            party: Some(consumer()),
            ..EntryFilter::default()
        };
        narrow(&mut filter);
        CountPersonsRequest {
            filter: Some((&filter).into()),
            ..about_whom(consumer())
        }
    };
    let by_places = CountPersonsRequest {
        places: vec![Places {
            origin: log.origin().to_string(),
            indexes: vec![0, 1, 2, 3, 4, 5],
        }],
        ..about_whom(consumer())
    };
    let unexplained = CountPersonsRequest {
        purpose: String::new(),
        ..about_whom(consumer())
    };
    for wrong in [
        CountPersonsRequest::default(),
        by_places,
        unexplained,
        narrowed(|filter| filter.first = Some(1)),
        narrowed(|filter| filter.end = Some(5)),
        narrowed(|filter| filter.from = Some(Micros::new(1))),
        narrowed(|filter| filter.to = Some(Micros::new(3_600_000_000))),
        narrowed(|filter| filter.party = None),
    ] {
        let refused = count(&service, auditor(), wrong).await.expect_err("malformed");
        assert_eq!(reason_of(&refused), Some(unefois_core::Reason::InvalidRequest));
    }
    assert_eq!(log.head().size, size, "what is malformed is no question");
}

/// A publisher's node: each body's people are counted apart, and the question stands in that body's log.
async fn i6_of_several_participants_one_is_named_and_counted_alone(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let (own, hosted) = (scene.open(1).await, scene.open_for(stranger()).await);
    for person in ["a", "b", "c", "d", "e"] {
        about(&scene, &own, &[person]).await;
    }
    for person in ["a", "f", "g", "h", "i", "j"] {
        about(&scene, &hosted, &[person]).await;
    }
    let service = LedgerService::new(vec![own.clone(), hosted.clone()], authority(), lent());
    let of = |whose: &str| CountPersonsRequest {
        participant: whose.to_owned(),
        ..about_whom(consumer())
    };
    let sizes = || (own.head().size, hosted.head().size);
    let before = sizes();
    for whose in [String::new(), consumer().to_string()] {
        let refused = count(&service, auditor(), of(&whose)).await.expect_err("whose?");
        let refusal = Refusal::of(&refused).expect("a refusal");
        assert_eq!(refusal.reason, unefois_core::Reason::InvalidRequest);
        let fields: Vec<_> = refusal
            .fields
            .into_iter()
            .map(|f| (f.field, f.description))
            .collect();
        let known = format!("{}, {}", stranger(), producer());
        let form = format!("one whose logs this process writes: {known}");
        assert_eq!(fields, [("participant".to_owned(), form)], "{whose}");
    }
    assert_eq!(sizes(), before, "neither log has a question");

    let mut expected = before;
    for (log, whose, (persons, entries)) in [(&hosted, stranger(), (10, 6)), (&own, producer(), (5, 5))] {
        let counted = count(&service, auditor(), of(&whose.to_string())).await.unwrap();
        assert_eq!((counted.persons, counted.entries), (persons, entries), "{whose}");
        assert_eq!(counted.participant, whose.to_string());
        match whose == stranger() {
            true => expected.1 += 1,
            false => expected.0 += 1,
        }
        assert_eq!(sizes(), expected, "{whose}");
        let last = log
            .entries(log.head().size - 1, log.head().size)
            .await
            .unwrap()
            .remove(0);
        assert_eq!(Entry::decode(&last).unwrap().event, Event::Queried, "{whose}");
    }
    // Without a name, a process that writes for one alone counts for that one, whoever else is in the database.
    let alone = LedgerService::new(vec![hosted.clone()], authority(), lent());
    let counted = count(&alone, auditor(), of("")).await.unwrap();
    assert_eq!(
        (counted.participant, counted.entries),
        (stranger().to_string(), 6)
    );
}

async fn each_person_counts_once_over_entries_and_logs_up_to_a_multiple_of_five(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let (one, two) = (scene.open(1).await, scene.open(2).await);
    about(&scene, &one, &["a", "=source's number of a", "=near a", "b"]).await;
    about(&scene, &one, &["a", "=source's number of a", "c", "d"]).await;
    about(&scene, &one, &[]).await;
    with(&scene, &one, stranger(), &["x", "y", "z"]).await;
    about(&scene, &two, &["b", "e"]).await;
    about(&scene, &two, &["a"]).await;
    let service = LedgerService::new(vec![one.clone()], authority(), lent());
    let expected = CountPersonsResponse {
        persons: 5,
        entries_with_persons: 4,
        handles: 5,
        entries_with_handles: 5,
        entries: 5,
        few_persons: false,
        few_handles: false,
        participant: producer().to_string(),
    };
    let counted = count(&service, auditor(), about_whom(consumer())).await.unwrap();
    assert_eq!(counted, expected);
    let by_number = one.by_person(b"=source's number of a").await.unwrap();
    assert_eq!(by_number, [0, 1], "it finds all the same");
    // Held back before its first byte: nobody is concerned.
    let exchange = "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap();
    for event in [Event::Released, Event::Withheld] {
        let entry = Entry {
            exchange_id: Some(exchange),
            requester: Some(consumer()),
            provider: Some(producer()),
            ..Entry::new(event, Micros::new(0))
        };
        let draft = Draft::new(entry).about(About {
            handle: Some(scene.handle()),
            secret: None,
            persons: vec![b"g".to_vec()],
            ..About::default()
        });
        one.append(draft).await.unwrap();
    }
    let counted = count(&service, auditor(), about_whom(consumer())).await.unwrap();
    assert_eq!(counted, expected);
    about(&scene, &two, &["f"]).await;
    let counted = count(&service, auditor(), about_whom(consumer())).await.unwrap();
    assert_eq!((counted.persons, counted.handles, counted.entries), (10, 10, 6));
}

async fn an_erased_index_counts_nobody(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let log = scene.open(1).await;
    for person in ["a", "b", "c", "d", "e"] {
        about(&scene, &log, &[person]).await;
    }
    let service = LedgerService::new(vec![log.clone()], authority(), lent());
    let before = count(&service, auditor(), about_whom(consumer())).await.unwrap();
    assert_eq!((before.persons, before.entries_with_persons), (5, 5));
    let mut raw = Raw::open(&scene.database).await;
    raw.execute("DELETE FROM person_index").await;
    let after = count(&service, auditor(), about_whom(consumer())).await.unwrap();
    assert!(after.few_persons && (after.persons, after.entries_with_persons) == (0, 0));
    assert_eq!(after.handles, 5);
}
