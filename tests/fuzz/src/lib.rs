//! What the targets share: keys that are the same in each run, so that a seed verifies, and a small mesh.
//!
//! An input is a mode in its first byte, then bytes. In mode 0 they are the whole message, as a stranger would send it; in
//! the others they are parts of one that is signed or sealed rightly, as a dishonest peer could: what lies behind the
//! signature is reached that way.

pub mod seeds;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
#[cfg(feature = "par")]
use unefois_authority::Published;
use unefois_core::catalogue::Catalogue;
use unefois_core::directory::{DirectoryDocument, Jwk};
use unefois_core::{Micros, ParticipantId, Sha256, SignerRole};
#[cfg(feature = "par")]
use unefois_jose::directory;
use unefois_jose::{DecryptionKey, Pkcs8, PublicKey, SigningKey, SystemRandom, habilitation};
#[cfg(feature = "par")]
use unefois_mesh::DirectoryConfig;
use zeroize::Zeroizing;

/// The authority of the mesh.
pub const AUTHORITY: &str = "urn:unefois:participant:13002526500013";
/// The commune that asks.
pub const COMMUNE: &str = "urn:unefois:participant:21920023500014";
/// Where its browser comes back to.
pub const REDIRECT: &str = "https://commune.example/retour?dossier=1";
/// Whenever it is.
pub const NOW_S: i64 = 1_795_512_305;

/// The generator of nonces; what it draws decides nothing that a target looks at.
pub fn rng() -> SystemRandom {
    SystemRandom::new()
}

/// The key whose private number is 32 times this byte, in PKCS#8.
fn pkcs8(byte: u8) -> Pkcs8 {
    let number = [byte; 32];
    let head = |hex: &[u8], more: &[u8]| Zeroizing::new([hex, more].concat());
    let short = head(
        b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\
          \x04\x27\x30\x25\x02\x01\x01\x04\x20",
        &number,
    );
    let public = Pkcs8::from_file(short).and_then(|key| DecryptionKey::from_pkcs8(&key)).expect("a key");
    let long = head(
        b"\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\
          \x04\x6d\x30\x6b\x02\x01\x01\x04\x20",
        &[&number, b"\xa1\x44\x03\x42\x00".as_slice(), public.encryption_key().public().point()].concat(),
    );
    Pkcs8::from_file(long).expect("a key")
}

/// The key that signs tokens, attestations and the directory.
pub fn signing_key() -> SigningKey {
    SigningKey::from_pkcs8(&pkcs8(7), &rng()).expect("a key")
}

/// The key that pivots are sealed to.
pub fn pivot_key() -> DecryptionKey {
    DecryptionKey::from_pkcs8(&pkcs8(9)).expect("a key")
}

/// Base64url.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A compact signature over any header and payload.
pub fn signed(key: &SigningKey, header: &[u8], payload: &[u8]) -> String {
    let text = format!("{}.{}", b64(header), b64(payload));
    let signature = key.sign(text.as_bytes()).expect("a signature");
    format!("{text}.{}", b64(signature))
}

