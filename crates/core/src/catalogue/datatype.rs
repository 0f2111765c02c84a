//! A datatype at work: it takes a source's text, judges it, and cuts it to units.

use serde_json::Value;

use super::producer::Answers;
use super::sheet::{Concerns, DatatypeSheet, Unit};
use super::signed;
use super::units::UnitSet;
use crate::payload::{Payload, PayloadError, Pointer, PointerSet};
use crate::schema::{self, InvalidSchema, Schema, SchemaViolation};
use crate::{DatatypeRev, HolderId, NamedPerson, ParticipantId, Sha256, UnitName};

/// A datatype with its schema compiled.
#[derive(Debug)]
pub struct Datatype<Operator = ParticipantId> {
    sheet: DatatypeSheet,
    rev: DatatypeRev,
    operator: Operator,
    schema: Schema,
    schema_hash: Sha256,
    sheet_sha256: Sha256,
    /// In the order of the sheet.
    units: Vec<Cut>,
}

/// What one unit takes of a payload, and the schema of that.
#[derive(Debug)]
struct Cut {
    pointers: PointerSet,
    schema: Schema,
}

/// A source's payload that holds no unknown key and obeys its schema: the only thing that units are cut from.
#[derive(Debug)]
pub struct Accepted<'d> {
    datatype: &'d Datatype,
    text: String,
}

/// A unit that arrived is not what its datatype says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitViolation {
    /// The datatype has no such unit.
    #[error("the datatype has no such unit")]
    UnknownUnit,
    /// The text is no strict JSON.
    #[error("the unit is no strict JSON")]
    Malformed(#[source] PayloadError),
    /// It holds more than the unit's pointers allow.
    #[error("the unit holds more than it may")]
    Excess,
    /// It breaks the schema.
    #[error("the unit breaks its schema")]
    Schema(#[source] SchemaViolation),
}

impl Datatype<()> {
    /// `answers` is how the source of its operator lays its answers out.
    pub(super) fn build(
        mut sheet: DatatypeSheet,
        answers: Option<&Answers>,
    ) -> Result<Self, Vec<InvalidSchema>> {
        sheet.schema = canonical(&sheet.schema);
        let schema = Schema::compile(&sheet.schema)?;
        let cut = |unit: &Unit| {
            let pointers: PointerSet = unit.pointers.iter().collect();
            let schema = Schema::compile(&schema::restrict(&sheet.schema, &pointers));
            Ok(Cut {
                schema: schema?,
                pointers,
            })
        };
        // A pointer to nowhere leaves an object without properties: `check` reports the pointer itself.
        let reachable = |unit: &&Unit| {
            unit.pointers
                .iter()
                .all(|p| schema::at(&sheet.schema, p).is_some())
        };
        let units = sheet
            .units
            .iter()
            .filter(reachable)
            .map(cut)
            .collect::<Result<_, Vec<InvalidSchema>>>()?;
        let schema_hash = Sha256::of(sheet.schema.to_string().as_bytes());
        Ok(Self {
            rev: sheet.rev(),
            sheet_sha256: signed::sheet(&sheet, answers),
            sheet,
            operator: (),
            schema,
            schema_hash,
            units,
        })
    }

    pub(super) fn operated_by(self, operator: ParticipantId) -> Datatype {
        let Self {
            sheet,
            rev,
            operator: (),
            schema,
            schema_hash,
            sheet_sha256,
            units,
        } = self;
        Datatype {
            sheet,
            rev,
            operator,
            schema,
            schema_hash,
            sheet_sha256,
            units,
        }
    }
}

impl<Operator> Datatype<Operator> {
    /// What its file says.
    pub const fn sheet(&self) -> &DatatypeSheet {
        &self.sheet
    }

    /// Parses, drops unknown keys, validates: what a source sent as `bytes`, of which there may be `max`, becomes the
    /// text of an acceptable payload.
    fn acceptable(&self, bytes: &[u8], max: usize) -> Result<String, SchemaViolation> {
        let text = Payload::parse(bytes, max)
            .and_then(|payload| payload.prune(self.schema.known()))
            .map_err(|e| {
                let (at, keyword) = match e {
                    PayloadError::Shape { at } => (at.to_string(), "type"),
                    PayloadError::DuplicateKey { .. } => (String::new(), "duplicate key"),
                    PayloadError::TooLarge { .. } => (String::new(), "size"),
                    PayloadError::TooDeep { .. } => (String::new(), "depth"),
                    PayloadError::Syntax { .. } => (String::new(), "json"),
                };
                SchemaViolation {
                    at,
                    keyword: keyword.to_owned(),
                }
            })?;
        self.schema.validate(&text).map(|()| text)
    }

    /// What an acceptable text holds of unit number `n`.
    fn cut(&self, text: &str, n: usize) -> Option<String> {
        let payload = Payload::parse(text.as_bytes(), text.len()).ok()?;
        payload.prune(&self.units.get(n)?.pointers).ok()
    }

    /// The problem with a sample, if any: it must be acceptable and every unit of it sound.
    pub(super) fn sample_problem(&self, text: &str) -> Option<SchemaViolation> {
        let accepted = match self.acceptable(text.as_bytes(), text.len()) {
            Ok(accepted) => accepted,
            Err(violation) => return Some(violation),
        };
        self.units
            .iter()
            .enumerate()
            .find_map(|(n, unit)| match self.cut(&accepted, n) {
                Some(text) => unit.schema.validate(&text).err(),
                None => Some(SchemaViolation {
                    at: String::new(),
                    keyword: "units".to_owned(),
                }),
            })
    }
}

impl Datatype {
    /// Datatype and revision.
    pub const fn rev(&self) -> &DatatypeRev {
        &self.rev
    }

    /// Whose node answers.
    pub const fn operator(&self) -> &ParticipantId {
        &self.operator
    }

    /// SHA-256 of the schema's canonical JSON.
    pub const fn schema_hash(&self) -> &Sha256 {
        &self.schema_hash
    }

    /// The digest of what a habilitation signs of the sheet.
    pub const fn sheet_sha256(&self) -> &Sha256 {
        &self.sheet_sha256
    }

    /// Every unit.
    pub fn all_units(&self) -> UnitSet {
        (0..self.units.len()).filter_map(UnitSet::single).collect()
    }

    /// The unit of this name, alone.
    pub fn unit(&self, name: &UnitName) -> Option<UnitSet> {
        UnitSet::single(self.sheet.units.iter().position(|u| u.name == *name)?)
    }

    /// The units of these names; the first unknown name otherwise.
    pub fn unit_set<'n>(
        &self,
        names: impl IntoIterator<Item = &'n UnitName>,
    ) -> Result<UnitSet, &'n UnitName> {
        names
            .into_iter()
            .map(|name| self.unit(name).ok_or(name))
            .collect()
    }

    /// The units of `names` that exist here; the others count for nothing.
    pub fn known_units<'n>(&self, names: impl IntoIterator<Item = &'n UnitName>) -> UnitSet {
        names.into_iter().filter_map(|name| self.unit(name)).collect()
    }

    /// What the sheet says of the units of a set, in the order of the sheet.
    pub fn sheets_of(&self, units: UnitSet) -> impl Iterator<Item = &Unit> {
        self.sheet
            .units
            .iter()
            .enumerate()
            .filter(move |(n, _)| units.contains(*n))
            .map(|(_, unit)| unit)
    }

    /// Takes what a source sent: strict JSON of at most `max` bytes; unknown keys are dropped, then the schema
    /// judges. The error is SOURCE_SCHEMA: nothing may leave.
    pub fn accept(&self, bytes: &[u8], max: usize) -> Result<Accepted<'_>, SchemaViolation> {
        Ok(Accepted {
            datatype: self,
            text: self.acceptable(bytes, max)?,
        })
    }

    /// Judges a unit that arrived, as its consumer must: strict JSON, nothing beyond the unit, its schema obeyed.
    pub fn check_unit(&self, name: &UnitName, text: &str) -> Result<(), UnitViolation> {
        let number = self.sheet.units.iter().position(|u| u.name == *name);
        let cut = number
            .and_then(|n| self.units.get(n))
            .ok_or(UnitViolation::UnknownUnit)?;
        let payload = Payload::parse(text.as_bytes(), text.len()).map_err(UnitViolation::Malformed)?;
        let known = payload
            .prune(self.schema.known())
            .map_err(|_| UnitViolation::Excess)?;
        let pruned = payload.prune(&cut.pointers).map_err(|_| UnitViolation::Excess)?;
        if pruned != payload.compact() || known != pruned {
            return Err(UnitViolation::Excess);
        }
        cut.schema.validate(text).map_err(UnitViolation::Schema)
    }
}

