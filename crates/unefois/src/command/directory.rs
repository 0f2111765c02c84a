//! `directory sign|show`: signs the directory offline, and shows one.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use unefois_core::catalogue::Catalogue;
use unefois_core::directory::DirectoryDocument;
use unefois_core::{Clock as _, Directory, HabilitationId, HabilitationRow, Micros, Sha256};
use unefois_jose::{SigningKey, Thumbprint, directory};
use unefois_mesh::{SystemClock, SystemRandom};

use super::habilitation::{read_catalogue, read_row};
use super::key::read_signing_key;
use super::read_text;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// Signs and shows directories.
#[derive(Debug, Subcommand)]
pub enum DirectoryCommand {
    /// Signs a directory; the version and the hash of the one before are filled in.
    Sign(Sign),
    /// Verifies a signed directory and prints what it says.
    Show(Show),
}

/// `directory sign`.
#[derive(Debug, Args)]
pub struct Sign {
    /// The document, JSON; its `version` and `prev` are replaced.
    document: PathBuf,
    /// The directory's private key, kept offline.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The signed directory that this one follows; the first version where absent.
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// Thumbprint of the key that signed the previous one, where it is another: it must have announced this one
    /// (`next_directory_key`).
    #[arg(
        long,
        value_name = "THUMBPRINT",
        allow_hyphen_values = true,
        requires = "previous"
    )]
    previous_pin: Option<Thumbprint>,
    /// The file of a habilitation that all three have signed; once for each. One of the same number, consumer
    /// and producer gives way, and that is told.
    #[arg(long = "habilitation", value_name = "FILE")]
    habilitations: Vec<PathBuf>,
    /// The catalogue that the directory names, its folder or the compiled file; needed where a habilitation is listed, to
    /// tell whether it says what the three signed.
    #[arg(long, value_name = "PATH")]
    catalogue: Option<PathBuf>,
}

/// `directory show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The signed directory.
    file: PathBuf,
    /// Thumbprint of the key that must have signed it (RFC 7638).
    #[arg(long, value_name = "THUMBPRINT", allow_hyphen_values = true)]
    pin: Thumbprint,
}

/// Runs `directory …`.
pub fn run(command: DirectoryCommand, console: Console) -> Result<(), Failure> {
    match command {
        DirectoryCommand::Sign(sign) => {
            let key = read_signing_key(&sign.key, &SystemRandom::new())?;
            let previous = match &sign.previous {
                Some(path) => Some(previous(&read_text(path)?, sign.previous_pin.as_ref(), &key)?),
                None => None,
            };
            let text = read_text(&sign.document)?;
            let mut document = read_document(&text).map_err(|e| {
                let place = format!("{}: {e}", sign.document.display());
                Failure::new(Kind::Data, "le document n'est pas un annuaire").because(place)
            })?;
            document.version = previous.as_ref().map_or(1, |held| held.version() + 1);
            document.prev = previous.as_ref().map(|held| *held.hash());
            let mut replaced = Vec::new();
            for path in &sign.habilitations {
                replaced.extend(take_up(&mut document, read_row(path)?)?);
            }
            let catalogue = sign.catalogue.as_deref().map(read_catalogue).transpose()?;
            as_signed(&document, catalogue.as_ref(), SystemClock.now())?;
            let signed = sign_document(&document, &key)?;
            let passed = passed(&document, SystemClock.now());
            for Passed { what, at, then } in &passed {
                console.say(&format!(
                    "attention : {what} est déjà passé ({}) : {then}",
                    at.to_rfc3339()
                ));
            }
            for Replaced { id, before, after } in &replaced {
                console.say(&format!(
                    "{id} remplacée : {before} cède à {after} ; le producteur inscrit la première dans habilitations_ended"
                ));
            }
            let replaced: Vec<_> = replaced
                .iter()
                .map(|Replaced { id, before, after }| {
                    serde_json::json!({ "id": id, "before": before.to_string(), "after": after.to_string() })
                })
                .collect();
            let passed: Vec<&str> = passed.iter().map(|passed| passed.what.as_str()).collect();
            console.data(
                &serde_json::json!({
                    "version": document.version, "directory": signed, "passed": passed, "replaced": replaced,
                }),
                || signed.clone(),
            )
        }
        DirectoryCommand::Show(show) => {
            let directory = verify(&read_text(&show.file)?, &show.pin)?;
            let document = directory.document();
            console.data(document, || {
                serde_json::to_string_pretty(document).unwrap_or_default()
            })
        }
    }
}