/// The header that a message of this type has.
pub fn header(key: &SigningKey, typ: &str) -> String {
    format!(r#"{{"alg":"ES256","typ":"{typ}","kid":"{}"}}"#, key.thumbprint())
}

/// The mode and the parts of an input; parts are separated by a zero byte.
pub fn input(data: &[u8]) -> Option<(u8, Vec<&[u8]>)> {
    let (mode, rest) = data.split_first()?;
    Some((*mode, rest.split(|byte| *byte == 0).collect()))
}

/// The claims of a token.
pub fn claims() -> Value {
    let producer = "urn:unefois:participant:18003506500010";
    json!({
        "iss": "https://autorite.example", "aud": producer, "sub": "pairwise", "client_id": COMMUNE,
        "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 60, "jti": "j-1", "acr": "eidas1", "auth_time": NOW_S - 30,
        "idp_iss": "https://fc.example", "cnf": {"x5t#S256": b64([7; 32])}, "gh": b64([1; 16]),
        "authorization_details": [element(producer)],
        "capacity": "self", "pivot_hash": b64([3; 32]), "gs": b64([2; 32]), "rvk": {"e": 3, "s": 14}
    })
}

/// One element that may be asked for.
pub fn element(producer: &str) -> Value {
    json!({
        "type": "urn:unefois:justificatif:1", "datatypes": ["cnaf/quotient-familial@1"],
        "units": [{"unit": "valeur", "need": "required"}, {"unit": "composition", "need": "optional"}],
        "locations": [producer], "actions": ["fetch"], "demarche": "cantine", "habilitation": "DP-1",
        "dossier_ref": "2026-0412", "legal_basis": "CRPA-L114-8-I", "mode": {"kind": "once"}, "use": "store",
        "data_life_days": 365, "subject": {"kind": "self"}
    })
}

/// The catalogue of the repository.
pub fn catalogue() -> Catalogue {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalogue");
    let mut files = Vec::new();
    for folder in ["types", "demarches", "producers"] {
        for file in std::fs::read_dir(root.join(folder)).expect("the catalogue") {
            let file = file.expect("a file").path();
            let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
            files.push((format!("{folder}/{name}"), std::fs::read_to_string(&file).expect("a file")));
        }
    }
    files.sort();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    Catalogue::load(&files).expect("the catalogue is in order")
}

/// Who answers for the family quotient.
pub fn producer(catalogue: &Catalogue) -> ParticipantId {
    let datatype = "cnaf/quotient-familial@1".parse().expect("a datatype");
    *catalogue.datatype(&datatype).expect("it is in the catalogue").operator()
}

/// The directory of the small mesh.
pub fn document(catalogue: &Catalogue) -> DirectoryDocument {
    let jwk = |key: &PublicKey| Jwk::from_sec1(key.point()).expect("a key");
    let signs = |role| jwk(habilitation_key(role).verifying_key().public());
    let token = jwk(signing_key().verifying_key().public());
    let pivot = jwk(pivot_key().encryption_key().public());
    let producer = producer(catalogue).to_string();
    let now = Micros::from_secs(NOW_S);
    let row = |id: &str, byte: &str, more: Value| {
        let mut row = json!({
            "id": id, "name": {"fr": "Essai", "en": "Test"}, "kind": "administration", "mesh": ["127.0.0.1:4430"],
            "dpo": "dpo@example.fr", "tls": [{"spki_sha256": byte.repeat(32), "status": "current"}],
        });
        for (name, value) in more.as_object().expect("an object") {
            row[name] = value.clone();
        }
        row
    };
    let document = json!({
        "version": 1, "issued_at": now.plus_ms(-1_000).to_rfc3339(),
        "next_update": now.plus_ms(86_400_000).to_rfc3339(), "expires": now.plus_ms(172_800_000).to_rfc3339(),
        "lease_ms": 1000, "catalogue_hash": catalogue.hash().to_string(),
        "participants": [
            row(AUTHORITY, "0a", json!({"habilitation_keys": [signs(SignerRole::Authority)]})),
            row(COMMUNE, "0b", json!({
                "redirect_uris": [REDIRECT], "kind": "collectivite", "habilitation_keys": [signs(SignerRole::Consumer)],
            })),
            row(&producer, "0c", json!({"pivot_keys": [pivot], "habilitation_keys": [signs(SignerRole::Producer)]})),
        ],
        "authority": {
            "participant": AUTHORITY, "issuer": "https://autorite.example", "portal": "https://autorite.example",
            "token_keys": [token], "withdrawal_keys": [token],
            "identity_providers": [{"issuer": "https://fc.example", "acr": ["eidas1"]}],
        },
        "habilitations": [{"habilitation": {
            "id": "DP-1", "consumer": COMMUNE, "producer": producer, "authority": AUTHORITY, "demarche": "cantine",
            "demarche_sha256": Sha256::default().to_string(),
            "datatypes": [{
                "datatype": "cnaf/quotient-familial@1", "units": ["valeur", "composition"],
                "sheet_sha256": Sha256::default().to_string(),
            }],
            "legal_bases": ["CRPA-L114-8-I"], "not_before": "2020-01-01T00:00:00Z", "not_after": "2090-01-01T00:00:00Z",
        }}],
        "quotas": [],
    });
    let mut document: DirectoryDocument = serde_json::from_value(document).expect("a directory");
    for row in &mut document.habilitations {
        row.habilitation.describe(catalogue);
        for role in SignerRole::ALL {
            let jws = habilitation::sign(&row.habilitation, role, &habilitation_key(role)).expect("a signature");
            row.signatures.set(role, jws);
        }
    }
    document
}

/// The key of habilitations of whoever signs in this capacity.
fn habilitation_key(role: SignerRole) -> SigningKey {
    let byte = match role {
        SignerRole::Consumer => 11,
        SignerRole::Producer => 12,
        SignerRole::Authority => 13,
    };
    SigningKey::from_pkcs8(&pkcs8(byte), &rng()).expect("a key")
}

#[cfg(feature = "par")]
/// The edition that requests are checked against; its files go with the folder.
pub fn published() -> (tempfile::TempDir, Published) {
    let (catalogue, key) = (catalogue(), signing_key());
    let folder = tempfile::tempdir().expect("a folder");
    let (file, bytes) = (folder.path().join("directory.jws"), folder.path().join("catalogue.json"));
    let jws = directory::sign(&document(&catalogue), &key).expect("a directory in order");
    std::fs::write(&file, jws).expect("a file");
    std::fs::write(&bytes, catalogue.to_bytes()).expect("a file");
    let config = DirectoryConfig { file, catalogue: bytes, key: key.thumbprint().to_string(), next_key: None };
    (folder, Published::load(config).expect("an edition"))
}

/// A request in order, but for what the fuzzer makes of it.
pub fn request(catalogue: &Catalogue) -> String {
    let elements = json!([element(&producer(catalogue).to_string())]).to_string();
    let check = json!({"salt": b64([9; 32]), "hmac": b64([8; 32])}).to_string();
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("response_type", "code"),
            ("redirect_uri", REDIRECT),
            ("state", "state-of-the-back-office"),
            ("code_challenge", &b64([5; 32])),
            ("code_challenge_method", "S256"),
            ("authorization_details", &elements),
            ("subject_check", &check),
        ])
        .finish()
}
