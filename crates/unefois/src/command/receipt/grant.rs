//! The receipt of a grant that a person takes home, `recu-autorisation.json`: what the authority signed, and the same in
//! clear. Nothing in clear is believed but what the signature covers.

use serde::Deserialize;
use serde_json::{Value, json};
use unefois_core::authorization::ModeKind;
use unefois_core::receipt::{
    AskedWithoutPerson, Attribute, DecidedBy, GrantReceipt, InvalidReceipt, Notice, PartyRole, PurposeState,
    Representation, TYP,
};
use unefois_core::{Directory, ParticipantId, in_line};
use unefois_jose::{PublicKey, VerifyingKey, jws, strict_json};
use unefois_mesh::status::chain;

use super::Trust;
use crate::command::audit::words;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// Largest signed text that is read: eight elements in words, and the words of a page.
const MAX_SIGNED: usize = 512 * 1_024;

/// The file, read and not judged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantFile {
    receipt: GrantReceipt,
    signed: String,
}

/// Why a receipt does not hold.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("la signature n'est pas celle de l'autorité de cet annuaire")]
    Signature(#[source] unefois_jose::Error),
    #[error("ce qui est lisible n'est pas ce qui est signé")]
    Otherwise,
    #[error("l'autorité qui signe n'est pas celle de l'annuaire")]
    Issuer,
    #[error("ce qui est signé se contredit")]
    Contradiction(#[source] InvalidReceipt),
}

impl GrantFile {
    /// Whether the file says that it is one.
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Probe {
            #[serde(rename = "signed")]
            _signed: serde::de::IgnoredAny,
        }
        serde_json::from_slice::<Probe>(bytes).is_ok()
    }

    /// Reads a file.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        strict_json::from_slice(bytes).map_err(|error| {
            let failure = Failure::new(Kind::Data, "le fichier n'est pas un reçu d'autorisation");
            failure
                .because(error)
                .next("téléchargez de nouveau recu-autorisation.json")
        })
    }

    /// Judges it by the directory.
    fn judge(&self, directory: &Directory) -> Result<(), Refusal> {
        let authority = directory.authority();
        let mut keys = (authority.withdrawal_keys.iter())
            .filter_map(|jwk| PublicKey::from_point(&jwk.sec1()).ok().map(VerifyingKey::new));
        let known = |kid: &_| keys.find(|key| key.thumbprint() == kid);
        let verified = jws::verify(&self.signed, TYP, MAX_SIGNED, known).map_err(Refusal::Signature)?;
        let signed: GrantReceipt = verified.claims().map_err(Refusal::Signature)?;
        if signed != self.receipt {
            return Err(Refusal::Otherwise);
        }
        if signed.iss != authority.issuer {
            return Err(Refusal::Issuer);
        }
        signed.check().map_err(Refusal::Contradiction)
    }
}

/// Tells what a receipt says, without judging it.
pub(super) fn show(file: &GrantFile, console: Console) -> Result<(), Failure> {
    console.data(&told(file, false), || {
        in_words(&file.receipt) + "non vérifié : receipt verify le vérifie"
    })
}

/// Judges a receipt and tells what it says.
pub(super) fn verify(file: &GrantFile, trust: &Trust, console: Console) -> Result<(), Failure> {
    let Trust::Directory(directory) = trust else {
        let failure = Failure::new(
            Kind::Usage,
            "un reçu d'autorisation n'est pas signé par un registre",
        );
        return Err(failure.next("donnez l'annuaire, qui nomme la clé de l'autorité : --directory et --pin"));
    };
    file.judge(directory).map_err(|refusal| {
        let next = match &refusal {
            Refusal::Signature(unefois_jose::Error::UnknownKey) => {
                "donnez l'annuaire du jour de ce reçu : l'autorité a pu changer de clé depuis"
            }
            _ => "gardez le fichier et demandez à qui l'a remis",
        };
        let failure = Failure::new(Kind::No, "ce reçu n'est pas de l'autorité, ou a été changé");
        failure.because(chain(&refusal)).next(next)
    })?;
    console.data(&told(file, true), || {
        in_words(&file.receipt) + "vérifié : signé par l'autorité de cet annuaire, tel qu'il se lit ici"
    })
}

fn told(file: &GrantFile, verified: bool) -> Value {
    json!({ "verified": verified, "receipt": file.receipt })
}

