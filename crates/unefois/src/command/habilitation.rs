//! `habilitation propose|sign|show|try`: who may ask what of whom, proposed in a file, signed by the three whom it takes,
//! and tried.

mod attempt;
mod faults;
mod words;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Map, Value, json};
use unefois_core::catalogue::Catalogue;
use unefois_core::{
    Clock as _, DatatypeRev, DemarcheId, Directory, Habilitation, HabilitationId, HabilitationRow,
    HabilitationSignatures, LegalBasis, Micros, ParticipantId, Sha256, SignerRole, UnitName,
};
use unefois_jose::{SigningKey, Thumbprint, habilitation};
use unefois_mesh::{SystemClock, SystemRandom};

use super::catalogue::{load, read_folder};
use super::directory;
use super::key::read_signing_key;
use super::read_text;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// Proposes, signs, shows and tries habilitations.
#[derive(Debug, Subcommand)]
pub enum HabilitationCommand {
    /// Writes a habilitation that nobody has signed yet, once it is found in order.
    Propose(Box<Propose>),
    /// Adds one's own signature to a habilitation's file; an earlier one of the same role gives way.
    Sign(Sign),
    /// Says who may ask what of whom, and who has signed.
    Show(Show),
    /// Tells whether a request would be allowed, and why not.
    Try(Box<attempt::Try>),
}

/// `habilitation propose`: from a file, from options, or from a file that options change.
#[derive(Debug, Args)]
pub struct Propose {
    /// The habilitation in YAML or JSON: the members of the options below. What the names of data and démarche mean comes
    /// from the catalogue.
    file: Option<PathBuf>,
    /// The catalogue: its folder, or the compiled file.
    #[arg(long, value_name = "PATH")]
    catalogue: PathBuf,
    #[command(flatten)]
    directory: DirectoryArgs,
    /// Where to write it; on standard output where absent. An existing file is never overwritten.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Its number; one given elsewhere will do.
    #[arg(long)]
    id: Option<HabilitationId>,
    /// Who may ask, urn:unefois:participant:SIRET.
    #[arg(long)]
    consumer: Option<ParticipantId>,
    /// Who may ask in the consumer's name; it alone, where one is named.
    #[arg(long)]
    publisher: Option<ParticipantId>,
    /// Who answers.
    #[arg(long)]
    producer: Option<ParticipantId>,
    /// The authority that signs it; the directory's where neither option nor file names one.
    #[arg(long)]
    authority: Option<ParticipantId>,
    /// For which démarche.
    #[arg(long)]
    demarche: Option<DemarcheId>,
    /// A datatype and its units, provider/type@1=unit,unit; once for each.
    #[arg(long = "datatype", value_name = "DATATYPE=UNITS", value_parser = datatype)]
    datatypes: Vec<Covered>,
    /// On which legal ground; once for each.
    #[arg(long = "legal-basis", value_name = "CODE")]
    legal_bases: Vec<LegalBasis>,
    /// How many fetches a year are foreseen.
    #[arg(long)]
    volume_per_year: Option<u32>,
    /// From when, RFC 3339.
    #[arg(long, value_name = "INSTANT")]
    not_before: Option<Micros>,
    /// Until when, excluded.
    #[arg(long, value_name = "INSTANT")]
    not_after: Option<Micros>,
}

/// A datatype and the units of it that may be asked for.
#[derive(Clone, Debug, Serialize)]
struct Covered {
    datatype: DatatypeRev,
    units: BTreeSet<UnitName>,
}

/// The signed directory that names and keys are taken from.
#[derive(Debug, Args)]
pub struct DirectoryArgs {
    /// The signed directory; names and keys are taken from it.
    #[arg(long, value_name = "FILE", requires = "pin")]
    directory: Option<PathBuf>,
    /// Thumbprint of the key that must have signed the directory.
    #[arg(long, value_name = "THUMBPRINT", allow_hyphen_values = true)]
    pin: Option<Thumbprint>,
}

