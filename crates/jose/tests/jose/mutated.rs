//! Every small change of a good message: none is taken for anything but what was signed or sealed. `--nocapture` shows
//! how many there were.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use unefois_core::{AccessTokenClaims, Sha256};
use unefois_jose::sd_jwt::{self, Disclosure};
use unefois_jose::{Error, InvalidJson, SignedDocument, access_token, jwe, jws};

use crate::{b64, decryption_key, forge, rng, signing_key, unb64};

const LIMIT: usize = 32 * 1024;
const PRODUCER: &str = "urn:unefois:participant:18003506500010";

fn claims() -> Value {
    json!({
        "iss": "https://autorite.example", "aud": PRODUCER, "sub": "pairwise",
        "client_id": "urn:unefois:participant:13000495500014",
        "act_client": "urn:unefois:participant:18003506500010",
        "iat": 1_795_512_305, "nbf": 1_795_512_305, "exp": 1_795_512_365, "jti": "j-1", "acr": "eidas1",
        "auth_time": 1_795_512_275, "idp_iss": "https://fc.example", "cnf": {"x5t#S256": b64([7; 32])},
        "gh": b64([1; 16]),
        "authorization_details": [{
            "type": "urn:unefois:justificatif:1", "datatypes": ["cnaf/quotient-familial@1"],
            "units": [{"unit": "valeur", "need": "required"}], "period": "2026-01", "locations": [PRODUCER],
            "actions": ["fetch"], "demarche": "cantine", "habilitation": "DP-1", "dossier_ref": "2026-0412",
            "legal_basis": "CRPA-L114-8-I", "mode": {"kind": "standing", "max_count": 3, "min_interval_s": 60},
            "use": "store", "data_life_days": 365, "subject": {"kind": "self"}, "gh": b64([1; 16])
        }],
        "capacity": "self", "pivot_hash": b64(Sha256::of(b"a.b.c.d.e").as_bytes()), "gs": b64([2; 32]),
        "rvk": {"e": 3, "s": 14}, "subject_unbound": "dossier ouvert au guichet"
    })
}

/// Every bit of every character, where that leaves text.
fn bits(text: &str) -> impl Iterator<Item = String> {
    (0..text.len() * 8).filter_map(|bit| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        String::from_utf8(bytes).ok()
    })
}

/// Every character left out, said twice, and followed by one that some readers skip; every beginning of the text.
fn characters(text: &str) -> impl Iterator<Item = String> {
    (0..text.len()).flat_map(|at| {
        let (before, after) = text.split_at(at);
        let rest = &after[1..];
        [
            format!("{before}{rest}"),
            format!("{before}{}{after}", &after[..1]),
            format!("{before} {after}"),
            format!("{before}\n{after}"),
            format!("{before}={after}"),
            before.to_owned(),
        ]
    })
}

/// Every bit of what each part says, written down anew.
fn decoded_bits(parts: &[&str], separator: char) -> Vec<String> {
    let mut all = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        let Ok(bytes) = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, part)
        else {
            continue;
        };
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            all.push(with(parts, n, &b64(changed), separator));
        }
    }
    all
}

/// Every two parts swapped, each part left out, emptied, said twice, and written in another alphabet or with padding.
fn parts_moved(parts: &[&str], separator: char) -> Vec<String> {
    let mut all = Vec::new();
    let text = |parts: &[&str]| parts.join(&separator.to_string());
    for n in 0..parts.len() {
        for m in 0..parts.len() {
            let mut swapped = parts.to_vec();
            swapped.swap(n, m);
            all.push(text(&swapped));
            let mut copied = parts.to_vec();
            copied[n] = parts[m];
            all.push(text(&copied));
            let mut more = parts.to_vec();
            more.insert(n, parts[m]);
            all.push(text(&more));
        }
        let mut less = parts.to_vec();
        less.remove(n);
        all.push(text(&less));
        all.push(with(parts, n, "", separator));
        for form in [
            parts[n].replace('-', "+").replace('_', "/"),
            format!("{}=", parts[n]),
            format!("{}==", parts[n]),
            format!("{}A", parts[n]),
            b64(parts[n]),
        ] {
            all.push(with(parts, n, &form, separator));
        }
    }
    all
}

fn with(parts: &[&str], n: usize, part: &str, separator: char) -> String {
    let mut changed = parts.to_vec();
    changed[n] = part;
    changed.join(&separator.to_string())
}