/// The directory that one signed by `key` is to follow.
fn previous(jws: &str, pin: Option<&Thumbprint>, key: &SigningKey) -> Result<Directory, Failure> {
    let Some(pin) = pin.filter(|pin| *pin != key.thumbprint()) else {
        return verify(jws, key.thumbprint());
    };
    let held = verify(jws, pin)?;
    match directory::announced(&held) == Some(*key.thumbprint()) {
        true => Ok(held),
        false => Err(
            Failure::new(Kind::Refused, "personne ne suivrait cette clé : l'annuaire précédent ne l'annonce pas")
                .next("publiez d'abord, avec l'ancienne clé, un annuaire dont next_directory_key est le kid de la nouvelle"),
        ),
    }
}

/// A habilitation that gave way to another of its number: the hashes of both.
struct Replaced {
    id: HabilitationId,
    before: Sha256,
    after: Sha256,
}

/// Puts a habilitation in the place of the one of its number, or after the others.
///
/// # Errors
/// The one of its number is between other participants: a number typed wrong would end their right.
fn take_up(document: &mut DirectoryDocument, row: HabilitationRow) -> Result<Option<Replaced>, Failure> {
    let offered = &row.habilitation;
    let mut rows = document.habilitations.iter_mut();
    let Some(held) = rows.find(|held| held.habilitation.id == offered.id) else {
        document.habilitations.push(row);
        return Ok(None);
    };
    for (party, was, is) in [
        ("demandeur", held.habilitation.consumer, offered.consumer),
        ("producteur", held.habilitation.producer, offered.producer),
    ] {
        if was != is {
            let what = format!("l'habilitation {} de l'annuaire est une autre", offered.id);
            return Err(Failure::new(Kind::Data, what)
                .because(format!("son {party} est {was}, pas {is}"))
                .next("proposez celle-ci sous un autre numéro, ou retirez d'abord l'autre du document"));
        }
    }
    let replaced = Replaced {
        id: offered.id.clone(),
        before: held.habilitation.hash(),
        after: offered.hash(),
    };
    *held = row;
    Ok(Some(replaced).filter(|replaced| replaced.before != replaced.after))
}

/// Whether the catalogue that `document` names says, of what its habilitations cover, what the three signed who made each;
/// one that has ended at `now` opens nothing any more.
fn as_signed(
    document: &DirectoryDocument,
    catalogue: Option<&Catalogue>,
    now: Micros,
) -> Result<(), Failure> {
    let mut listed = document.habilitations.iter().map(|row| &row.habilitation);
    let Some(catalogue) = catalogue else {
        return match listed.next() {
            None => Ok(()),
            Some(_) => Err(
                Failure::new(Kind::Usage, "il manque --catalogue : l'annuaire porte des habilitations")
                    .next("donnez le catalogue dont l'empreinte est catalogue_hash : son dossier, ou le fichier compilé"),
            ),
        };
    };
    if catalogue.hash() != document.catalogue_hash {
        return Err(Failure::new(
            Kind::Data,
            "le catalogue donné n'est pas celui que l'annuaire nomme",
        )
        .because(format!(
            "catalogue_hash : {} ; donné : {}",
            document.catalogue_hash,
            catalogue.hash()
        ))
        .next("donnez celui qu'il nomme, ou inscrivez l'empreinte de celui-ci dans catalogue_hash"));
    }
    for habilitation in listed.filter(|habilitation| now < habilitation.not_after) {
        let changed = habilitation.changed_in(catalogue);
        if !changed.is_empty() {
            let what = format!("l'habilitation {} n'est pas de ce catalogue", habilitation.id);
            return Err(Failure::new(Kind::Data, what)
                .because(format!("il dit autre chose que ce que les trois ont signé : {}", changed.join(", ")))
                .next("unefois habilitation propose avec ce catalogue, puis les trois signatures ; ou publiez le catalogue d'alors"));
        }
    }
    Ok(())
}

/// An end that lies before the signing, and what comes of that.
struct Passed {
    what: String,
    at: Micros,
    then: &'static str,
}

