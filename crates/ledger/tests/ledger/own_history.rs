//! What a person finds by who they are, whoever granted (I12).

use std::sync::Arc;

use unefois_core::{Event, Micros, Reason, SubjectForm};
use unefois_ledger::{Draft, Identity, Ledger, LedgerService, Lent};
use unefois_mesh::{PeerId, status::reason_of};
use unefois_proto::pb::ledger::v1::ledger_service_server::LedgerService as _;
use unefois_proto::pb::ledger::v1::{PersonHistoryPart, PersonHistoryRequest, PersonHistoryResponse};
use unefois_tlog::{Hash, Receipt};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::scene::{Scene, consumer, draft, verifier};
use crate::service::{assert_not_entitled, auditor, authority, from, lent};

both_databases![
    i12_a_person_finds_every_entry_about_them_in_every_log,
    what_namesakes_share_is_near_and_crowds_nothing_out,
    i6_only_the_authority_asks_about_a_person_and_it_is_recorded_once_an_hour,
];

/// « Opens » a text: its name as the subject, and as one named beside another.
fn opens(auditor: Lent) -> Lent {
    Lent {
        identities: Arc::new(|sealed| {
            let name = sealed.strip_prefix("sealed ")?;
            Some(Identity {
                subject: match name.starts_with("shared") {
                    true => SubjectForm::Shared(name.as_bytes().to_vec()),
                    false => SubjectForm::Exact(name.as_bytes().to_vec()),
                },
                beside: vec![format!("beside {name}").into_bytes()],
                near: format!("near {name}").into_bytes(),
            })
        }),
        ..auditor
    }
}

fn about(names: &[&str]) -> PersonHistoryRequest {
    PersonHistoryRequest {
        identities: names.iter().map(|name| format!("sealed {name}")).collect(),
        ..PersonHistoryRequest::default()
    }
}

async fn ask(service: &LedgerService, request: PersonHistoryRequest) -> PersonHistoryResponse {
    let answer = service
        .person_history(from(PeerId::Participant(authority()), request))
        .await;
    answer.expect("the authority is answered").into_inner()
}

async fn write(scene: &Scene, ledger: &Ledger, persons: &[&str]) -> Vec<u8> {
    let Draft { entry, mut about, .. } = draft(&scene.once(scene.handle()));
    let bytes = |names: Vec<&str>| names.into_iter().map(|name| name.as_bytes().to_vec()).collect();
    let (near, persons) = persons
        .iter()
        .copied()
        .partition(|name| name.starts_with("near "));
    (about.persons, about.aliases) = (bytes(persons), bytes(near));
    let receipt = ledger
        .append(Draft::new(entry).about(about))
        .await
        .expect("written");
    receipt.entry_bytes().to_vec()
}

async fn i12_a_person_finds_every_entry_about_them_in_every_log(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let (one, two) = (scene.open(1).await, scene.open(2).await);
    let mine = write(&scene, &one, &["anna", "beside bob"]).await;
    scene.clock.forward_ms(1_000);
    let since = unefois_core::Clock::now(&*scene.clock);
    write(&scene, &one, &["carl"]).await;
    let beside = write(&scene, &two, &["bob", "beside anna", "near anna"]).await;
    let near = write(&scene, &two, &["anne", "near anna"]).await;

    let service = LedgerService::new(vec![one], authority(), opens(lent()));
    let told = ask(&service, about(&["anna"])).await;
    assert!(!told.truncated);
    let seen: Vec<(Vec<u8>, bool, bool)> = told
        .entries
        .iter()
        .map(|entry| {
            let proved = entry.proved.as_ref().expect("an entry");
            let receipt: Receipt = proved.proof.parse().expect("a proof");
            let shard = if proved.origin.ends_with("/1") { 1 } else { 2 };
            receipt
                .verify(&Hash::of_leaf(&proved.entry), &verifier(shard))
                .expect("proved");
            assert_eq!(proved.handle, [0; 0], "the handle is whoever granted's");
            (proved.entry.clone(), entry.beside, entry.near)
        })
        .collect();
    let expected = [(mine, false, false), (beside, true, false), (near, false, true)];
    assert_eq!(seen, expected);

    // One who is both, under two identities, is told as the subject.
    let both = ask(&service, about(&["anna", "bob"])).await;
    assert_eq!(both.entries.len(), 3);
    assert!(both.entries.iter().all(|entry| !entry.beside));
    let late = PersonHistoryRequest {
        since_us: since.get(),
        ..about(&["anna"])
    };
    let late = ask(&service, late).await;
    assert_eq!(late.entries.len(), 2);
    assert_eq!(ask(&service, about(&["nobody"])).await.entries, []);
}

