//! A habilitation and its signatures in words.

use std::fmt;

use serde_json::{Value, json};
use unefois_core::catalogue::Catalogue;
use unefois_core::{Directory, Habilitation, HabilitationRow, ParticipantId, SignerRole};
use unefois_jose::{Thumbprint, habilitation};

/// Who may ask what of whom.
pub(super) fn habilitation(
    habilitation: &Habilitation,
    directory: Option<&Directory>,
    catalogue: Option<&Catalogue>,
) -> String {
    let name = |id: &ParticipantId| participant(id, directory);
    let demarche = catalogue.and_then(|catalogue| catalogue.demarche(&habilitation.demarche));
    let demarche = demarche.map_or_else(|| habilitation.demarche.to_string(), |d| d.label.fr.clone());
    let changed = |as_signed: bool| match catalogue {
        Some(_) if !as_signed => " – ATTENTION : le catalogue donné dit autre chose",
        Some(_) | None => "",
    };
    let mut lines = vec![
        format!("Habilitation {}", habilitation.id),
        format!(
            "  {} peut demander à {},",
            name(&habilitation.consumer),
            name(&habilitation.producer)
        ),
        format!("  pour : {demarche}"),
    ];
    for covered in &habilitation.datatypes {
        let known = catalogue.and_then(|catalogue| catalogue.datatype(&covered.datatype));
        let label = known.map_or_else(|| covered.datatype.to_string(), |d| d.sheet().label.fr.clone());
        let units = covered.units.iter().map(|unit| {
            let mut all = known.iter().flat_map(|datatype| &datatype.sheet().units);
            let known = all.find(|known| known.name == *unit);
            known.map_or_else(|| unit.to_string(), |known| known.label.fr.clone())
        });
        lines.push(format!("  – {label} : {}", units.collect::<Vec<_>>().join(", ")));
        let as_signed = catalogue.is_some_and(|catalogue| covered.described_by(catalogue));
        lines.push(format!(
            "    fiche : {}{}",
            covered.sheet_sha256,
            changed(as_signed)
        ));
    }
    let as_signed = catalogue.is_some_and(|catalogue| habilitation.demarche_described_by(catalogue));
    lines.push(format!(
        "  démarche : {}{}",
        habilitation.demarche_sha256,
        changed(as_signed)
    ));
    let bases: Vec<String> = habilitation.legal_bases.iter().map(ToString::to_string).collect();
    lines.push(format!("  au titre de : {}", bases.join(", ")));
    if let Some(publisher) = &habilitation.publisher {
        lines.push(format!("  par son éditeur seul : {}", name(publisher)));
    }
    lines.push(format!(
        "  dans l'annuaire de : {}",
        name(&habilitation.authority)
    ));
    if let Some(volume) = habilitation.volume_per_year {
        lines.push(format!("  volume prévu : {volume} par an"));
    }
    lines.push(format!(
        "  du {} au {} (exclu)",
        habilitation.not_before.to_rfc3339(),
        habilitation.not_after.to_rfc3339()
    ));
    lines.push(format!("  empreinte : {}", habilitation.hash()));
    lines.join("\n")
}

/// What was just signed, and who has still to sign.
pub(super) fn signed(row: &HabilitationRow, role: SignerRole, kid: &Thumbprint) -> String {
    let missing: Vec<&str> = super::missing(row).map(role_fr).collect();
    let rest = match missing.is_empty() {
        true => "les trois ont signé : remettez le fichier à qui signe l'annuaire".to_owned(),
        false => format!("il manque encore : {}", missing.join(", ")),
    };
    format!(
        "{} signée ({}), clé {kid}\n{rest}",
        row.habilitation.id,
        role_fr(role)
    )
}

/// How one of the three signatures stands.
pub(super) struct Standing {
    role: SignerRole,
    who: String,
    state: State,
}

enum State {
    Missing,
    /// There, and nothing at hand to verify it with.
    Unverified,
    Verified(Thumbprint),
    Refused(String),
}

impl Standing {
    pub(super) fn of(row: &HabilitationRow, role: SignerRole, directory: Option<&Directory>) -> Self {
        let signer = row.habilitation.party(role);
        let state = match (row.signatures.of(role), directory) {
            (None, _) => State::Missing,
            (Some(_), None) => State::Unverified,
            (Some(_), Some(directory)) => {
                let keys = directory.signer_keys(&row.habilitation, role);
                match habilitation::verify_one(row, role, keys) {
                    Ok(kid) => State::Verified(kid),
                    Err(refused) => State::Refused(refused_fr(&refused)),
                }
            }
        };
        Self {
            role,
            who: format!(" ({})", participant(&signer, directory)),
            state,
        }
    }

    pub(super) const fn verified(&self) -> bool {
        matches!(self.state, State::Verified(_))
    }

    pub(super) fn to_json(&self) -> Value {
        let (state, kid, why) = match &self.state {
            State::Missing => ("missing", None, None),
            State::Unverified => ("not_verified", None, None),
            State::Verified(kid) => ("verified", Some(kid.to_string()), None),
            State::Refused(why) => ("refused", None, Some(why)),
        };
        json!({ "role": self.role.as_str(), "state": state, "kid": kid, "why": why })
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} : ", role_fr(self.role), self.who)?;
        match &self.state {
            State::Missing => f.write_str("n'a pas encore signé"),
            State::Unverified => {
                f.write_str("signature présente, non vérifiée (donnez --directory et --pin)")
            }
            State::Verified(kid) => write!(f, "a signé, clé {kid}"),
            State::Refused(why) => write!(f, "REFUSÉE : {why}"),
        }
    }
}

/// The role in words.
pub(super) const fn role_fr(role: SignerRole) -> &'static str {
    match role {
        SignerRole::Consumer => "le demandeur",
        SignerRole::Producer => "le producteur",
        SignerRole::Authority => "l'autorité",
    }
}

fn refused_fr(refused: &habilitation::HabilitationRefused) -> String {
    use habilitation::HabilitationRefused as Refused;
    match refused {
        Refused::Missing(_) => "elle manque".to_owned(),
        Refused::Signature { .. } => "aucune clé de ce signataire dans l'annuaire ne l'a faite".to_owned(),
        Refused::OtherHabilitation(_) => {
            "elle porte sur une autre habilitation, ou sur un autre texte".to_owned()
        }
        Refused::OtherRole { given, .. } => format!("elle a été donnée comme {}", role_fr(*given)),
    }
}

fn participant(id: &ParticipantId, directory: Option<&Directory>) -> String {
    let row = directory.and_then(|directory| directory.participant(id));
    row.map_or_else(
        || id.to_string(),
        |row| format!("{} ({})", row.name.fr, id.siret()),
    )
}
