//! `audit reconcile` over two logs whose keepers lie: one entry dropped, one changed, one invented, at either end.

use std::collections::BTreeSet;

use unefois::demo::world::{CLAMART, CNAF, MESR, World};
use unefois_core::{Entry, Event, ExchangeId};

use crate::mesh::{Mesh, audit, audit_text, blocking, said};
use crate::served::{Keeper, Serving};

/// What `audit reconcile` finds: its exit code, and each exchange with its cause.
fn reconcile(world: &World) -> (i32, BTreeSet<(String, String)>) {
    let output = audit(world, &["reconcile", CNAF, CLAMART, "--under-way", "0"]);
    let (code, lines) = said(&output);
    let [line] = lines.as_slice() else {
        unreachable!("{}", String::from_utf8_lossy(&output.stderr))
    };
    let findings = line["findings"].as_array().unwrap().iter();
    let found = findings.map(|f| (text(&f["exchange_id"]), text(&f["cause"])));
    (code, found.collect())
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap().to_owned()
}

async fn reconcile_forged(
    world: &World,
    cnaf: &[Vec<u8>],
    clamart: &[Vec<u8>],
) -> (i32, BTreeSet<(String, String)>) {
    let serving = serve(world, cnaf, clamart).await;
    let world = world.clone();
    let found = blocking(move || reconcile(&world)).await;
    serving.end().await;
    found
}

/// Serves these two logs in their keepers' names.
async fn serve(world: &World, cnaf: &[Vec<u8>], clamart: &[Vec<u8>]) -> Serving {
    let keepers = vec![
        Keeper {
            member: "cnaf",
            port: world.ports.cnaf,
            entries: cnaf.to_vec(),
            confirmed: Vec::new(),
        },
        Keeper {
            member: "clamart",
            port: world.ports.clamart,
            entries: clamart.to_vec(),
            confirmed: Vec::new(),
        },
    ];
    Serving::begin(world, keepers).await
}

/// The places and exchanges of the entries of `event`.
fn of_event(entries: &[Vec<u8>], event: Event) -> Vec<(usize, ExchangeId)> {
    let decoded = entries.iter().map(|bytes| Entry::decode(bytes).unwrap());
    let places = decoded.enumerate().filter(|(_, entry)| entry.event == event);
    places
        .map(|(place, entry)| (place, entry.exchange_id.unwrap()))
        .collect()
}

fn changed(bytes: &[u8], change: impl FnOnce(&mut Entry)) -> Vec<u8> {
    let mut entry = Entry::decode(bytes).unwrap();
    change(&mut entry);
    entry.encode()
}

