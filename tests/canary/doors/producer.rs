//! What producers refuse.

use kit::canary::Canaries;
use unefois::demo::world::{AUTHORITY, CNAF, MESR};
use unefois_proto::pb::exchange::v1::FetchRequest;
use unefois_proto::pb::ledger::v1::ledger_service_client::LedgerServiceClient;
use unefois_proto::pb::ledger::v1::{
    CountPersonsRequest, DiscloseRequest, EntryFilter, GetProofRequest, HistoryRequest, ListEntriesRequest,
    Order, PersonHistoryRequest, Places, SearchRequest, SearchSubjectRequest, WatchRequest,
};

use super::{Source, Told};
use crate::participant::{Element, Participant};
use crate::person::Person;

/// Calls of Lyon's that are wrong, and good ones of another's.
pub(crate) async fn malformed(
    lyon: &Participant,
    other: &Participant,
    element: &Element,
    canaries: &mut Canaries,
    told: &mut Told,
) {
    let mut canary = |field: &str| canaries.plant(field);
    let change = |change: &mut dyn FnMut(&mut FetchRequest)| {
        let mut request = element.request();
        change(&mut request);
        request
    };
    let (header, rest) = element.access_token.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let last = if signature.ends_with('A') { 'Q' } else { 'A' };
    let forged = format!("{header}.{payload}.{}{last}", &signature[..signature.len() - 1]);
    let unsigned = format!("{header}.{}.{signature}", canary("a token's claims"));
    for (door, request) in [
        ("a forged token", change(&mut |r| r.access_token = forged.clone())),
        (
            "a token of other claims",
            change(&mut |r| r.access_token = unsigned.clone()),
        ),
        (
            "no token",
            change(&mut |r| r.access_token = canary("a wrong token")),
        ),
        (
            "a wrong pivot",
            change(&mut |r| r.pivot_jwe = canary("a wrong pivot")),
        ),
        (
            "a wrong request id",
            change(&mut |r| r.request_id = canary("a wrong request id")),
        ),
        (
            "a wrong datatype",
            change(&mut |r| r.datatype = canary("a wrong datatype")),
        ),
        (
            "another datatype",
            change(&mut |r| r.datatype = format!("{}/x@1", canary("another datatype").to_lowercase())),
        ),
        (
            "a wrong unit",
            change(&mut |r| r.units = vec![canary("a wrong unit")]),
        ),
        (
            "another unit",
            change(&mut |r| r.units = vec![canary("another unit").to_lowercase()]),
        ),
        (
            "a wrong period",
            change(&mut |r| r.period = canary("a wrong period")),
        ),
        (
            "a wrong démarche",
            change(&mut |r| r.demarche = canary("a wrong démarche")),
        ),
        (
            "another démarche",
            change(&mut |r| r.demarche = canary("another démarche").to_lowercase()),
        ),
        (
            "another dossier",
            change(&mut |r| r.dossier_ref = canary("another dossier")),
        ),
        (
            "a long dossier",
            change(&mut |r| r.dossier_ref = canary("a long dossier").repeat(9)),
        ),
        (
            "a wrong nonce",
            change(&mut |r| r.nonce = canary("a wrong nonce").into_bytes()),
        ),
        (
            "a wrong acknowledgement",
            change(&mut |r| r.acknowledged = vec![canary("a wrong leaf").into_bytes()]),
        ),
        (
            "a wrong origin",
            change(&mut |r| r.known_origin = canary("a wrong origin")),
        ),
        (
            "a wrong checkpoint",
            change(&mut |r| r.caller_checkpoint = canary("a wrong checkpoint")),
        ),
    ] {
        told.status(door, lyon.fetch(CNAF, request).await);
    }
    told.status(
        "a token of another producer's",
        lyon.fetch(MESR, element.request()).await,
    );
    told.status(
        "a token bound to another certificate",
        other.fetch(CNAF, element.request()).await,
    );

    let mut ledger = LedgerServiceClient::new(lyon.channel(CNAF));
    let request = ListEntriesRequest {
        origin: canary("an origin at the producer"),
        ..Default::default()
    };
    told.status("ListEntries", ledger.list_entries(request).await);
    for (door, filter) in [
        (
            "Search by a name",
            EntryFilter {
                requester: canary("a requester searched for"),
                exchange_id: canary("an exchange searched for"),
                events: vec![canary("an event searched for")],
                ..Default::default()
            },
        ),
        (
            "Search of what names another",
            EntryFilter {
                party: AUTHORITY.to_owned(),
                ..Default::default()
            },
        ),
    ] {
        let request = SearchRequest {
            origin: canary("an origin searched"),
            filter: Some(filter),
            order: Order::NewestFirst.into(),
            limit: 1,
            purpose: canary("why it is searched"),
            ..Default::default()
        };
        told.status(door, ledger.search(request).await);
    }
    let request = SearchRequest {
        cursor: canary("a cursor").into_bytes(),
        limit: 1,
        ..Default::default()
    };
    told.status("Search by a cursor", ledger.search(request).await);
    let request = GetProofRequest {
        origin: canary("an origin to prove"),
        indexes: vec![0],
        purpose: canary("why it is proved"),
        ..Default::default()
    };
    told.status("GetProof", ledger.get_proof(request).await);
    let request = CountPersonsRequest {
        places: vec![Places {
            origin: canary("an origin to count in"),
            indexes: vec![0],
        }],
        purpose: canary("why people are counted"),
        filter: Some(EntryFilter {
            party: canary("a participant counted with"),
            ..Default::default()
        }),
        participant: canary("a participant counted for"),
    };
    told.status("CountPersons", ledger.count_persons(request).await);
    let request = PersonHistoryRequest {
        identities: vec![canary("an identity that was not sealed")],
        ..Default::default()
    };
    told.status("PersonHistory", ledger.person_history(request).await);
    let request = DiscloseRequest {
        origin: canary("an origin to disclose from"),
        exchange_id: canary("an exchange to disclose"),
        motive: canary("why it is disclosed"),
        index: None,
    };
    told.status("Disclose", ledger.disclose(request).await);
    let request = SearchSubjectRequest {
        origin: canary("an origin searched for somebody"),
        request: canary("a request about somebody"),
    };
    told.status("SearchSubject", ledger.search_subject(request).await);
    let request = WatchRequest {
        origin: canary("an origin watched"),
        purpose: canary("why it is watched"),
        ..Default::default()
    };
    told.status("Watch", ledger.watch(request).await);
    let request = HistoryRequest {
        handles: vec![canary("a handle of a history").into_bytes()],
        ..Default::default()
    };
    told.status("History", ledger.history(request).await);
    // A method that is none.
    let mut grpc = tonic::client::Grpc::new(lyon.channel(CNAF));
    grpc.ready().await.unwrap();
    let path = format!("/{}.v1.Service/{}", canary("a service"), canary("a method"));
    let codec = tonic_prost::ProstCodec::<FetchRequest, FetchRequest>::default();
    let answer = grpc
        .unary(
            tonic::Request::new(element.request()),
            path.parse().unwrap(),
            codec,
        )
        .await;
    told.status("no method", answer);
}