/// The ends of `document` that have passed at `now`: it is signed all the same, as who tries things out wants it.
fn passed(document: &DirectoryDocument, now: Micros) -> Vec<Passed> {
    let of_all = [
        ("expires", document.expires, "personne n'acceptera cet annuaire"),
        (
            "next_update",
            document.next_update,
            "ceux qui le suivent attendent déjà le prochain",
        ),
    ];
    let of_all = of_all.map(|(what, at, then)| (what.to_owned(), at, then));
    let each = document.habilitations.iter().enumerate().map(|(n, row)| {
        let what = format!("habilitations[{n}].not_after");
        (
            what,
            row.habilitation.not_after,
            "cette habilitation ne permet plus rien",
        )
    });
    let ends = of_all.into_iter().chain(each);
    ends.filter(|(_, at, _)| *at <= now)
        .map(|(what, at, then)| Passed { what, at, then })
        .collect()
}

/// The document in `text`; the error names the member, the line and the column, and may repeat a value: a directory is
/// public.
fn read_document(text: &str) -> serde_json::Result<DirectoryDocument> {
    serde_json::from_str(text)
}

/// Signs a directory: JWS in JSON form.
///
/// # Errors
/// The document contradicts itself.
pub fn sign_document(document: &DirectoryDocument, key: &SigningKey) -> Result<String, Failure> {
    directory::sign(document, key).map_err(|e| {
        Failure::new(Kind::Data, "l'annuaire n'est pas signé")
            .because(e)
            .next("corrigez le champ cité")
    })
}

/// The directory in `jws`, if the key named by `pin` signed it.
///
/// # Errors
/// It is malformed, or another key signed it.
pub fn verify(jws: &str, pin: &Thumbprint) -> Result<Directory, Failure> {
    directory::verify(jws, pin)
        .map_err(|e| Failure::new(Kind::Data, "l'annuaire n'est pas accepté").because(e))
}

#[cfg(test)]
mod tests {
    use unefois_core::directory::Unverified;
    use unefois_jose::Pkcs8;

    use super::*;

    const SAMPLE: &str = include_str!("../../../../deploy/directory.json");

    fn sign(document: &str) -> Result<(), Failure> {
        let folder = tempfile::tempdir().unwrap();
        let [path, key] = ["directory.json", "directory.key"].map(|name| folder.path().join(name));
        std::fs::write(&path, document).unwrap();
        let pkcs8 = Pkcs8::generate(SystemRandom::new().ring()).unwrap();
        std::fs::write(&key, pkcs8.to_pem().as_bytes()).unwrap();
        let console = Console {
            json: true,
            lang: crate::console::Lang::Fr,
        };
        let sign = Sign {
            document: path,
            key,
            previous: None,
            previous_pin: None,
            habilitations: Vec::new(),
            catalogue: None,
        };
        run(DirectoryCommand::Sign(sign), console)
    }

    #[test]
    fn a_wrong_document_is_told_by_member_and_place() {
        let wrong = SAMPLE.replacen("\"lease_ms\"", "\"lease\"", 1);
        let told = sign(&wrong).unwrap_err().to_string();
        assert!(told.contains("unknown field `lease`"), "{told}");
        assert!(told.contains("line 6"), "{told}");

        let wrong = SAMPLE.replacen("2026-01-08T00:00:00Z", "tomorrow", 1);
        let told = sign(&wrong).unwrap_err().to_string();
        assert!(told.contains("line 5 column"), "{told}");
    }

    #[test]
    fn the_sample_is_a_consistent_directory() {
        let document = read_document(SAMPLE).unwrap();
        assert_eq!(document.participants.len(), 3);
        Unverified::parse(SAMPLE.as_bytes()).unwrap();
        sign(SAMPLE).unwrap();
    }

    #[test]
    fn a_key_signs_after_another_once_that_one_has_announced_it() {
        let key = || SigningKey::generate(SystemRandom::new().ring()).unwrap();
        let (present, next, other) = (key(), key(), key());
        let mut document = read_document(SAMPLE).unwrap();
        let unannounced = sign_document(&document, &present).unwrap();
        let pin = Some(present.thumbprint());
        assert_eq!(
            previous(&unannounced, pin, &next).unwrap_err().kind,
            Kind::Refused
        );
        assert_eq!(previous(&unannounced, None, &next).unwrap_err().kind, Kind::Data);
        document.next_directory_key = Some(next.thumbprint().to_string());
        let announced = sign_document(&document, &present).unwrap();
        assert_eq!(previous(&announced, pin, &other).unwrap_err().kind, Kind::Refused);
        assert_eq!(previous(&announced, pin, &next).unwrap().version(), 1);
        assert_eq!(previous(&announced, None, &present).unwrap().version(), 1);
    }

