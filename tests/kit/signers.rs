//! The three who sign the habilitations of a test's directory.

use std::collections::BTreeMap;

use unefois_core::catalogue::Catalogue;
use unefois_core::directory::{DirectoryDocument, Jwk};
use unefois_core::{Habilitation, HabilitationRow, HabilitationSignatures, ParticipantId, SignerRole};
use unefois_jose::{SigningKey, SystemRandom, habilitation};

/// A habilitation that nobody has signed yet: [`Signers::sign`] does.
pub fn unsigned(habilitation: Habilitation) -> HabilitationRow {
    HabilitationRow {
        habilitation,
        signatures: HabilitationSignatures::default(),
    }
}

/// A key of every participant's, made when it is first asked for.
#[derive(Debug)]
pub struct Signers {
    rng: SystemRandom,
    catalogue: Catalogue,
    keys: BTreeMap<ParticipantId, SigningKey>,
}

impl Signers {
    /// Nobody's yet; `catalogue` is what they sign over.
    pub fn new(rng: SystemRandom, catalogue: &Catalogue) -> Self {
        Self {
            rng,
            catalogue: copy(catalogue),
            keys: BTreeMap::new(),
        }
    }

    /// What they sign from now on is over another catalogue.
    pub fn sign_over(&mut self, catalogue: &Catalogue) {
        self.catalogue = copy(catalogue);
    }

    /// The key of a participant.
    pub fn key(&mut self, id: ParticipantId) -> &SigningKey {
        let rng = &self.rng;
        let key = || SigningKey::generate(rng).expect("a key");
        self.keys.entry(id).or_insert_with(key)
    }

    /// Puts its key into each row that has none, and has all three sign each habilitation as it is now,
    /// over what the catalogue says.
    pub fn sign(&mut self, document: &mut DirectoryDocument) {
        for row in &mut document.participants {
            if row.habilitation_keys.is_empty() {
                let key = self.key(row.id).verifying_key().public().clone();
                row.habilitation_keys = vec![Jwk::from_sec1(key.point()).expect("a point")];
            }
        }
        for row in &mut document.habilitations {
            row.habilitation.describe(&self.catalogue);
            for role in SignerRole::ALL {
                let signer = row.habilitation.party(role);
                let jws = habilitation::sign(&row.habilitation, role, self.key(signer)).expect("a signature");
                row.signatures.set(role, jws);
            }
        }
    }
}

fn copy(catalogue: &Catalogue) -> Catalogue {
    Catalogue::from_bytes(catalogue.to_bytes(), &catalogue.hash()).expect("a compiled catalogue")
}