/// The source answers everything that it may not.
pub(crate) async fn source_fails(
    lyon: &Participant,
    source: &Source,
    person: &Person,
    element: &Element,
    canaries: &mut Canaries,
    told: &mut Told,
) {
    let good = &person.quotient_familial;
    let spoilt = person.spoilt(canaries);
    let none = || ("x-none", String::new());
    let mut canary = |field: &str| canaries.plant(field);
    for (door, status, header, body) in [
        ("an amount that breaks the schema", 200, none(), spoilt),
        ("half an answer", 200, none(), good[..good.len() / 2].to_owned()),
        (
            "a page",
            200,
            ("content-type", "text/html".to_owned()),
            format!("<h1>{}</h1>", canary("a source's page")),
        ),
        (
            "a member twice",
            200,
            none(),
            good.replacen(
                "\"data\"",
                &format!("\"data\": \"{}\", \"data\"", canary("a member twice")),
                1,
            ),
        ),
        (
            "a member of another kind",
            200,
            none(),
            good.replacen(
                "\"annee\": 2026",
                &format!("\"annee\": \"{}\"", canary("a year")),
                1,
            ),
        ),
        (
            "no member",
            200,
            none(),
            good.replacen("\"valeur\"", &format!("\"{}\"", canary("another member")), 1),
        ),
        (
            "an enum",
            200,
            none(),
            good.replacen("\"CNAF\"", &format!("\"{}\"", canary("another fund")), 1),
        ),
        ("a list", 200, none(), format!("[{good}]")),
        (
            "not found",
            404,
            none(),
            format!(
                r#"{{"errors":[{{"code":"{}","detail":"{}"}}]}}"#,
                canary("a code of an error"),
                person.persona.family_name
            ),
        ),
        ("refused", 403, none(), good.clone()),
        (
            "elsewhere",
            302,
            ("location", format!("http://127.0.0.1:9/{}", canary("a redirect"))),
            good.clone(),
        ),
        ("too many", 429, ("retry-after", canary("a wait")), good.clone()),
        ("broken", 500, ("x-error", canary("a header")), good.clone()),
        (
            "closed",
            503,
            ("retry-after", "3".to_owned()),
            canary("a closed source"),
        ),
    ] {
        source.answers(status, header, body);
        told.status(door, lyon.fetch(CNAF, element.request()).await);
    }
}

/// Fetches what may be fetched, then again.
pub(crate) async fn consumed(
    lyon: &Participant,
    element: &Element,
    canaries: &mut Canaries,
    told: &mut Told,
) {
    let request = element.request();
    canaries.watch("an exchange's name", &request.request_id);
    let attestation = lyon.fetch(MESR, request).await.unwrap();
    canaries.watch("the content's salt", &attestation.content_salt);
    for part in attestation
        .sd_jwt
        .split(['.', '~'])
        .filter(|part| part.len() >= 20)
    {
        canaries.watch("the attestation", part);
    }
    let again = element.request();
    canaries.watch("an exchange's name", &again.request_id);
    told.status("a handle that served", lyon.fetch(MESR, again).await);
}
