//! What is told of a proof of withdrawal, and of what it does not show.

use serde_json::{Value, json};
use unefois_core::effect::{LogLine, Standing};
use unefois_core::in_line;
use unefois_mesh::status::chain;
use unefois_tlog::Hash;

use super::{Proof, ProofFile, Shown};
use crate::command::receipt::Trust;
use crate::console::{Console, Lang};
use crate::failure::{Failure, Kind};

/// Tells what a file says, without judging it.
pub(in crate::command::receipt) fn show(file: &ProofFile, console: Console) -> Result<(), Failure> {
    let said = Said {
        file,
        shown: None,
        trust: None,
        console,
    };
    console.data(&said.to_json(), || {
        let unjudged = console.pick(
            "non vérifié : receipt verify le vérifie",
            "not verified: receipt verify does that",
        );
        said.in_words() + unjudged
    })
}

/// Judges a file and tells what it shows.
pub(in crate::command::receipt) fn verify(
    file: &ProofFile,
    trust: &Trust,
    console: Console,
) -> Result<(), Failure> {
    let shown = file.verify(trust).map_err(|(number, why)| {
        let what = format!("la preuve {number} de ce fichier ne montre pas que ce retrait a pris effet");
        let failure = Failure::new(Kind::No, what).because(chain(&why));
        failure.next("gardez le fichier et demandez à qui l'a remis")
    })?;
    let unlogged = shown.iter().position(Option::is_none);
    let said = Said {
        file,
        shown: Some(&shown),
        trust: Some(trust),
        console,
    };
    console.data(&said.to_json(), || {
        said.in_words() + &said.verdict(unlogged.is_none())
    })?;
    match unlogged {
        None => Ok(()),
        Some(place) => Err(Failure::new(
            Kind::TryAgain,
            format!("la preuve {} n'est pas encore vérifiable", place + 1),
        )
        .because("son inscription au registre n'est pas encore faite")
        .next("téléchargez de nouveau preuve-retrait.json")),
    }
}

/// A file with what was found of it; without that where it was not judged.
pub(super) struct Said<'a> {
    pub(super) file: &'a ProofFile,
    pub(super) shown: Option<&'a [Option<Shown>]>,
    pub(super) trust: Option<&'a Trust>,
    pub(super) console: Console,
}

