//! What a consuming node refuses its own house.

use std::path::PathBuf;

use hyper_util::rt::TokioIo;
use kit::canary::Canaries;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use unefois::demo::persona::Persona;
use unefois::demo::world::CLAMART_BACK;
use unefois_proto::pb::backoffice::v1::backoffice_service_client::BackofficeServiceClient;
use unefois_proto::pb::backoffice::v1::subject_binding::Binding;
use unefois_proto::pb::backoffice::v1::{
    Capacity, CompleteAuthorizationRequest, ElementRequest, FetchRequest, GiveBackRequest, ListGrantsRequest,
    Need, RequestAuthorizationRequest, SubjectBinding, SubjectForm, SubjectKind, UnitRequest, Way,
};

use super::Told;

/// Everything that is wrong, at the socket; `person` is whom the files are about, `handles` what was granted.
pub(crate) async fn backoffice(
    socket: PathBuf,
    person: &Persona,
    handles: &[String],
    canaries: &mut Canaries,
    told: &mut Told,
) {
    let mut client = BackofficeServiceClient::new(unix(socket));
    let mut canary = |field: &str| canaries.plant(field);
    let good = request(person, &canary("a dossier"));
    let change = |change: &mut dyn FnMut(&mut RequestAuthorizationRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let form = |family: String, given: String, born: String| {
        Some(SubjectBinding {
            binding: Some(Binding::Form(SubjectForm {
                family_name: family,
                first_given_name: given,
                birthdate: born,
            })),
        })
    };
    for (door, request) in [
        (
            "demarche",
            change(&mut |r| r.demarche = canary("demarche at the back-office")),
        ),
        (
            "another demarche",
            change(&mut |r| r.demarche = canary("demarche").to_lowercase()),
        ),
        (
            "habilitation",
            change(&mut |r| r.habilitation = canary("habilitation")),
        ),
        (
            "dossier_ref",
            change(&mut |r| r.dossier_ref = canary("a long dossier").repeat(9)),
        ),
        (
            "datatype",
            change(&mut |r| r.elements[0].datatype = canary("a datatype")),
        ),
        (
            "another datatype",
            change(&mut |r| r.elements[0].datatype = format!("{}/x@1", canary("a datatype").to_lowercase())),
        ),
        (
            "unit",
            change(&mut |r| r.elements[0].units[0].unit = canary("a unit")),
        ),
        (
            "another unit",
            change(&mut |r| r.elements[0].units[0].unit = canary("a unit").to_lowercase()),
        ),
        (
            "period",
            change(&mut |r| r.elements[0].period = canary("a period")),
        ),
        (
            "redirect_uri",
            change(&mut |r| r.redirect_uri = format!("https://{}.example/", canary("redirect_uri"))),
        ),
        (
            "session",
            change(&mut |r| r.session = canary("a long session").repeat(99)),
        ),
        (
            "birthdate",
            change(&mut |r| {
                r.binding = form(canary("a name"), canary("a given name"), canary("a birth date"))
            }),
        ),
        (
            "no names",
            change(&mut |r| r.binding = form(String::new(), canary("a given name"), canary("a birth date"))),
        ),
        ("no binding", change(&mut |r| r.binding = None)),
        (
            "unbound",
            change(&mut |r| {
                r.binding = Some(SubjectBinding {
                    binding: Some(Binding::UnboundReason(canary("a reason"))),
                })
            }),
        ),
        ("agent", change(&mut |r| r.way = Way::Agent.into())),
    ] {
        told.status(door, client.request_authorization(request).await);
    }
    for (door, error) in [
        ("an unknown state", String::new()),
        ("an unknown error", canary("an error")),
    ] {
        let request = CompleteAuthorizationRequest {
            code: if error.is_empty() {
                canary("a code")
            } else {
                String::new()
            },
            state: canary("a state"),
            iss: canary("an issuer"),
            error,
            session: canary("a session"),
        };
        told.status(door, client.complete_authorization(request).await);
    }
    for error in [canary("an error of a browser's"), "server_error".to_owned()] {
        let asked = client
            .request_authorization(good.clone())
            .await
            .unwrap()
            .into_inner();
        let request = CompleteAuthorizationRequest {
            state: asked.state,
            iss: asked.url.split("/as/").next().unwrap_or_default().to_owned(),
            error,
            session: good.session.clone(),
            ..Default::default()
        };
        told.status("a browser's error", client.complete_authorization(request).await);
    }
    let asked = client
        .request_authorization(good.clone())
        .await
        .unwrap()
        .into_inner();
    let request = CompleteAuthorizationRequest {
        code: canary("a code that the authority never gave"),
        state: asked.state,
        iss: asked.url.split("/as/").next().unwrap_or_default().to_owned(),
        session: good.session.clone(),
        ..Default::default()
    };
    told.status("a wrong code", client.complete_authorization(request).await);

    for request in [
        FetchRequest {
            handle: canary("a handle"),
            ..Default::default()
        },
        FetchRequest {
            handle: handles[0].clone(),
            request_id: canary("a request id"),
            ..Default::default()
        },
        FetchRequest {
            handle: handles[0].clone(),
            units: vec![canary("a unit to fetch")],
            ..Default::default()
        },
        FetchRequest {
            handle: handles[0].clone(),
            units: vec![canary("a unit").to_lowercase()],
            ..Default::default()
        },
        // Its source answers nonsense.
        FetchRequest {
            handle: handles[0].clone(),
            ..Default::default()
        },
    ] {
        told.status("Fetch", client.fetch(request).await);
    }
    let request = ListGrantsRequest {
        page_token: canary("a page token"),
        ..Default::default()
    };
    told.status("ListGrants", client.list_grants(request).await);
    let request = GiveBackRequest {
        grant_id: format!("{}/é", canary("a grant to give back")),
    };
    told.status("GiveBack", client.give_back(request).await);
}

fn request(person: &Persona, dossier: &str) -> RequestAuthorizationRequest {
    let form = SubjectForm {
        family_name: person.family_name.to_owned(),
        first_given_name: person.given_name_array[0].to_owned(),
        birthdate: person.birthdate.to_owned(),
    };
    let unit = UnitRequest {
        unit: "valeur".to_owned(),
        need: Need::Required.into(),
    };
    RequestAuthorizationRequest {
        way: Way::Present.into(),
        demarche: "cantine".to_owned(),
        dossier_ref: dossier.to_owned(),
        elements: vec![ElementRequest {
            datatype: "cnaf/quotient-familial@1".to_owned(),
            units: vec![unit],
            period: String::new(),
        }],
        subject: SubjectKind::Self_.into(),
        capacity: Capacity::Self_.into(),
        binding: Some(SubjectBinding {
            binding: Some(Binding::Form(form)),
        }),
        redirect_uri: CLAMART_BACK.to_owned(),
        session: format!("session-of-{dossier}"),
        ..Default::default()
    }
}

fn unix(path: PathBuf) -> Channel {
    let connect = move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    };
    Endpoint::from_static("http://backoffice").connect_with_connector_lazy(tower::service_fn(connect))
}
