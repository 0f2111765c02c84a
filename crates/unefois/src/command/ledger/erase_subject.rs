//! `ledger erase-subject`: erasure before its time, on a decision.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;
use unefois_core::{Clock, ParticipantId, Random, SubjectForm};
use unefois_ledger::{DecisionRef, Erasing, Erasure, Ledger};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_store::{Component, Db};

use crate::command::audit::filters::participant;
use crate::command::{person, runtime};
use crate::config::{Process, load, overrides};
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// `ledger erase-subject`.
#[derive(Debug, Args)]
pub struct EraseSubject {
    /// File with the handle of the grant; `-` for standard input.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "person",
        conflicts_with = "person"
    )]
    handle: Option<PathBuf>,
    /// File with the person: the source's own id, or the identity as a JSON object; `-` for standard input. Every
    /// handle under which there was an exchange about them is erased whole.
    #[arg(long, value_name = "FILE")]
    person: Option<PathBuf>,
    /// Erases though the identity lacks what tells namesakes apart (the commune of birth in France, the whole date, the
    /// sex): what is about them goes too.
    #[arg(long, requires = "person")]
    namesakes_too: bool,
    /// Reference of the decision that orders it: 1 to 64 of A-Z a-z 0-9 . _ : / -. It is logged.
    #[arg(long, value_name = "REF")]
    decision: DecisionRef,
    /// The configuration of the process whose ledger it is. That process must be stopped.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Whose exchanges: urn:unefois:participant:SIRET, or the SIRET alone. Needed where the node writes the ledgers of
    /// several: its own participant's, and those of the bodies that it hosts. Nothing of another's is erased.
    #[arg(long, value_parser = participant, value_name = "PARTICIPANT")]
    participant: Option<ParticipantId>,
    /// What that process is.
    #[arg(long, value_enum, default_value = "node")]
    role: Role,
    /// On PostgreSQL: the replica whose configuration this is has been stopped, though others run.
    #[arg(long)]
    replica_stopped: bool,
}

/// Whose ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// A participant's node.
    Node,
    /// The authority.
    Authority,
}

/// Runs `ledger erase-subject`.
pub(super) fn run(erase: &EraseSubject, console: Console) -> Result<(), Failure> {
    let whom = match (&erase.handle, &erase.person) {
        (Some(file), _) => Erasing::Handle(person::handle(file)?),
        (None, Some(file)) => Erasing::Person(match person::subject(file)? {
            SubjectForm::Exact(person) => person,
            SubjectForm::Shared(person) if erase.namesakes_too => person,
            SubjectForm::Shared(_) => {
                return Err(Failure::new(
                    Kind::Refused,
                    "cette identité peut être aussi celle d'un homonyme ; rien n'est effacé",
                )
                .because("il y manque la commune de naissance en France, le jour, le mois ou le sexe")
                .next("effacez autorisation par autorisation, avec --handle ; ou, si la décision le veut, ajoutez --namesakes-too"));
            }
        }),
        (None, None) => return Err(Failure::new(Kind::Usage, "il faut --handle ou --person")),
    };
    let (erased, log) = runtime()?.block_on(async {
        let (db, ledger) = open(erase).await?;
        let erased = ledger.erase(&whom, &erase.decision).await;
        ledger.close().await;
        db.close().await;
        let erased = erased.map_err(|e| failure(&e))?;
        Ok::<_, Failure>((erased, ledger.origin().to_string()))
    })?;
    tell(&erased, (&log, &erase.decision), console)
}

/// Whose exchanges are meant, of the participants whose ledgers the process writes.
fn whose(named: Option<ParticipantId>, written: &[ParticipantId]) -> Result<ParticipantId, Failure> {
    let what = match (named, written) {
        (Some(named), written) if written.contains(&named) => return Ok(named),
        (None, [only]) => return Ok(*only),
        (Some(named), _) => format!("ce processus ne tient aucun registre de {named} ; rien n'est effacé"),
        (None, _) => "ce nœud tient les registres de plusieurs participants ; rien n'est effacé".to_owned(),
    };
    let written: Vec<String> = written.iter().map(ToString::to_string).collect();
    Err(Failure::new(Kind::Usage, what).next(format!(
        "désignez par --participant celui dont il s'agit : {}",
        written.join(", ")
    )))
}