impl Said<'_> {
    fn shown(&self, place: usize) -> Option<&Shown> {
        self.shown?.get(place)?.as_ref()
    }

    pub(super) fn to_json(&self) -> Value {
        let verified = self.shown.is_some_and(|shown| shown.iter().all(Option::is_some));
        let proofs = self.file.proofs.iter().enumerate();
        let proofs: Vec<Value> = proofs
            .map(|(place, proof)| {
                let (effect, shown) = (&proof.effect, self.shown(place));
                let logs: Vec<Value> = effect.logs.iter().map(|line| log(line, shown)).collect();
                json!({
                    "verified": shown.is_some(),
                    "recorded_at": effect.record.at.to_rfc3339(),
                    "effective_at": effect.effective_at.to_rfc3339(),
                    "epoch": effect.record.place.epoch, "seq": effect.record.place.seq,
                    "handle": proof.handle, "operator": effect.operator,
                    "entry": proof.logged.as_ref().map(|logged| json!({
                        "log": logged.log(), "index": logged.index(), "size": shown.map(|shown| shown.size),
                    })),
                    "attested": shown.map(|shown| shown.signed.len()),
                    "logs": logs,
                    "logs_without_line": shown.map(|shown| &shown.without_line),
                })
            })
            .collect();
        json!({ "grant_id": self.file.grant_id, "verified": verified, "proofs": proofs })
    }

    pub(super) fn in_words(&self) -> String {
        let pick = |fr, en| self.console.pick(fr, en);
        let (of_grant, element) = (
            pick(
                "Preuve de retrait de l'autorisation",
                "Proof of the withdrawal of authorisation",
            ),
            pick("Preuve", "Proof"),
        );
        let (of, at) = (pick("sur", "of"), pick("auprès de", "at"));
        let mut text = format!("{of_grant} {}\n", self.file.grant_id);
        let all = self.file.proofs.len();
        for (place, proof) in self.file.proofs.iter().enumerate() {
            let whose = self.operator(proof);
            text += &format!("{element} {} {of} {all}, {at} {whose}\n", place + 1);
            text += &self.element(proof, self.shown(place));
        }
        text
    }

    /// Whose logs a proof concerns, by the name that the directory gives.
    fn operator(&self, proof: &Proof) -> String {
        let Some(id) = &proof.effect.operator else {
            return self
                .console
                .pick("chaque producteur", "every producer")
                .to_owned();
        };
        let row = match self.trust {
            Some(Trust::Directory(directory)) => directory.participant(id),
            Some(Trust::Key(_)) | None => None,
        };
        row.map_or_else(
            || id.to_string(),
            |row| self.console.pick(&row.name.fr, &row.name.en).to_owned(),
        )
    }

    fn element(&self, proof: &Proof, shown: Option<&Shown>) -> String {
        let (recorded, effective) = (
            proof.effect.record.at.to_rfc3339(),
            proof.effect.effective_at.to_rfc3339(),
        );
        let attested = self.attested(proof, shown);
        let mut text = match self.console.lang {
            Lang::Fr => format!("  retrait enregistré à {recorded}, effectif à {effective}, {attested}\n"),
            Lang::En => {
                format!("  withdrawal recorded at {recorded}, effective at {effective}, {attested}\n")
            }
        };
        for line in &proof.effect.logs {
            let origin = in_line(&line.origin);
            text += &match self.console.lang {
                Lang::Fr => format!("  registre {origin} : {}\n", self.line_fr(line, shown)),
                Lang::En => format!("  ledger {origin}: {}\n", self.line_en(line, shown)),
            };
        }
        for log in shown.into_iter().flat_map(|shown| &shown.without_line) {
            text += &match self.console.lang {
                Lang::Fr => format!(
                    "  registre {log} : la preuve n'en dit rien ; l'annuaire donné est d'une autre version\n"
                ),
                Lang::En => {
                    format!(
                        "  ledger {log}: the proof says nothing of it; the directory given is of another version\n"
                    )
                }
            };
        }
        text + &self.entry(proof, shown)
    }

    /// « attesté par n registres sur n ».
    fn attested(&self, proof: &Proof, shown: Option<&Shown>) -> String {
        let lines = &proof.effect.logs;
        let said = lines
            .iter()
            .filter(|line| matches!(line.standing, Standing::Acknowledged { .. }));
        let (all, signed) = (lines.len(), shown.map_or(0, |shown| shown.signed.len()));
        let unsigned = said.count() - signed;
        let mut text = match (all, self.console.lang) {
            (0, Lang::Fr) => return "sans registre qui aurait à l'attester".to_owned(),
            (0, Lang::En) => return "without a ledger that would have to attest it".to_owned(),
            (_, Lang::Fr) => format!("attesté par {signed} registre{} sur {all}", plural(signed)),
            (_, Lang::En) => format!("attested by {signed} of {all} ledger{}", plural(all)),
        };
        if unsigned > 0 {
            text += &match (shown.is_some(), self.console.lang) {
                (true, Lang::Fr) => {
                    format!(", et par {unsigned} dont la signature n'est pas vérifiée")
                }
                (true, Lang::En) => format!(", and by {unsigned} whose signature is not verified"),
                (false, Lang::Fr) => format!(", et par {unsigned} à vérifier"),
                (false, Lang::En) => format!(", and by {unsigned} to be verified"),
            };
        }
        text
    }

    fn line_fr(&self, line: &LogLine, shown: Option<&Shown>) -> String {
        match (&line.standing, signed(line, shown)) {
            (Standing::Acknowledged { .. }, Some((size, root))) => {
                format!("a confirmé le retrait et signé sa tête, {size} entrées, racine {root}")
            }
            (Standing::Acknowledged { .. }, None) => {
                let why = match self.trust {
                    None => "à vérifier",
                    Some(Trust::Key(_)) => "non vérifiée, il y faut --directory et --pin",
                    Some(Trust::Directory(_)) => "non vérifiée, cet annuaire ne nomme pas le registre",
                };
                format!("a confirmé le retrait, dit l'autorité ; signature {why}")
            }
            (Standing::Lapsed { size, root }, _) => format!(
                "n'atteste rien ; l'autorité dit que son bail avait pris fin, après {size} entrées, racine {}",
                Hash::new(*root.as_bytes())
            ),
            (Standing::Opened, _) => {
                "n'atteste rien ; l'autorité dit qu'il n'a pu servir qu'une fois le retrait reçu".to_owned()
            }
            (Standing::Absent, _) => {
                "n'atteste rien ; l'autorité ne connaît aucun programme qui le tienne".to_owned()
            }
        }
    }

    fn line_en(&self, line: &LogLine, shown: Option<&Shown>) -> String {
        match (&line.standing, signed(line, shown)) {
            (Standing::Acknowledged { .. }, Some((size, root))) => {
                format!("confirmed the withdrawal and signed its head, {size} entries, root {root}")
            }
            (Standing::Acknowledged { .. }, None) => {
                let why = match self.trust {
                    None => "to be verified",
                    Some(Trust::Key(_)) => "not verified, that needs --directory and --pin",
                    Some(Trust::Directory(_)) => "not verified, this directory does not name the ledger",
                };
                format!("confirmed the withdrawal, says the authority; signature {why}")
            }
            (Standing::Lapsed { size, root }, _) => format!(
                "attests nothing; the authority says that its lease had run out, after {size} entries, root {}",
                Hash::new(*root.as_bytes())
            ),
            (Standing::Opened, _) => {
                "attests nothing; the authority says that it could serve only once it had the withdrawal"
                    .to_owned()
            }
            (Standing::Absent, _) => {
                "attests nothing; the authority knows of no process that keeps it".to_owned()
            }
        }
    }

    /// Where the proof is written in the authority's ledger.
    fn entry(&self, proof: &Proof, shown: Option<&Shown>) -> String {
        let Some(logged) = &proof.logged else {
            let pick = self.console.pick(
                "l'inscription au registre n'est pas encore faite : téléchargez de nouveau",
                "it is not written in the ledger yet: download it again",
            );
            return format!("  {pick}\n");
        };
        let (index, log) = (logged.index(), logged.log());
        let under = match (shown.map(|shown| shown.size), self.console.lang) {
            (None, _) => String::new(),
            (Some(size), Lang::Fr) => format!(", sous sa tête signée de {size} entrées"),
            (Some(size), Lang::En) => format!(", under its signed head of {size} entries"),
        };
        match self.console.lang {
            Lang::Fr => format!("  inscription {index} du registre {log}{under}\n"),
            Lang::En => format!("  entry {index} of ledger {log}{under}\n"),
        }
    }

    fn verdict(&self, whole: bool) -> String {
        let verdict = match whole {
            true => self.console.pick(
                "vérifié : chaque preuve est celle que le registre de l'autorité engage",
                "verified: each proof is the one that the authority's ledger commits to",
            ),
            false => self.console.pick(
                "vérifié en partie : une preuve n'est pas encore inscrite",
                "verified in part: a proof is not written yet",
            ),
        };
        let beyond = self.console.pick(
            "Ce fichier ne montre pas :\n  \
             - à lui seul, que rien n'a été transmis depuis : un auditeur le lit dans les registres des producteurs\n    \
             (unefois audit check-withdrawals) ;\n  \
             - à qui et à quel numéro d'autorisation ces retraits se rapportent, ni qu'elle n'avait pas d'autres\n    \
             éléments : rien de signé ne le dit.",
            "This file does not show:\n  \
             - by itself, that nothing was sent since: an auditor reads that in the producers' ledgers\n    \
             (unefois audit check-withdrawals);\n  \
             - whom and which authorisation number these withdrawals are of, nor that it had no other elements:\n    \
             nothing that is signed says so.",
        );
        format!("{verdict}\n{beyond}")
    }
}

const fn plural(n: usize) -> &'static str {
    match n {
        0 | 1 => "",
        _ => "s",
    }
}

/// The head that a log acknowledged with, once its signature is verified.
fn signed<'a>(line: &LogLine, shown: Option<&'a Shown>) -> Option<&'a (u64, Hash)> {
    shown?.signed.get(&line.origin)
}

fn log(line: &LogLine, shown: Option<&Shown>) -> Value {
    let (state, checkpoint, named) = match &line.standing {
        Standing::Acknowledged { checkpoint, .. } => {
            ("acknowledged", Some(checkpoint), signed(line, shown).copied())
        }
        Standing::Lapsed { size, root } => ("lapsed", None, Some((*size, Hash::new(*root.as_bytes())))),
        Standing::Opened => ("opened", None, None),
        Standing::Absent => ("absent", None, None),
    };
    json!({
        "log": line.origin, "participant": line.participant, "state": state,
        "attested": shown.map(|_| signed(line, shown).is_some()),
        "size": named.map(|(size, _)| size), "root": named.map(|(_, root)| root.to_string()),
        "checkpoint": checkpoint,
    })
}