impl DirectoryArgs {
    fn read(&self) -> Result<Option<Directory>, Failure> {
        match (&self.directory, &self.pin) {
            (Some(file), Some(pin)) => directory::verify(&read_text(file)?, pin).map(Some),
            (_, _) => Ok(None),
        }
    }
}

/// `habilitation sign`.
#[derive(Debug, Args)]
pub struct Sign {
    /// The habilitation's file; the signature is put into it.
    file: PathBuf,
    /// In which capacity.
    #[arg(long)]
    role: Role,
    /// The hash of what is signed, as `habilitation show` printed it once it was read.
    #[arg(long)]
    hash: Sha256,
    /// The private key of habilitations, kept offline.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// In which capacity a habilitation is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Whoever asks.
    Consumer,
    /// Whoever answers.
    Producer,
    /// The authority.
    Authority,
}

impl From<Role> for SignerRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Consumer => Self::Consumer,
            Role::Producer => Self::Producer,
            Role::Authority => Self::Authority,
        }
    }
}

/// `habilitation show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The habilitation's file.
    file: PathBuf,
    #[command(flatten)]
    directory: DirectoryArgs,
    /// The catalogue, for the names of data and whether it still says of them what was signed: its folder, or the
    /// compiled file.
    #[arg(long, value_name = "PATH")]
    catalogue: Option<PathBuf>,
}

/// Runs `habilitation …`.
pub fn run(command: HabilitationCommand, console: Console) -> Result<(), Failure> {
    match command {
        HabilitationCommand::Propose(propose) => run_propose(&propose, console),
        HabilitationCommand::Sign(sign) => run_sign(&sign, console),
        HabilitationCommand::Show(show) => run_show(&show, console),
        HabilitationCommand::Try(attempt) => attempt::run(&attempt, console),
    }
}

fn run_propose(propose: &Propose, console: Console) -> Result<(), Failure> {
    let catalogue = read_catalogue(&propose.catalogue)?;
    let directory = propose.directory.read()?;
    let habilitation = propose.habilitation(&catalogue, directory.as_ref())?;
    let faults = faults::of(&habilitation, &catalogue, directory.as_ref(), SystemClock.now());
    if !faults.is_empty() {
        for fault in &faults {
            console.data(&json!({ "member": fault.member, "message": fault.text }), || {
                fault.to_string()
            })?;
        }
        let what = format!("l'habilitation a {} défaut(s)", faults.len());
        return Err(Failure::new(Kind::Data, what).next("corrigez chaque ligne citée, puis recommencez"));
    }
    let row = HabilitationRow {
        habilitation,
        signatures: HabilitationSignatures::default(),
    };
    let text = text_of(&row)?;
    match &propose.out {
        None => console.raw(&text),
        Some(out) => {
            let written = std::fs::File::create_new(out).and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|e| {
                let kind = match e.kind() {
                    std::io::ErrorKind::AlreadyExists => Kind::Exists,
                    _ => Kind::CannotWrite,
                };
                Failure::new(kind, format!("{} n'est pas écrit", out.display())).because(e)
            })?;
            let hash = row.habilitation.hash().to_string();
            console.data(&json!({ "file": out, "hash": hash }), || {
                words::habilitation(&row.habilitation, directory.as_ref(), Some(&catalogue))
            })
        }
    }
}

