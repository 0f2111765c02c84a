//! The information system behind the demonstration's CNAF node: an HTTP API that answers as the published ones do, and
//! always with more than anyone was granted.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use unefois_core::compare_key;

use super::script::Script;

/// What the fund holds of the one person it knows, as its API writes it.
pub const DUBOIS: &str = r#"{
  "data": {
    "allocataires": [
      { "nom_naissance": "DUBOIS", "nom_usage": null, "prenoms": "ANGELA CLAIRE LOUISE", "date_naissance": "1962-08-24", "sexe": "F" }
    ],
    "enfants": [
      { "nom_naissance": "DUBOIS", "nom_usage": null, "prenoms": "LEO", "date_naissance": "2016-03-11", "sexe": "M" }
    ],
    "adresse": {
      "destinataire": "Madame DUBOIS ANGELA",
      "complement_information": null,
      "complement_information_geographique": null,
      "numero_libelle_voie": "4 ALLEE DES TILLEULS",
      "lieu_dit": null,
      "code_postal_ville": "92140 CLAMART",
      "pays": "FRANCE"
    },
    "quotient_familial": { "fournisseur": "CNAF", "valeur": 612, "annee": 2026, "mois": 11, "annee_calcul": 2026, "mois_calcul": 11 }
  },
  "links": {},
  "meta": {}
}"#;

const UNKNOWN: &str = r#"{"errors":[{"code":"37003","title":"Dossier allocataire absent CNAV","detail":"Le dossier n'a pas été trouvé.","source":null,"meta":{"provider":"CNAV"}}]}"#;

/// The API, which holds `script`'s answer for its person.
pub fn router(script: Arc<Script>) -> Router {
    Router::new()
        .route("/quotient-familial", get(quotient_familial))
        .with_state(script)
}

async fn quotient_familial(
    State(script): State<Arc<Script>>,
    Query(params): Query<HashMap<String, String>>,
) -> Response {
    let person = script.person();
    let named = params
        .get("nomNaissance")
        .is_some_and(|given| compare_key(given) == compare_key(person.family_name));
    let born = params
        .get("anneeDateNaissance")
        .is_some_and(|year| person.birthdate.starts_with(year.as_str()));
    let (status, body) = match named && born {
        true => (StatusCode::OK, script.quotient_familial.clone()),
        false => (StatusCode::NOT_FOUND, UNKNOWN.to_owned()),
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