/// Whoever shares all that is known of them with namesakes is told of nothing as theirs.
async fn what_namesakes_share_is_near_and_crowds_nothing_out(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    write(&scene, &ledger, &["shared anna"]).await;
    let part = async |service: &LedgerService, name: &str, part: PersonHistoryPart| {
        let request = PersonHistoryRequest {
            part: part.into(),
            ..about(&[name])
        };
        let answer = ask(service, request).await;
        let told = answer.entries.iter().map(|entry| (entry.near, entry.beside));
        (told.collect::<Vec<_>>(), answer.truncated)
    };
    let service = LedgerService::new(vec![ledger.clone()], authority(), opens(lent()));
    let near = (vec![(true, false)], false);
    assert_eq!(
        part(&service, "shared anna", PersonHistoryPart::Unspecified).await,
        near
    );
    assert_eq!(part(&service, "shared anna", PersonHistoryPart::Near).await, near);
    assert_eq!(
        part(&service, "shared anna", PersonHistoryPart::Theirs).await,
        (vec![], false)
    );

    // More than an answer holds of namesakes, before the one that is hers.
    let crowd = (0..1_001).map(|_| write(&scene, &ledger, &["anne", "near anna"]));
    futures_util::future::join_all(crowd).await;
    write(&scene, &ledger, &["anna", "near anna"]).await;
    let (told, truncated) = part(&service, "anna", PersonHistoryPart::Unspecified).await;
    assert_eq!((told.contains(&(false, false)), truncated), (false, true));
    assert_eq!(
        part(&service, "anna", PersonHistoryPart::Theirs).await,
        (vec![(false, false)], false)
    );
    let (told, truncated) = part(&service, "anna", PersonHistoryPart::Near).await;
    assert_eq!((told, truncated), (vec![(true, false); 1_000], true));
    ledger.close().await;
}

async fn i6_only_the_authority_asks_about_a_person_and_it_is_recorded_once_an_hour(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let service = LedgerService::new(vec![ledger.clone()], authority(), opens(lent()));
    for peer in [PeerId::Participant(consumer()), auditor()] {
        assert_not_entitled(service.person_history(from(peer, about(&["anna"]))).await);
    }
    let malformed = [
        about(&[]),
        about(&["anna"; 17]),
        about(&[&"x".repeat(5_000)]),
        PersonHistoryRequest {
            identities: vec!["opened".to_owned()],
            ..PersonHistoryRequest::default()
        },
        PersonHistoryRequest {
            part: 3,
            ..about(&["anna"])
        },
    ];
    for request in malformed {
        let refused = service
            .person_history(from(PeerId::Participant(authority()), request))
            .await;
        assert_eq!(
            reason_of(&refused.expect_err("malformed")),
            Some(Reason::InvalidRequest)
        );
    }
    assert_eq!(ledger.head().size, 0, "what was refused read nothing");

    for _ in 0..3 {
        ask(&service, about(&["anna"])).await;
    }
    assert_eq!(ledger.head().size, 1);
    let text = evidence(&ledger, 0).await;
    assert!(text.contains("kind person") && text.contains("rows 0"), "{text}");
    assert!(!text.contains("anna"), "{text}");
    scene.clock.forward_ms(3_600_000);
    ask(&service, about(&["anna"])).await;
    assert_eq!(ledger.head().size, 2);
    ledger
        .tally(Micros::new(1_795_512_305_000_000))
        .await
        .expect("tallied");
    let text = evidence(&ledger, 2).await;
    assert!(text.contains(&format!("read {} 2\n", authority())), "{text}");
    let entries = ledger.entries(0, 3).await.expect("read");
    let events: Vec<Event> = entries
        .iter()
        .map(|bytes| unefois_core::Entry::decode(bytes).expect("an entry").event)
        .collect();
    assert_eq!(events, [Event::Queried, Event::Queried, Event::Tally]);

    // A minute has room for so many and no more.
    let mut refused = None;
    for _ in 0..2_500 {
        let peer = PeerId::Participant(authority());
        if let Err(status) = service.person_history(from(peer, about(&["anna"]))).await {
            refused = Some(status);
            break;
        }
    }
    assert_eq!(refused.as_ref().and_then(reason_of), Some(Reason::Overloaded));
    scene.clock.forward_ms(60_000);
    ask(&service, about(&["anna"])).await;
}

async fn evidence(ledger: &Ledger, index: u64) -> String {
    let evidence = ledger.evidence(index).await.expect("read").expect("kept");
    String::from_utf8(evidence.body).expect("text")
}