fn in_words(receipt: &GrantReceipt) -> String {
    let mut text = format!(
        "Reçu de l'autorisation {}, du {}\n",
        in_line(&receipt.record_id),
        words::instant(receipt.issued_at)
    );
    if let Some(by) = &receipt.representation {
        text += &format!("  {}\n", represented(by));
    }
    for party in &receipt.party_identification {
        let role = match party.party_role {
            PartyRole::PiiController => "demandeur",
            PartyRole::PiiProcessor => "hébergeur du demandeur",
            PartyRole::PiiSource => "source",
            PartyRole::AuthorityParty => "autorité",
        };
        let name = in_line(&party.party_name);
        text += &format!("  {role} : {name} ({})\n", party.party_id.siret());
    }
    let name = |id: &ParticipantId| {
        let known = receipt
            .party_identification
            .iter()
            .find(|party| party.party_id == *id);
        known.map_or_else(|| id.siret().to_string(), |party| in_line(&party.party_name))
    };
    for purpose in &receipt.purposes {
        let units = |units: &[Attribute]| {
            units
                .iter()
                .map(|unit| in_line(&unit.name))
                .collect::<Vec<_>>()
                .join(", ")
        };
        text += &format!(
            "{} auprès de : {}\n  pour : {}, dossier {}\n  informations : {}\n",
            in_line(&purpose.pii_type_name),
            name(&purpose.pii_source),
            in_line(&purpose.purpose),
            purpose.dossier_ref,
            units(&purpose.pii_information)
        );
        if !purpose.pii_left_out.is_empty() {
            text += &format!("  non transmis : {}\n", units(&purpose.pii_left_out));
        }
        let often = match purpose.collection {
            ModeKind::Once => "une fois",
            ModeKind::Standing => "plusieurs fois",
        };
        let state = match purpose.state {
            PurposeState::Active => "en cours",
            PurposeState::Expired => "terminé",
            PurposeState::Withdrawn => "retiré",
        };
        text += &format!(
            "  base légale : {}\n  {often}, jusqu'au {} ; {state} ; conservé {} jours\n",
            words::legal_basis(&purpose.lawful_basis),
            words::instant(purpose.valid_until),
            purpose.retention_days
        );
    }
    for event in &receipt.events {
        let of = event
            .pii_type
            .as_ref()
            .map_or_else(String::new, |of| format!(" ({of})"));
        text += &format!(
            "{} : {}{of}\n",
            words::instant(event.event_time),
            happened(&event.event_type)
        );
    }
    match &receipt.privacy_notice {
        Some(notice) => {
            text += &format!(
                "Texte lu avant de choisir, SHA-256 {} :\n{}",
                notice.sha256,
                quoted(notice)
            );
        }
        None if receipt.privacy_notice_unknown => {
            text += "Une page de l'autorité a été lue avant ; son texte n'était pas encore conservé.\n";
        }
        None => text += "La personne n'a lu aucune page de l'autorité avant.\n",
    }
    if let Some(asked) = &receipt.asked_without_person {
        text += &without_person(asked, &name(&asked.party_id));
    }
    text
}

/// Who asked without the person, in words.
fn without_person(asked: &AskedWithoutPerson, asker: &str) -> String {
    let mut text = match (asked.decided_by, &asked.motive) {
        (DecidedBy::Officer, Some(motive)) => {
            format!(
                "Un agent a demandé à sa place, pour : {asker}. Motif : {}\n",
                in_line(motive)
            )
        }
        (DecidedBy::Officer, None) => format!("Un agent a demandé à sa place, pour : {asker}\n"),
        (DecidedBy::Nobody, _) => {
            format!("La demande a été faite sans personne présente, pour : {asker}\n")
        }
    };
    if let Some(notice) = &asked.shown_to_officer {
        text += &format!(
            "Texte lu par l'agent avant, SHA-256 {} :\n{}",
            notice.sha256,
            quoted(notice)
        );
    }
    text
}

/// The lines of a notice, each marked as such.
fn quoted(notice: &Notice) -> String {
    let lines = notice.text.lines().map(|line| format!("  | {}\n", in_line(line)));
    lines.collect()
}

/// Who acted for whom, in words.
fn represented(by: &Representation) -> String {
    let whom = match (&by.siren, &by.mandated_by) {
        (Some(siren), _) => format!("pour l'entreprise de SIREN {siren}"),
        (None, Some(helped)) => format!("pour {}", in_line(helped)),
        (None, None) => "pour un autre".to_owned(),
    };
    let acted = in_line(&by.acted_by);
    match &by.mandated_by {
        Some(mandator) => format!("a agi : {acted}, {whom}, par un mandat de {}", in_line(mandator)),
        None => format!("a agi : {acted}, {whom}, en la dirigeant"),
    }
}

/// An event in words; one of a later program's by its own.
fn happened(event: &str) -> String {
    match event {
        "granted" => "autorisé".to_owned(),
        "effective" => "retrait effectif partout".to_owned(),
        "withdrawn_by_person" => "retiré par la personne".to_owned(),
        "withdrawn_by_consumer" => "rendu par le demandeur".to_owned(),
        "withdrawn_by_narrowed" => "limité par la personne".to_owned(),
        "withdrawn_by_code_reuse" => "arrêté par sécurité".to_owned(),
        other => in_line(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_a_mandate_are_told() {
        let told = |siren: Option<&str>, mandated_by: Option<&str>| {
            represented(&Representation {
                siren: siren.map(|siren| siren.parse().unwrap()),
                acted_by: "Angela DUBOIS".to_owned(),
                mandated_by: mandated_by.map(str::to_owned),
            })
        };
        assert_eq!(
            told(Some("130025265"), Some("Camille\nEXEMPLE")),
            format!(
                "a agi : Angela DUBOIS, pour l'entreprise de SIREN 130025265, par un mandat de {}",
                in_line("Camille\nEXEMPLE")
            )
        );
        assert_eq!(
            told(None, Some("Joël MERCIER")),
            "a agi : Angela DUBOIS, pour Joël MERCIER, par un mandat de Joël MERCIER"
        );
        assert_eq!(
            told(Some("130025265"), None),
            "a agi : Angela DUBOIS, pour l'entreprise de SIREN 130025265, en la dirigeant"
        );
    }
}
