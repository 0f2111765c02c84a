//! The OAuth side of an authority that grants whatever a test tells it to.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use unefois_core::authorization::Need;
use unefois_core::{
    AccessTokenClaims, AuthorizationDetails, Cnf, Handle, Micros, ParticipantId, Random, Sha256,
};
use unefois_mesh::{Identity, Limits, Listener, Peer, Trust};
use unefois_proto::pb::revocation::v1::revocation_service_server::RevocationServiceServer;

use crate::announcer::Announcer;
use crate::pki::Pem;
use crate::world::World;

pub(crate) type Form = BTreeMap<String, String>;

/// Clones share it.
#[derive(Clone)]
pub(crate) struct Oauth(Arc<Inner>);

struct Inner {
    world: Arc<World>,
    /// About whom grants are.
    person: &'static str,
    pushed: Mutex<HashMap<String, Form>>,
    last: Mutex<Form>,
    granted: Mutex<HashMap<Handle, (AccessTokenClaims, String)>>,
    /// What a code gives instead of what was asked.
    change: Mutex<fn(&mut Value)>,
    /// What every call is answered with instead.
    refusal: Mutex<Option<(u16, Value)>>,
    calls: Mutex<Vec<&'static str>>,
    given_back: Mutex<Vec<String>>,
    /// In whose name tokens are minted instead of the certificate's.
    publisher: Mutex<Option<Option<ParticipantId>>>,
    /// The handle that follows one that was narrowed.
    followers: Mutex<HashMap<Handle, Handle>>,
}

impl Oauth {
    /// Serves on the mesh with this certificate; where.
    pub(crate) async fn start(
        world: &Arc<World>,
        pem: &Pem,
        person: &'static str,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
        announcer: Announcer,
    ) -> (Self, String) {
        let oauth = Self(Arc::new(Inner {
            world: Arc::clone(world),
            person,
            pushed: Mutex::default(),
            last: Mutex::default(),
            granted: Mutex::default(),
            change: Mutex::new(|_| {}),
            refusal: Mutex::default(),
            calls: Mutex::default(),
            given_back: Mutex::default(),
            publisher: Mutex::default(),
            followers: Mutex::default(),
        }));
        let trust = Arc::new(Trust::from_pem(&world.ca.cert, &world.ca.crl).expect("trust"));
        let identity = Arc::new(Identity::new(pem.credential()));
        let at = "127.0.0.1:0".parse().expect("an address");
        let everyone = Arc::new(|_: &Peer| Ok(()));
        let listener = Listener::mesh(at, &identity, &trust, everyone, &world.clock, Limits::default());
        let listener = listener.await.expect("a socket");
        let address = listener.local_addr().expect("an address").to_string();
        let router = Router::new()
            .route("/as/par", post(par))
            .route("/as/token", post(token))
            .route("/as/revoke", post(revoke))
            .route("/as/grants/{id}", delete(give_back))
            .with_state(oauth.clone())
            .merge(
                Routes::new(RevocationServiceServer::new(announcer))
                    .into_axum_router()
                    .reset_fallback(),
            );
        tasks.spawn(listener.serve(router, shutdown.clone()));
        (oauth, address)
    }

    /// The form that was sent last.
    pub(crate) fn last(&self) -> Form {
        self.0.last.lock().expect("a lock").clone()
    }

    /// What was pushed for the grant that was given last.
    pub(crate) fn pushed(&self) -> Form {
        self.0.pushed.lock().expect("a lock")["last"].clone()
    }

    /// The endpoints that were called, in order.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.0.calls.lock().expect("a lock").clone()
    }

    pub(crate) fn given_back(&self) -> Vec<String> {
        self.0.given_back.lock().expect("a lock").clone()
    }

    /// Leaves the optional units of a handle out; the handle that follows.
    pub(crate) fn narrow(&self, old: Handle) -> Handle {
        let mut granted = self.0.granted.lock().expect("a lock");
        let (mut claims, pivot_jwe) = granted[&old].clone();
        let next = Handle::draw(self.0.world.clock.now(), &self.0.world.random);
        claims.gh = next;
        let details = &mut claims.authorization_details[0];
        details.gh = Some(next);
        details.units.retain(|asked| asked.need == Need::Required);
        granted.insert(next, (claims, pivot_jwe));
        self.0.followers.lock().expect("a lock").insert(old, next);
        next
    }

    /// Names this publisher, or none, in each token from now on; `None`: the one whose certificate it is.
    pub(crate) fn mint_for(&self, publisher: Option<Option<ParticipantId>>) {
        *self.0.publisher.lock().expect("a lock") = publisher;
    }

    /// Changes what a token answer says from now on.
    pub(crate) fn change(&self, change: fn(&mut Value)) {
        *self.0.change.lock().expect("a lock") = change;
    }

    /// Answers every call so, from now on.
    pub(crate) fn refuse(&self, refusal: Option<(u16, Value)>) {
        *self.0.refusal.lock().expect("a lock") = refusal;
    }

    fn called(&self, endpoint: &'static str, body: &[u8]) -> Result<Form, Box<Response>> {
        let form: Form = url::form_urlencoded::parse(body).into_owned().collect();
        self.0.calls.lock().expect("a lock").push(endpoint);
        *self.0.last.lock().expect("a lock") = form.clone();
        match &*self.0.refusal.lock().expect("a lock") {
            Some((status, body)) => {
                let status = StatusCode::from_u16(*status).expect("a status");
                Err(Box::new((status, body.to_string()).into_response()))
            }
            None => Ok(form),
        }
    }

    fn minted(&self, handle: &Handle, peer: &Peer, details: &[AuthorizationDetails]) -> Value {
        let granted = self.0.granted.lock().expect("a lock");
        let (claims, pivot_jwe) = &granted[handle];
        let now: Micros = self.0.world.clock.now();
        let claims = AccessTokenClaims {
            iat: now.secs(),
            nbf: now.secs(),
            exp: now.secs() + 60,
            cnf: Cnf {
                x5t_s256: peer.x5t_s256(),
            },
            ..claims.clone()
        };
        json!({
            "access_token": self.0.world.mint(&claims),
            "token_type": "Bearer",
            "expires_in": 60,
            "grant_id": "grant-1",
            "authorization_details": details,
            "pivot_jwe": pivot_jwe,
        })
    }
}

