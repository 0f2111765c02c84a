//! `habilitation try`: the very decisions of the authority and of the producer, over a directory and a catalogue at hand.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unefois_core::catalogue::Catalogue;
use unefois_core::decision::{Ground, Operator, Refusal, Requester, authorizable};
use unefois_core::{
    AuthorizationDetails, Capacity, Clock as _, DatatypeRev, DemarcheId, Directory, HabilitationId,
    LegalBasis, Micros, ParticipantId, Reason, Sha256, SubjectKind, UnitName, Way,
};
use unefois_jose::Thumbprint;
use unefois_mesh::SystemClock;

use super::{DirectoryArgs, read_catalogue};
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// `habilitation try`: 0 if it would be allowed, 1 if not.
#[derive(Debug, Args)]
pub struct Try {
    #[command(flatten)]
    directory: DirectoryArgs,
    /// The catalogue: its folder, or the compiled file.
    #[arg(long, value_name = "PATH")]
    catalogue: PathBuf,
    /// Who asks.
    #[arg(long)]
    consumer: ParticipantId,
    /// Who asks in its name, where it is another.
    #[arg(long)]
    publisher: Option<ParticipantId>,
    /// By which right; the first that fits where absent.
    #[arg(long)]
    habilitation: Option<HabilitationId>,
    /// For which démarche.
    #[arg(long)]
    demarche: DemarcheId,
    /// What is asked for.
    #[arg(long)]
    datatype: DatatypeRev,
    /// Which units; once for each, all that the démarche fixes where absent.
    #[arg(long = "unit", value_name = "UNIT")]
    units: Vec<UnitName>,
    /// On which legal ground.
    #[arg(long, default_value = "CRPA-L114-8-I")]
    legal_basis: LegalBasis,
    /// About whom.
    #[arg(long, default_value = "self")]
    subject: SubjectKind,
    /// How it is asked: present, link, agent or automatic.
    #[arg(long, default_value = "present")]
    way: Way,
    /// Thumbprint of a key that the producer's own configuration names for habilitations; once for each. Without one, what
    /// only the producer can tell is left open.
    #[arg(long = "producer-key", value_name = "THUMBPRINT", allow_hyphen_values = true)]
    producer_keys: Vec<Thumbprint>,
    /// The hash of a habilitation that the producer's own configuration names as ended; once for each.
    #[arg(long = "ended", value_name = "HASH", requires = "producer_keys")]
    ended: Vec<Sha256>,
    /// When; now where absent.
    #[arg(long, value_name = "INSTANT")]
    at: Option<Micros>,
}

/// What became of it.
enum Verdict {
    /// By this right; whether a producer's key was tried as well.
    Allowed(HabilitationId, bool),
    Refused(Refusal),
}

/// Runs `habilitation try`.
pub(super) fn run(attempt: &Try, console: Console) -> Result<(), Failure> {
    let directory = attempt.directory.read()?.ok_or_else(|| {
        Failure::new(Kind::Usage, "il manque --directory FILE --pin THUMBPRINT")
            .next("tapez : unefois habilitation try --help")
    })?;
    let catalogue = read_catalogue(&attempt.catalogue)?;
    let at = attempt.at.unwrap_or_else(|| SystemClock.now());
    match attempt.decide(&directory, &catalogue, at)? {
        Verdict::Allowed(habilitation, tried) => console.data(
            &json!({ "allowed": true, "habilitation": habilitation, "producer_key": tried }),
            || {
                let rest = match tried {
                    true => "la clé du producteur l'a signée",
                    false => "le producteur n'est pas interrogé (--producer-key) : son nœud exige que sa propre clé ait signé",
                };
                format!("oui, par l'habilitation {habilitation} ; {rest}")
            },
        ),
        Verdict::Refused(refusal) => {
            let why = why(&refusal);
            console.data(
                &json!({ "allowed": false, "reason": refusal.reason.as_str(), "field": refusal.field, "why": why }),
                || format!("non : {why}"),
            )?;
            Err(Failure::new(Kind::No, "la demande ne serait pas permise")
                .reason(refusal.reason)
                .because(why))
        }
    }
}

