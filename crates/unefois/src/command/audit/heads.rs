//! The heads that an auditor has verified, kept from one reading to the next.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use unefois_auditor::KnownHead;
use unefois_tlog::Origin;

use crate::ca::folder::replace;
use crate::failure::{Failure, Kind};

/// The last verified head of each log, by its origin.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Heads(BTreeMap<String, Head>);

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Head {
    size: u64,
    /// In base64.
    root: String,
}

impl Heads {
    /// Those of `file`; none where it does not exist yet.
    ///
    /// # Errors
    /// It cannot be read, or is no such file: nothing is verified then, since an older head would be missed.
    pub fn load(file: &Path) -> Result<Self, Failure> {
        let wrong = |e: &dyn std::fmt::Display| {
            Failure::new(Kind::Data, "les têtes gardées ne se lisent pas")
                .because(format!("{} : {e}", file.display()))
                .next("rendez au fichier son contenu ; sans lui un retour en arrière passe inaperçu")
        };
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(wrong(&e)),
        };
        let heads: Self = serde_json::from_str(&text).map_err(|e| wrong(&e))?;
        match heads.0.values().find(|head| head.known().is_none()) {
            Some(_) => Err(wrong(&"a root is not a hash")),
            None => Ok(heads),
        }
    }

    /// The head of `origin`.
    pub fn known(&self, origin: &Origin) -> Option<KnownHead> {
        self.0.get(origin.as_str()).and_then(Head::known)
    }

    /// Takes the verified `head` for that of the log `origin`.
    pub fn keep(&mut self, origin: &Origin, head: KnownHead) {
        let head = Head {
            size: head.size,
            root: head.root.to_string(),
        };
        self.0.insert(origin.as_str().to_owned(), head);
    }

    /// Writes them in the place of `file`, as one step.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, file: &Path) -> Result<(), Failure> {
        let failed = |e: &dyn std::fmt::Display| {
            Failure::new(Kind::CannotWrite, "les têtes ne sont pas gardées").because(e)
        };
        let text = serde_json::to_string_pretty(self).map_err(|e| failed(&e))?;
        replace(file, &format!("{text}\n")).map_err(|e| failed(&e))
    }
}

impl Head {
    fn known(&self) -> Option<KnownHead> {
        let root = self.root.parse().ok()?;
        Some(KnownHead {
            size: self.size,
            root,
        })
    }
}