async fn par(State(oauth): State<Oauth>, _: Peer, body: Bytes) -> Response {
    let form = match oauth.called("par", &body) {
        Ok(form) => form,
        Err(refusal) => return *refusal,
    };
    // The code that the browser will bring is told beforehand: the state.
    let state = form.get("state").cloned().unwrap_or_else(|| "nobody".to_owned());
    let days: Option<u32> = form.get("link_days").map(|days| days.parse().expect("days"));
    let life_s = days.map_or(60, |days| days * 86_400);
    oauth.0.pushed.lock().expect("a lock").insert(state.clone(), form);
    let body =
        json!({ "request_uri": format!("urn:ietf:params:oauth:request_uri:{state}"), "expires_in": life_s });
    (StatusCode::CREATED, body.to_string()).into_response()
}

/// The participant whose certificate it is, where it is not the client itself.
fn publisher(peer: &Peer, client: &str) -> Option<ParticipantId> {
    peer.id
        .participant()
        .filter(|holder| holder.to_string() != client)
}

async fn token(State(oauth): State<Oauth>, peer: Peer, body: Bytes) -> Response {
    let form = match oauth.called("token", &body) {
        Ok(form) => form,
        Err(refusal) => return *refusal,
    };
    let mut answer = match form["grant_type"].as_str() {
        "refresh_token" => {
            let handle: Handle = form["gh"].parse().expect("a handle");
            let followers = oauth.0.followers.lock().expect("a lock");
            let handle = followers.get(&handle).copied().unwrap_or(handle);
            drop(followers);
            let details = oauth.0.granted.lock().expect("a lock")[&handle]
                .0
                .authorization_details
                .clone();
            oauth.minted(&handle, &peer, &details)
        }
        grant_type => {
            let automatic = grant_type == "urn:unefois:grant-type:automatic";
            let pushed = match automatic {
                true => form["request_uri"].rsplit(':').next().expect("a name"),
                false => form["code"].as_str(),
            };
            let pushed = oauth
                .0
                .pushed
                .lock()
                .expect("a lock")
                .remove(pushed)
                .expect("a code");
            if !automatic {
                let challenge =
                    URL_SAFE_NO_PAD.encode(Sha256::of(form["code_verifier"].as_bytes()).as_bytes());
                assert_eq!(challenge, pushed["code_challenge"], "PKCE");
                assert_eq!(form["redirect_uri"], pushed["redirect_uri"]);
            }
            oauth
                .0
                .pushed
                .lock()
                .expect("a lock")
                .insert("last".to_owned(), pushed.clone());
            let mut details: Vec<AuthorizationDetails> =
                serde_json::from_str(&pushed["authorization_details"]).expect("details");
            for element in &mut details {
                let mut grant = oauth.0.world.grant(oauth.0.person, &["montant"]);
                element.gh = Some(grant.claims.gh);
                grant.claims.authorization_details = [element.clone()];
                grant.claims.client_id = form["client_id"].parse().expect("a participant");
                let said = *oauth.0.publisher.lock().expect("a lock");
                grant.claims.act_client = said.unwrap_or_else(|| publisher(&peer, &form["client_id"]));
                let mut granted = oauth.0.granted.lock().expect("a lock");
                granted.insert(grant.claims.gh, (grant.claims, grant.pivot_jwe));
            }
            let first = details[0].gh.expect("a handle");
            let mut answer = oauth.minted(&first, &peer, &details);
            let random: &dyn Random = &oauth.0.world.random;
            answer["grant_id"] = json!(URL_SAFE_NO_PAD.encode(random.bytes::<16>()));
            answer["refresh_token"] = json!("a-refresh-token-nobody-should-find");
            answer
        }
    };
    oauth.0.change.lock().expect("a lock")(&mut answer);
    answer.to_string().into_response()
}

async fn revoke(State(oauth): State<Oauth>, _: Peer, body: Bytes) -> Response {
    match oauth.called("revoke", &body) {
        Ok(_) => StatusCode::OK.into_response(),
        Err(refusal) => *refusal,
    }
}

async fn give_back(State(oauth): State<Oauth>, _: Peer, Path(id): Path<String>) -> Response {
    if let Err(refusal) = oauth.called("grants", b"") {
        return *refusal;
    }
    oauth.0.given_back.lock().expect("a lock").push(id);
    StatusCode::NO_CONTENT.into_response()
}