impl Try {
    fn decide(&self, directory: &Directory, catalogue: &Catalogue, at: Micros) -> Result<Verdict, Failure> {
        let datatype = catalogue.datatype(&self.datatype);
        let demarche = catalogue.demarche(&self.demarche);
        let (Some(datatype), Some(demarche)) = (datatype, demarche) else {
            let what = match datatype {
                None => format!("« {} » n'est pas au catalogue", self.datatype),
                Some(_) => format!("« {} » n'est pas au catalogue", self.demarche),
            };
            return Err(Failure::new(Kind::Data, what));
        };
        let ground = match Ground::new(catalogue, directory, at) {
            Ok(ground) => ground,
            Err(refusal) => return Ok(Verdict::Refused(refusal)),
        };
        let datum = demarche.datum(&self.datatype);
        let fixed = datum.map_or(&[][..], |datum| &datum.fixed);
        let units = match self.units.is_empty() {
            true => fixed,
            false => &self.units,
        };
        let units: Vec<_> = units
            .iter()
            .map(|unit| json!({ "unit": unit, "need": if fixed.contains(unit) { "required" } else { "optional" } }))
            .collect();
        let named = self.habilitation.clone().or_else(|| self.fitting(directory, at));
        let Some(habilitation) = named else {
            return Ok(Verdict::Refused(Refusal {
                reason: Reason::NotEntitled,
                field: "habilitation".to_owned(),
            }));
        };
        let element: AuthorizationDetails = serde_json::from_value(json!({
            "type": "urn:unefois:justificatif:1", "datatypes": [self.datatype], "units": units,
            "locations": [datatype.operator()], "actions": ["fetch"], "demarche": self.demarche,
            "habilitation": habilitation, "dossier_ref": "essai", "legal_basis": self.legal_basis,
            "mode": { "kind": "once" }, "use": "view", "data_life_days": 1, "subject": { "kind": self.subject },
        }))
        .map_err(|e| Failure::new(Kind::Bug, "la demande n'est pas formée").because(e))?;
        let requester = Requester {
            consumer: self.consumer,
            publisher: self.publisher,
        };
        let operator = Operator {
            participant: *datatype.operator(),
            habilitation_keys: self.producer_keys.iter().map(ToString::to_string).collect(),
            habilitations_ended: self.ended.iter().copied().collect(),
        };
        let tried = !self.producer_keys.is_empty();
        let habilitated = match tried {
            true => (ground.entitle(&operator, &requester, self.capacity(), &element)).map(drop),
            false => ground.habilitated(&requester, &element).map(drop),
        };
        let decided = habilitated.and_then(|()| {
            match authorizable(&ground, &requester, self.way, std::slice::from_ref(&element)) {
                // All in one request may be what the démarche needs; this part of it is covered.
                Err(refusal) if refusal.field == "authorization_details" => Ok(()),
                decided => decided,
            }
        });
        Ok(match decided {
            Ok(()) => Verdict::Allowed(habilitation, tried),
            Err(refusal) => Verdict::Refused(refusal),
        })
    }

    /// In what capacity somebody would stand behind it.
    const fn capacity(&self) -> Capacity {
        match (self.way, self.subject) {
            (Way::Agent, _) => Capacity::Agent,
            (Way::Automatic, _) => Capacity::Automatic,
            (Way::Present | Way::Link, SubjectKind::SelfPerson | SubjectKind::Household) => {
                Capacity::SelfPerson
            }
            (Way::Present | Way::Link, SubjectKind::Child) => Capacity::Child,
            (Way::Present | Way::Link, SubjectKind::Entity) => Capacity::Entity,
        }
    }

    /// The first habilitation that fits, as a consumer's node would choose it.
    fn fitting(&self, directory: &Directory, at: Micros) -> Option<HabilitationId> {
        let mut rows = directory
            .document()
            .habilitations
            .iter()
            .map(|row| &row.habilitation);
        let fits = rows.find(|h| {
            h.consumer == self.consumer
                && h.demarche == self.demarche
                && h.units(&self.datatype).is_some()
                && h.in_force(at)
        });
        fits.map(|h| h.id.clone())
    }
}

/// The refusal in words: what is not covered.
fn why(refusal: &Refusal) -> String {
    let field = refusal
        .field
        .rsplit_once("].")
        .map_or(refusal.field.as_str(), |(_, member)| member);
    let member = field.split(['[', '.']).next().unwrap_or(field);
    let text = match (refusal.reason, member) {
        (Reason::DirectoryStale, "catalogue") => "ce catalogue n'est pas celui de l'annuaire",
        (Reason::DirectoryStale, _) => "l'annuaire est périmé",
        (Reason::LegalBlock, "legal_basis") => "cette base légale ne permet pas cette demande",
        (Reason::LegalBlock, _) => "la démarche ne permet pas de demander ainsi",
        (Reason::UnsupportedRevision, _) => "ce justificatif n'est pas servi, ou pas par ce producteur",
        (Reason::NotEntitled, "client_id") => "le demandeur n'est pas dans l'annuaire",
        (Reason::NotEntitled, "act_client") => {
            "cet éditeur n'agit pas pour ce demandeur, ou pas par cette habilitation"
        }
        (Reason::NotEntitled, "habilitation") => {
            "aucune habilitation en vigueur entre ces deux-là pour cette démarche, ou la clé du producteur ne l'a pas signée, ou il la dit finie"
        }
        (Reason::NotEntitled, "demarche") => {
            "l'habilitation est pour une autre démarche, ou le demandeur n'en mène pas de cette sorte"
        }
        (Reason::NotEntitled, "datatypes") => "l'habilitation ou la démarche ne couvre pas ce justificatif",
        (Reason::NotEntitled, "subject") => "ce justificatif ne se demande pas pour cette personne",
        (Reason::NotEntitled, _) => "une information demandée n'est pas couverte",
        (Reason::CatalogueChanged, "demarche") => {
            "le catalogue ne dit plus de la démarche ce que les trois ont signé : proposez l'habilitation et faites-la signer de nouveau"
        }
        (Reason::CatalogueChanged, _) => {
            "le catalogue ne dit plus du justificatif ce que les trois ont signé : proposez l'habilitation et faites-la signer de nouveau"
        }
        (Reason::InvalidRequest, "units" | "unit" | "need") => {
            "les informations demandées ne sont pas celles de la démarche : il en manque, ou il y en a d'inconnues"
        }
        (Reason::InvalidRequest, "period") => "ce justificatif veut une période",
        (_, _) => refusal.reason.text_fr(),
    };
    format!("{text} ({})", refusal.field)
}