    #[test]
    fn a_habilitation_of_another_catalogue_is_not_signed_for() {
        let catalogue = crate::demo::world::built_in_catalogue().unwrap();
        let members = include_str!("../../../../deploy/habilitation.yaml");
        let members = serde_saphyr::from_str(members).unwrap();
        let habilitation = super::super::habilitation::described(members, &catalogue).unwrap();
        let mut document = read_document(SAMPLE).unwrap();
        document.catalogue_hash = catalogue.hash();
        as_signed(&document, None, Micros::new(0)).unwrap();
        document.habilitations = vec![HabilitationRow {
            habilitation,
            signatures: unefois_core::HabilitationSignatures::default(),
        }];
        let now = document.issued_at;
        let refused = |document: &DirectoryDocument, catalogue: Option<&Catalogue>| {
            let failure = as_signed(document, catalogue, now).unwrap_err();
            (failure.kind, failure.to_string())
        };
        as_signed(&document, Some(&catalogue), now).unwrap();
        assert_eq!(refused(&document, None).0, Kind::Usage);

        let text = std::str::from_utf8(catalogue.to_bytes()).unwrap();
        let wider = text.replace(
            r#""pointers":["/quotient_familial"]"#,
            r#""pointers":["/quotient_familial","/adresse"]"#,
        );
        assert_ne!(wider, text);
        let wider = Catalogue::from_bytes(wider.as_bytes(), &Sha256::of(wider.as_bytes())).unwrap();
        let (kind, told) = refused(&document, Some(&wider));
        assert!(kind == Kind::Data && told.contains("catalogue_hash"), "{told}");
        document.catalogue_hash = wider.hash();
        let (kind, told) = refused(&document, Some(&wider));
        assert_eq!(kind, Kind::Data);
        for part in ["SAMPLE-quotient-familial", "datatypes[0]", "propose"] {
            assert!(told.contains(part), "{told}");
        }
        // Once it has ended it opens nothing, and nobody has to sign it again.
        let end = document.habilitations[0].habilitation.not_after;
        as_signed(&document, Some(&wider), end).unwrap();
    }

    #[test]
    fn a_number_taken_by_others_is_refused_and_each_replacement_is_told() {
        let catalogue = crate::demo::world::built_in_catalogue().unwrap();
        let members = include_str!("../../../../deploy/habilitation.yaml");
        let members = serde_saphyr::from_str(members).unwrap();
        let row = HabilitationRow {
            habilitation: super::super::habilitation::described(members, &catalogue).unwrap(),
            signatures: unefois_core::HabilitationSignatures::default(),
        };
        let mut document = read_document(SAMPLE).unwrap();
        assert!(take_up(&mut document, row.clone()).unwrap().is_none());
        let others = [
            |h: &mut unefois_core::Habilitation| h.consumer = h.authority,
            |h: &mut unefois_core::Habilitation| h.producer = h.authority,
        ];
        for change in others {
            let mut other = row.clone();
            change(&mut other.habilitation);
            let refused = take_up(&mut document, other).map(drop).unwrap_err();
            assert_eq!(refused.kind, Kind::Data);
            assert!(
                refused.to_string().contains("SAMPLE-quotient-familial"),
                "{refused}"
            );
            assert_eq!(document.habilitations, std::slice::from_ref(&row));
        }
        let mut later = row.clone();
        later.habilitation.volume_per_year = Some(9);
        let replaced = take_up(&mut document, later.clone()).unwrap().unwrap();
        assert_eq!(replaced.before, row.habilitation.hash());
        assert_eq!(replaced.after, later.habilitation.hash());
        assert_eq!(document.habilitations, [later.clone()]);
        // The same text, signed again, replaces nothing.
        assert!(take_up(&mut document, later).unwrap().is_none());
    }

    #[test]
    fn dates_that_have_passed_are_told() {
        let document = read_document(SAMPLE).unwrap();
        let told = |at: &str| -> Vec<String> {
            let passed = passed(&document, at.parse().unwrap());
            passed.into_iter().map(|passed| passed.what).collect()
        };
        assert_eq!(told("2026-01-01T23:59:59Z"), [""; 0]);
        assert_eq!(told("2026-01-02T00:00:00Z"), ["next_update"]);
        assert_eq!(told("2026-01-08T00:00:00Z"), ["expires", "next_update"]);
        let all = ["expires", "next_update"];
        assert_eq!(told("2050-01-01T00:00:00Z"), all);
    }
}