impl Accepted<'_> {
    /// The whole accepted text, for the node's own checks; it does not leave.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whose data it is: what the payload names where the sheet says so, the only holder otherwise.
    pub fn holder(&self) -> Option<&HolderId> {
        let sheet = &self.datatype.sheet;
        match &sheet.holder_from {
            None => sheet.holders.first(),
            Some(from) => self
                .strings(&from.pointer)
                .first()
                .and_then(|name| from.values.get(name)),
        }
    }

    /// The people whom it names beside its subject, where an answer of `units` holds somebody else's data.
    pub fn named(&self, units: UnitSet) -> Vec<NamedPerson> {
        let others = |unit: &Unit| unit.concerns != Concerns::None;
        match self.datatype.sheets_of(units).any(others) {
            true => self.datatype.sheet.named(&self.text),
            false => Vec::new(),
        }
    }

    /// The strings at a place.
    pub fn strings(&self, pointer: &Pointer) -> Vec<String> {
        let payload = Payload::parse(self.text.as_bytes(), self.text.len());
        payload
            .map(|p| p.strings(pointer).into_iter().map(String::from).collect())
            .unwrap_or_default()
    }

    /// Each unit of `units` with its text: the payload pruned to the unit's pointers, values byte for byte, in the
    /// order of the sheet. The error, a unit that the accepted text cannot be cut to, is SOURCE_SCHEMA.
    pub fn cut(&self, units: UnitSet) -> Result<Vec<(UnitName, String)>, SchemaViolation> {
        let one = |n: usize| {
            let name = self.datatype.sheet.units.get(n).map(|u| u.name.clone());
            name.zip(self.datatype.cut(&self.text, n))
                .ok_or_else(|| SchemaViolation {
                    at: String::new(),
                    keyword: "units".to_owned(),
                })
        };
        units.iter().map(one).collect()
    }
}

/// The same value with the members of each object in the order of their names.
pub(crate) fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().map(|(k, v)| (k.clone(), canonical(v))).collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
