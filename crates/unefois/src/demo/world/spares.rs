//! The keys that are to follow those of a world, for runs that change them all.

use std::collections::BTreeMap;

use unefois_core::Sha256;
use unefois_core::directory::{DirectoryDocument, Jwk};
use unefois_jose::Pkcs8;

use super::{AUTHORITY, CLAMART, CNAF, Maker, cannot_write};
use crate::ca::Profile;
use crate::ca::folder::write_private;
use crate::command::key::KeyKind;
use crate::failure::{Failure, Kind};

/// The public halves of what follows the keys of one member.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Spares {
    /// Of its certificate `tls.next.pem`.
    pub tls: String,
    /// Of each `NAME.next.key`.
    pub keys: BTreeMap<String, Jwk>,
}

impl Maker<'_> {
    /// Writes the directory's document and keys into `ca/`, and for the authority, the fund and the commune each key that is
    /// to follow, with `spares.json` of their public halves.
    pub(super) fn spares(&mut self, document: &DirectoryDocument, key: &Pkcs8) -> Result<(), Failure> {
        let text = |e| Failure::new(Kind::Bug, "les clés suivantes ne sont pas écrites").because(e);
        self.file("ca/directory.json", &serde_json::to_vec(document).map_err(text)?)?;
        write_private(&self.root.join("ca/directory.key"), &key.to_pem()).map_err(cannot_write)?;
        self.key("ca", "directory.next", KeyKind::Signing, None)?;
        for (member, id, profile, names) in [
            (
                "authority",
                AUTHORITY,
                Profile::Authority,
                &["token", "withdrawal", "habilitation"][..],
            ),
            ("cnaf", CNAF, Profile::Node, &["seal", "pivot", "habilitation"]),
            ("clamart", CLAMART, Profile::Node, &["habilitation"]),
        ] {
            let tls: Sha256 = self.certificate(member, "tls.next", profile, id)?;
            let mut keys = BTreeMap::new();
            for name in names {
                let kind = match *name {
                    "pivot" => KeyKind::Pivot,
                    _ => KeyKind::Signing,
                };
                let public = self.key(member, &format!("{name}.next"), kind, None)?;
                let jwk: Jwk = serde_json::from_str(&public).map_err(text)?;
                keys.insert((*name).to_owned(), jwk);
            }
            let spares = Spares {
                tls: tls.to_string(),
                keys,
            };
            self.file(
                &format!("{member}/spares.json"),
                &serde_json::to_vec(&spares).map_err(text)?,
            )?;
        }
        Ok(())
    }
}