/// What was done to one member of a JSON text, and the text.
enum Change {
    Removed,
    Twice,
    Retyped,
}

/// Each member, at every depth: left out, named twice, and of each other type.
fn members(value: &Value) -> Vec<(Change, String, String)> {
    let mut all = Vec::new();
    walk(value, &mut String::new(), &|text| text, &mut all);
    all
}

fn walk(
    value: &Value,
    path: &mut String,
    around: &dyn Fn(String) -> String,
    all: &mut Vec<(Change, String, String)>,
) {
    match value {
        Value::Object(object) => {
            for (name, member) in object {
                let length = path.len();
                path.push('/');
                path.push_str(name);
                let mut less: Map<String, Value> = object.clone();
                less.remove(name);
                all.push((
                    Change::Removed,
                    path.clone(),
                    around(Value::Object(less.clone()).to_string()),
                ));
                let key = Value::from(name.as_str());
                let open = |first: &str| {
                    let rest = Value::Object(less.clone()).to_string();
                    let comma = if less.is_empty() { "" } else { "," };
                    format!("{{{first}{comma}{}", &rest[1..])
                };
                let escaped: String = name.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
                for twice in [
                    format!("{key}:{member},{key}:{member}"),
                    format!("{key}:null,{key}:{member}"),
                    format!(r#"{key}:{member},"{escaped}":{member}"#),
                ] {
                    all.push((Change::Twice, path.clone(), around(open(&twice))));
                }
                // As some readers take a name of a list, or a list of members.
                let alike = match member {
                    Value::String(word) => json!({word: null}),
                    Value::Object(inner) => inner.values().cloned().collect(),
                    other => other.clone(),
                };
                for other in [
                    alike,
                    json!(null),
                    json!(true),
                    json!(7),
                    json!(-1),
                    json!(1.5),
                    json!("text"),
                    json!([]),
                    json!([member]),
                    json!({}),
                    json!({name: member}),
                ] {
                    if std::mem::discriminant(&other) == std::mem::discriminant(member)
                        && !(member.is_number() && other.as_f64() == Some(1.5))
                    {
                        continue;
                    }
                    all.push((
                        Change::Retyped,
                        path.clone(),
                        around(open(&format!("{key}:{other}"))),
                    ));
                }
                let inside = |text: String| around(open(&format!("{key}:{text}")));
                walk(member, path, &inside, all);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                let inside = |text: String| {
                    let texts: Vec<String> = (items.iter().enumerate())
                        .map(|(m, other)| if m == n { text.clone() } else { other.to_string() })
                        .collect();
                    around(format!("[{}]", texts.join(",")))
                };
                walk(item, path, &inside, all);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// r and n − s, which ECDSA takes for r and s: the one other text of a signed message.
fn mirrored(signature: &str) -> String {
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51_u8,
    ];
    let mut bytes = unb64(signature);
    let mut borrow = false;
    for place in (0..32).rev() {
        let (low, under) = order[place].overflowing_sub(bytes[32 + place]);
        let (low, also) = low.overflowing_sub(u8::from(borrow));
        bytes[32 + place] = low;
        borrow = under || also;
    }
    b64(bytes)
}

/// Members that a token may lack.
const OPTIONAL: [&str; 6] = [
    "/act_client",
    "/subject_unbound",
    "/authorization_details/period",
    "/authorization_details/gh",
    "/authorization_details/mode/max_count",
    "/authorization_details/mode/min_interval_s",
];

#[test]
fn no_changed_token_is_taken_for_another() {
    let key = signing_key();
    let payload = claims().to_string();
    let token = jws::sign(&key, access_token::TYP, payload.as_bytes()).unwrap();
    let check = |text: &str| {
        access_token::authenticate(text, |kid| (kid == key.thumbprint()).then(|| key.verifying_key()))
            .map(drop)
    };
    assert_eq!(check(&token), Ok(()));
    let parts: Vec<&str> = token.split('.').collect();
    let mut tried = 0;
    let all = bits(&token)
        .chain(characters(&token))
        .chain(decoded_bits(&parts, '.'))
        .chain(parts_moved(&parts, '.'));
    for text in all.filter(|text| *text != token) {
        assert!(check(&text).is_err(), "{text}");
        tried += 1;
    }
    let same = with(&parts, 2, &mirrored(parts[2]), '.');
    assert_ne!(same, token);
    assert_eq!(check(&same), Ok(()), "the same bytes, signed");

    // By whoever holds the right key: a header beyond the profile, then claims.
    let header: Value = serde_json::from_slice(&unb64(parts[0])).unwrap();
    let (mut headers, mut changed, mut otherwise) = (0, 0, 0);
    for (_, path, text) in members(&header) {
        assert!(check(&forge(&key, &text, &payload)).is_err(), "{path}: {text}");
        headers += 1;
    }
    let shape = Err(Error::Json(InvalidJson::Shape));
    for (change, path, text) in members(&claims()) {
        let verdict = check(&jws::sign(&key, access_token::TYP, text.as_bytes()).unwrap());
        let read = serde_json::from_str::<AccessTokenClaims>(&text);
        match change {
            Change::Twice => assert_eq!(verdict, Err(Error::Json(InvalidJson::DuplicateKey)), "{path}"),
            Change::Removed if OPTIONAL.contains(&path.as_str()) => assert_eq!(verdict, Ok(()), "{path}"),
            // `null` is how some write that a member is not there, and a list of values is their object: said otherwise, the
            // same is said.
            Change::Retyped if verdict.is_ok() => {
                let mut meant = claims();
                if OPTIONAL.contains(&path.as_str()) {
                    remove(&mut meant, &path);
                }
                assert_eq!(
                    read.unwrap(),
                    serde_json::from_value(meant).unwrap(),
                    "{path}: {text}"
                );
                otherwise += 1;
            }
            Change::Removed | Change::Retyped => assert_eq!(verdict, shape, "{path}: {text}"),
        }
        changed += 1;
    }
    println!(
        "token: {tried} changed texts, {headers} headers and {changed} claims signed anew: none \
         taken for another, {otherwise} that say the same"
    );
    assert!(tried > 30_000 && headers > 30 && changed > 500);
}

fn remove(value: &mut Value, path: &str) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = parent.replace("/authorization_details", "/authorization_details/0");
    value
        .pointer_mut(&parent)
        .unwrap()
        .as_object_mut()
        .unwrap()
        .remove(name);
}

#[test]
fn no_changed_pivot_opens() {
    let key = decryption_key();
    let json = r#"{"kind":"person","family_name":"DUBOIS"}"#;
    let sealed = jwe::seal_pivot(key.encryption_key(), json, &rng()).unwrap();
    let open = |text: &str| jwe::open_pivot(&[&key], text).map(|text| text.to_vec());
    assert_eq!(open(&sealed), Ok(json.as_bytes().to_vec()));
    let parts: Vec<&str> = sealed.split('.').collect();
    let header: Value = serde_json::from_slice(&unb64(parts[0])).unwrap();
    let headers = members(&header)
        .into_iter()
        .map(|(_, _, text)| with(&parts, 0, &b64(text), '.'));
    let mut tried = 0;
    let all = bits(&sealed)
        .chain(characters(&sealed))
        .chain(decoded_bits(&parts, '.'))
        .chain(parts_moved(&parts, '.'))
        .chain(headers);
    for text in all.filter(|text| *text != sealed) {
        assert_eq!(open(&text), Err(Error::Decryption), "{text}");
        tried += 1;
    }
    println!("pivot: {tried} changed texts: none opened");
    assert!(tried > 30_000);
}

#[test]
fn no_changed_attestation_says_something_else() {
    let key = signing_key();
    let units = [
        ("valeur", "900"),
        ("composition", r#"["A",{"b":1.50}]"#),
        ("adresse", "null"),
    ];
    let disclosures: Vec<Disclosure<'_>> = (units.iter().zip(1..))
        .map(|((name, json), n)| Disclosure {
            name,
            json,
            salt: [n; 16],
        })
        .collect();
    let visible =
        json!({"iss": PRODUCER, "vct": "urn:unefois:cnaf/quotient-familial@1", "iat": 1_795_512_305});
    let text = sd_jwt::issue(&key, &visible, &disclosures).unwrap();
    let read = |text: &str| {
        let known = sd_jwt::verify(text, LIMIT, |kid| {
            (kid == key.thumbprint()).then(|| key.verifying_key())
        })?;
        let said: BTreeSet<(String, String)> = (known.disclosures().iter())
            .map(|unit| (unit.name.clone(), unit.value.get().to_owned()))
            .collect();
        Ok::<_, Error>((known.claims::<Value>()?, said))
    };
    let good = read(&text).unwrap();
    assert_eq!(good.1.len(), 3);

    let pieces: Vec<&str> = text.split('~').collect();
    let signed: Vec<&str> = pieces[0].split('.').collect();
    let tail = &text[pieces[0].len()..];
    let anew = |jwt: &str| format!("{jwt}{tail}");
    let (mut tried, mut reordered) = (0, 0);
    let all = bits(&text)
        .chain(characters(&text))
        .chain(decoded_bits(&pieces, '~'))
        .chain(decoded_bits(&signed, '.').into_iter().map(|jwt| anew(&jwt)))
        .chain(parts_moved(&pieces, '~'))
        .chain(parts_moved(&signed, '.').into_iter().map(|jwt| anew(&jwt)));
    for changed in all.filter(|changed| *changed != text) {
        match read(&changed) {
            // The order of the units is nobody's statement.
            Ok(same) => {
                assert_eq!(same, good, "{changed}");
                let sorted = |text: &str| {
                    let mut pieces: Vec<String> = text.split('~').map(str::to_owned).collect();
                    pieces.sort();
                    pieces
                };
                assert_eq!(sorted(&changed), sorted(&text), "{changed}");
                reordered += 1;
            }
            Err(_) => tried += 1,
        }
    }
    assert_eq!(reordered, 6, "each pair, from either end");
    let mirror = anew(&with(&signed, 2, &mirrored(signed[2]), '.'));
    assert_eq!(read(&mirror).as_ref(), Ok(&good));

    // By the holder of the seal key: the mechanism's own members.
    let payload: Value = serde_json::from_slice(&unb64(signed[1])).unwrap();
    let mut resigned = 0;
    for (change, path, changed) in members(&payload) {
        let verdict = read(&anew(&jws::sign(&key, sd_jwt::TYP, changed.as_bytes()).unwrap()));
        let mechanism = path.starts_with("/_sd");
        match change {
            Change::Twice => assert_eq!(verdict, Err(Error::Json(InvalidJson::DuplicateKey)), "{path}"),
            // Without `_sd_alg`, SHA-256 is meant (RFC 9901, 4.1.1).
            Change::Removed if path == "/_sd_alg" => assert_eq!(verdict.as_ref(), Ok(&good)),
            Change::Removed | Change::Retyped if mechanism => assert!(verdict.is_err(), "{path}: {changed}"),
            // What is visible is the issuer's word, and shows changed.
            Change::Removed | Change::Retyped => assert_ne!(verdict.unwrap().0, good.0, "{path}"),
        }
        resigned += 1;
    }
    println!("attestation: {tried} changed texts, {resigned} payloads signed anew: none says something else");
    assert!(tried > 10_000 && resigned > 50);
}

#[test]
fn no_changed_document_says_something_else() {
    const TYP: &str = "unefois-directory+jws";
    let (key, other) = (signing_key(), signing_key());
    let mut document = SignedDocument::sign(&key, TYP, br#"{"version":7}"#).unwrap();
    let flattened = document.to_json().unwrap();
    document.add_signature(&other, TYP).unwrap();
    for text in [flattened, document.to_json().unwrap()] {
        let read = |text: &str| {
            let signed = SignedDocument::parse(text.as_bytes(), TYP, LIMIT)?;
            Ok::<_, Error>(signed.verify_pinned(key.thumbprint())?.payload().to_vec())
        };
        let good = read(&text).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let (mut tried, mut same) = (0, BTreeMap::new());
        let changed = members(&value).into_iter().map(|(_, path, text)| (path, text));
        let all = bits(&text)
            .chain(characters(&text))
            .map(|text| (String::new(), text))
            .chain(changed);
        for (path, changed) in all.filter(|(_, changed)| *changed != text) {
            match read(&changed) {
                Ok(payload) => {
                    assert_eq!(payload, good, "{changed}");
                    *same.entry(path).or_insert(0) += 1;
                }
                Err(_) => tried += 1,
            }
        }
        println!("document: {tried} changed texts refused, {same:?} with the same payload by the same key");
        assert!(tried > 4_000);
    }
}