impl Propose {
    fn habilitation(
        &self,
        catalogue: &Catalogue,
        directory: Option<&Directory>,
    ) -> Result<Habilitation, Failure> {
        let wrong = |e: &dyn std::fmt::Display| {
            Failure::new(Kind::Data, "l'habilitation n'est pas comprise")
                .because(e)
                .next("tapez : unefois habilitation propose --help")
        };
        let mut members = match &self.file {
            Some(path) => {
                serde_saphyr::from_str::<Map<String, Value>>(&read_text(path)?).map_err(|e| wrong(&e))?
            }
            None => Map::new(),
        };
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        set("id", self.id.as_ref().map(|id| json!(id)));
        set("consumer", self.consumer.map(|id| json!(id)));
        set("publisher", self.publisher.map(|id| json!(id)));
        set("producer", self.producer.map(|id| json!(id)));
        set("authority", self.authority.map(|id| json!(id)));
        set("demarche", self.demarche.as_ref().map(|id| json!(id)));
        set(
            "datatypes",
            (!self.datatypes.is_empty()).then(|| json!(self.datatypes)),
        );
        set(
            "legal_bases",
            (!self.legal_bases.is_empty()).then(|| json!(self.legal_bases)),
        );
        set("volume_per_year", self.volume_per_year.map(|n| json!(n)));
        set("not_before", self.not_before.map(|at| json!(at.to_rfc3339())));
        set("not_after", self.not_after.map(|at| json!(at.to_rfc3339())));
        if let Some(directory) = directory {
            let authority = || json!(directory.authority().participant);
            members.entry("authority").or_insert_with(authority);
        }
        described(members, catalogue).map_err(|e| wrong(&e))
    }
}

/// The habilitation of these members, over what `catalogue` says today of what they name.
///
/// # Errors
/// A member is missing, unknown or malformed.
pub(crate) fn described(
    mut members: Map<String, Value>,
    catalogue: &Catalogue,
) -> serde_json::Result<Habilitation> {
    // Of what is not in the catalogue nothing is known; `faults` tells it.
    let unknown = json!(Sha256::default().to_string());
    let datatypes = members.get_mut("datatypes").and_then(Value::as_array_mut);
    for covered in datatypes.into_iter().flatten().filter_map(Value::as_object_mut) {
        covered.insert("sheet_sha256".to_owned(), unknown.clone());
    }
    members.insert("demarche_sha256".to_owned(), unknown);
    let mut habilitation: Habilitation = serde_json::from_value(members.into())?;
    habilitation.describe(catalogue);
    Ok(habilitation)
}

/// Reads `provider/type@1=unit,unit`.
fn datatype(text: &str) -> Result<Covered, String> {
    let form = || "DATATYPE=UNIT,UNIT, as in cnaf/quotient-familial@1=valeur,composition".to_owned();
    let (datatype, units) = text.split_once('=').ok_or_else(form)?;
    let datatype: DatatypeRev = datatype.parse().map_err(|_| form())?;
    let units = units.split(',').map(str::parse).collect::<Result<_, _>>();
    Ok(Covered {
        datatype,
        units: units.map_err(|_| form())?,
    })
}

fn run_sign(sign: &Sign, console: Console) -> Result<(), Failure> {
    let mut row = read_row(&sign.file)?;
    let hash = row.habilitation.hash();
    console.show(
        &json!({ "habilitation": row.habilitation, "hash": hash.to_string() }),
        || words::habilitation(&row.habilitation, None, None),
    )?;
    if sign.hash != hash {
        return Err(
            Failure::new(Kind::Data, "ce n'est pas ce qui a été lu : rien n'est signé")
                .because(format!("empreinte du fichier : {hash} ; donnée : {}", sign.hash))
                .next("relisez-le (unefois habilitation show) et donnez l'empreinte qui s'y trouve"),
        );
    }
    let key = read_signing_key(&sign.key, &SystemRandom::new())?;
    let role = SignerRole::from(sign.role);
    let replaced = row.signatures.of(role).is_some();
    self::sign(&mut row, role, &key)?;
    replace(&sign.file, &text_of(&row)?)?;
    let missing: Vec<&str> = missing(&row).map(SignerRole::as_str).collect();
    let value = json!({
        "file": sign.file, "role": role.as_str(), "kid": key.thumbprint().to_string(),
        "hash": hash.to_string(), "replaced": replaced, "missing": missing,
    });
    console.data(&value, || words::signed(&row, role, key.thumbprint()))
}