/// Another exchange drawn in the same millisecond.
fn another(exchange: &ExchangeId) -> ExchangeId {
    let mut bytes = *exchange.as_bytes();
    bytes[15] ^= 1;
    uuid::Uuid::from_bytes(bytes).try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_each_lie_of_either_keeper_is_found_and_nothing_else() {
    let mesh = Mesh::with_exchanges(3).await;
    let world = mesh.world.clone();
    let honest = world.clone();
    let found = blocking(move || reconcile(&honest)).await;
    assert_eq!(found, (0, BTreeSet::new()), "the nodes themselves agree");
    let (cnaf, clamart) = (mesh.entries(CNAF).await, mesh.entries(CLAMART).await);
    mesh.stage.lower().await.unwrap();

    let (released, received) = (
        of_event(&cnaf, Event::Released),
        of_event(&clamart, Event::Received),
    );
    assert_eq!((released.len(), received.len()), (3, 3));
    let expect = |found: &[(&ExchangeId, &str)]| {
        let found = found
            .iter()
            .map(|(id, cause)| (id.to_string(), (*cause).to_owned()));
        (1, found.collect::<BTreeSet<_>>())
    };
    let drop = |entries: &[Vec<u8>], place: usize| {
        let mut entries = entries.to_vec();
        entries.remove(place);
        entries
    };
    let replace = |entries: &[Vec<u8>], place: usize, entry: Vec<u8>| {
        let mut entries = entries.to_vec();
        entries[place] = entry;
        entries
    };
    let insert = |entries: &[Vec<u8>], place: usize, entry: Vec<u8>| {
        let mut entries = entries.to_vec();
        entries.insert(place, entry);
        entries
    };

    let ((at, first), (_, second), (last, third)) = (released[0], released[1], released[2]);
    let dropped = drop(&cnaf, at);
    let found = reconcile_forged(&world, &dropped, &clamart).await;
    assert_eq!(found, expect(&[(&first, "not_at_producer")]));
    let altered = replace(&cnaf, at, changed(&cnaf[at], |e| e.units ^= 2));
    let found = reconcile_forged(&world, &altered, &clamart).await;
    assert_eq!(found, expect(&[(&first, "other_entry")]));
    let new = another(&first);
    let invented = insert(&cnaf, at, changed(&cnaf[at], |e| e.exchange_id = Some(new)));
    let found = reconcile_forged(&world, &invented, &clamart).await;
    assert_eq!(found, expect(&[(&new, "unconfirmed")]));

    let (at, received_first) = received[0];
    assert_eq!(received_first, first);
    let found = reconcile_forged(&world, &cnaf, &drop(&clamart, at)).await;
    assert_eq!(found, expect(&[(&first, "unconfirmed")]));
    let altered = replace(&clamart, at, changed(&clamart[at], |e| e.units ^= 2));
    let found = reconcile_forged(&world, &cnaf, &altered).await;
    assert_eq!(found, expect(&[(&first, "differs")]));
    let invented = insert(&clamart, at, changed(&clamart[at], |e| e.exchange_id = Some(new)));
    let found = reconcile_forged(&world, &cnaf, &invented).await;
    assert_eq!(found, expect(&[(&new, "not_at_producer")]));

    // All at once, one at each end and one invented.
    let forged = replace(&cnaf, last, changed(&cnaf[last], |e| e.units ^= 2));
    let forged = drop(&forged, released[1].0);
    let invented = insert(&clamart, at, changed(&clamart[at], |e| e.exchange_id = Some(new)));
    let found = reconcile_forged(&world, &forged, &invented).await;
    let lies = [
        (&second, "not_at_producer"),
        (&third, "other_entry"),
        (&new, "not_at_producer"),
    ];
    assert_eq!(found, expect(&lies));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_producer_says_of_a_receipt_is_told_as_its_word() {
    let mesh = Mesh::with_exchanges(2).await;
    let world = mesh.world.clone();
    let (cnaf, mut clamart) = (mesh.entries(CNAF).await, mesh.entries(CLAMART).await);
    mesh.stage.lower().await.unwrap();
    // It says that it received from one whom the directory does not list.
    let unlisted = "urn:unefois:participant:18003506501992";
    let (place, _) = of_event(&clamart, Event::Received)[0];
    let stray = changed(&clamart[place], |e| {
        e.event = Event::Refused;
        e.exchange_id = e.exchange_id.map(|id| another(&id));
        e.provider = unlisted.parse().ok();
    });
    clamart.insert(place, stray);
    let released = of_event(&cnaf, Event::Released);
    clamart.retain(|bytes| Entry::decode(bytes).unwrap().event != Event::Received);
    let (said_so, not) = (released[0], released[1]);
    let keepers = vec![
        Keeper {
            member: "cnaf",
            port: world.ports.cnaf,
            entries: cnaf,
            confirmed: vec![u64::try_from(said_so.0).unwrap()],
        },
        Keeper {
            member: "clamart",
            port: world.ports.clamart,
            entries: clamart,
            confirmed: Vec::new(),
        },
    ];
    let serving = Serving::begin(&world, keepers).await;
    let (pair, all) = (world.clone(), world);
    let pair = blocking(move || audit(&pair, &["reconcile", CLAMART, CNAF, "--under-way", "0"])).await;
    // Its log names nobody any more, and another producer is away: what it hides is found all the same.
    let all = blocking(move || audit(&all, &["reconcile", CLAMART, "--all", "--under-way", "0"])).await;
    serving.end().await;
    let expected = [
        (said_so.1.to_string(), Some(true)),
        (not.1.to_string(), Some(false)),
    ];
    // Those who were not compared are told, with what there is with them.
    let (_, lines) = said(&all);
    let uncompared: BTreeSet<(String, u64, String)> = (lines.iter())
        .filter(|line| !line["uncompared"].is_null())
        .map(|line| {
            let cause = text(&line["uncompared"]["cause"]);
            (text(&line["ends"][1]), line["exchanges"].as_u64().unwrap(), cause)
        })
        .collect();
    assert_eq!(
        uncompared,
        BTreeSet::from([
            (unlisted.to_owned(), 1, "no_log".to_owned()),
            (MESR.to_owned(), 0, "unread".to_owned()),
        ])
    );
    for output in [pair, all] {
        let (code, lines) = said(&output);
        let findings = lines[0]["findings"].as_array().unwrap();
        let words: BTreeSet<(String, Option<bool>)> = (findings.iter())
            .map(|f| (text(&f["exchange_id"]), f["acknowledged"].as_bool()))
            .collect();
        assert_eq!((code, words), (1, BTreeSet::from(expected.clone())));
        assert!(findings.iter().all(|f| f["cause"] == "unconfirmed"));
    }
}

/// What is sent and not said to be received is no agreement, whatever else the other end wrote of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_and_not_received_is_shown_as_unconfirmed() {
    let mesh = Mesh::with_exchanges(1).await;
    let world = mesh.world.clone();
    let (cnaf, clamart) = (mesh.entries(CNAF).await, mesh.entries(CLAMART).await);
    mesh.stage.lower().await.unwrap();
    let (sent, exchange) = of_event(&cnaf, Event::Released)[0];
    let (received, _) = of_event(&clamart, Event::Received)[0];
    let exchange = exchange.to_string();
    let instead = |event| {
        let mut entries = clamart.clone();
        entries[received] = changed(&entries[received], |e| {
            e.event = event;
            e.peer_entry_hash = None;
        });
        entries
    };
    let show = |clamart: Vec<Vec<u8>>, asked: Vec<String>| {
        let (world, cnaf) = (world.clone(), cnaf.clone());
        async move {
            let serving = serve(&world, &cnaf, &clamart).await;
            let shown = blocking(move || {
                let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
                let (code, mut lines) = said(&audit(&world, &asked));
                let line = lines.remove(0);
                let findings = line["findings"].as_array().unwrap();
                let causes: Vec<String> = findings.iter().map(|f| text(&f["cause"])).collect();
                (code, causes, audit_text(&world, &asked))
            })
            .await;
            serving.end().await;
            shown
        }
    };
    let args = |participant: &str, what: &str, under_way: &str| {
        let words = ["show", participant, what, "--under-way", under_way];
        words.map(str::to_owned).to_vec()
    };
    const UNCONFIRMED: &str = "envoyé, réception non confirmée";
    for event in [Event::Refused, Event::Unanswered] {
        for (participant, what) in [
            (CNAF, exchange.as_str()),
            (CNAF, &sent.to_string()),
            (CLAMART, &exchange),
        ] {
            let (code, causes, words) = show(instead(event), args(participant, what, "0")).await;
            assert_eq!(
                (code, causes),
                (1, vec!["unconfirmed".to_owned()]),
                "{event} {what}"
            );
            assert!(words.contains(UNCONFIRMED), "{words}");
        }
    }
    // It was written a moment ago: what is missing may still come.
    let (code, _, words) = show(instead(Event::Refused), args(CNAF, &exchange, "600")).await;
    assert_eq!(code, 0);
    assert!(
        words.contains(&format!("{UNCONFIRMED} (peut-être encore en cours)")),
        "{words}"
    );
    let (code, causes, words) = show(clamart.clone(), args(CNAF, &exchange, "0")).await;
    assert_eq!((code, causes.len()), (0, 0), "{words}");
}