/// Opens the ledger as its process does, which is not running.
async fn open(erase: &EraseSubject) -> Result<(Db, Ledger), Failure> {
    let (clock, random): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), SystemRandom::new());
    let overrides = overrides(std::env::vars_os());
    let closed = |e: &dyn std::error::Error| {
        Failure::new(Kind::Configuration, "le registre n'est pas ouvert").because(e)
    };
    match erase.role {
        Role::Node => {
            let process: Process<unefois_node::Config> = load(&erase.config, &overrides)?;
            let node = process.role;
            let participants: Vec<ParticipantId> = node.participants().collect();
            let participant = whose(erase.participant, &participants)?;
            let keys = node.ledger_of(&participant).expect("it is one of the node's");
            let db = database(&node.database.url, Component::Node, erase.replica_stopped).await?;
            let ledger = unefois_node::ledger(&keys, &node.database, &db, &clock, &random).await;
            Ok((db, ledger.map_err(|e| closed(&e))?))
        }
        Role::Authority => {
            let process: Process<unefois_authority::Config> = load(&erase.config, &overrides)?;
            whose(erase.participant, &[process.role.authority.participant])?;
            let db = database(
                &process.role.database.url,
                Component::Authority,
                erase.replica_stopped,
            )
            .await?;
            let rng = random.ring().clone();
            let random: Arc<dyn Random> = Arc::new(random);
            let ledger = unefois_authority::ledger(&process.role, &db, &clock, &random, &rng).await;
            Ok((db, ledger.map_err(|e| closed(&e))?))
        }
    }
}

/// Opens the database, unless the process that writes the log may be running: this one would end its writing.
async fn database(url: &str, component: Component, replica_stopped: bool) -> Result<Db, Failure> {
    let running = || {
        Failure::new(Kind::TryAgain, "un processus se sert de cette base ; rien n'est effacé")
            .next("arrêtez-le ; avec plusieurs répliques, arrêtez celle de cette configuration et ajoutez --replica-stopped")
    };
    let unread = |e: unefois_store::Error| match e {
        unefois_store::Error::Locked => running(),
        e => Failure::new(Kind::NoInput, "la base n'est pas ouverte")
            .because(e)
            .next("vérifiez [database] url"),
    };
    let db = Db::open(url, component).await.map_err(unread)?;
    match !replica_stopped && db.others().await.map_err(unread)? > 0 {
        true => Err(running()),
        false => Ok(db),
    }
}

fn failure(error: &unefois_ledger::Error) -> Failure {
    match error {
        unefois_ledger::Error::TooMuch => Failure::new(
            Kind::Refused,
            "une décision efface 5 000 lignes au plus ; rien n'est effacé",
        )
        .next("effacez autorisation par autorisation, avec --handle"),
        unefois_ledger::Error::Unavailable => Failure::new(
            Kind::TryAgain,
            "l'effacement est fait avec son écriture, ou pas du tout",
        )
        .because(error)
        .next("relancez la même commande : elle n'efface et n'écrit que ce qui reste"),
        _ => Failure::new(Kind::CannotWrite, "rien n'est effacé").because(error),
    }
}

fn tell(erased: &Erasure, (log, decision): (&str, &DecisionRef), console: Console) -> Result<(), Failure> {
    let Some(entry) = erased.entry else {
        return Err(Failure::new(
            Kind::No,
            "rien n'est gardé à ce sujet ; rien n'est écrit au registre",
        ));
    };
    let counts: serde_json::Map<String, serde_json::Value> = (erased.rows.iter())
        .map(|(kind, n)| (kind.as_str().to_owned(), (*n).into()))
        .collect();
    let value = json!({ "log": log, "entry": entry, "decision": decision.to_string(), "erased": counts, "settled": erased.settled });
    console.data(&value, || {
        let counts: Vec<String> = erased
            .rows
            .iter()
            .map(|(kind, n)| format!("{} {n}", kind.as_str()))
            .collect();
        format!(
            "effacé : {}\nécriture {entry} du registre {log}, décision {decision}",
            counts.join(", ")
        )
    })
}