fn run_show(show: &Show, console: Console) -> Result<(), Failure> {
    let row = read_row(&show.file)?;
    let directory = show.directory.read()?;
    let catalogue = show.catalogue.as_deref().map(read_catalogue).transpose()?;
    let standings: Vec<words::Standing> = SignerRole::ALL
        .into_iter()
        .map(|role| words::Standing::of(&row, role, directory.as_ref()))
        .collect();
    let value = json!({
        "habilitation": row.habilitation, "hash": row.habilitation.hash().to_string(),
        "signatures": standings.iter().map(words::Standing::to_json).collect::<Vec<_>>(),
        "complete": standings.iter().all(words::Standing::verified),
        "changed": catalogue.as_ref().map(|catalogue| row.habilitation.changed_in(catalogue)),
    });
    console.data(&value, || {
        let mut text = words::habilitation(&row.habilitation, directory.as_ref(), catalogue.as_ref());
        text += "\n\nSignatures\n";
        let lines = standings.iter().map(|standing| format!("  {standing}"));
        text + &lines.collect::<Vec<_>>().join("\n")
    })
}

/// Signs in one capacity.
///
/// # Errors
/// The generator fails.
pub(crate) fn sign(row: &mut HabilitationRow, role: SignerRole, key: &SigningKey) -> Result<(), Failure> {
    let jws = habilitation::sign(&row.habilitation, role, key)
        .map_err(|e| Failure::new(Kind::Bug, "l'habilitation n'est pas signée").because(e))?;
    row.signatures.set(role, jws);
    Ok(())
}

/// Who has not signed yet.
pub(crate) fn missing(row: &HabilitationRow) -> impl Iterator<Item = SignerRole> {
    SignerRole::ALL
        .into_iter()
        .filter(|role| row.signatures.of(*role).is_none())
}

/// Reads a habilitation's file.
///
/// # Errors
/// It cannot be read, or is none.
pub(crate) fn read_row(path: &Path) -> Result<HabilitationRow, Failure> {
    serde_json::from_str(&read_text(path)?).map_err(|e| {
        Failure::new(
            Kind::Data,
            format!("{} n'est pas une habilitation", path.display()),
        )
        .because(e)
        .next("partez de ce qu'écrit : unefois habilitation propose")
    })
}

fn text_of(row: &HabilitationRow) -> Result<String, Failure> {
    serde_json::to_string_pretty(row)
        .map(|text| text + "\n")
        .map_err(|e| Failure::new(Kind::Bug, "l'habilitation n'est pas écrite").because(e))
}

/// Puts `text` in the place of a file, whole or not at all.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path
        .parent()
        .filter(|parent| *parent != Path::new(""))
        .unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)
    });
    written.map(drop).map_err(|e| {
        Failure::new(Kind::CannotWrite, format!("{} n'est pas écrit", path.display())).because(e)
    })
}

/// The catalogue of a folder, or of a compiled file.
///
/// # Errors
/// It cannot be read, or is invalid.
pub(super) fn read_catalogue(path: &Path) -> Result<Catalogue, Failure> {
    let invalid = |e: &dyn std::fmt::Display| {
        Failure::new(Kind::Data, "le catalogue est invalide")
            .because(e)
            .next("tapez : unefois catalogue check")
    };
    if path.is_dir() {
        return load(&read_folder(path)?)
            .map_err(|problems| invalid(&problems.first().map(ToString::to_string).unwrap_or_default()));
    }
    let bytes = std::fs::read(path)
        .map_err(|e| Failure::new(Kind::NoInput, format!("{} n'est pas lu", path.display())).because(e))?;
    Catalogue::from_bytes(&bytes, &Sha256::of(&bytes)).map_err(|e| invalid(&e))
}

#[cfg(test)]
mod tests;
