//! The invented datatypes and démarches of the world under test.

use unefois_core::catalogue::Catalogue;

pub(super) fn catalogue() -> Catalogue {
    Catalogue::load(&[
        (
            "producers/cnaf.yaml",
            include_str!("catalogue/producers/cnaf.yaml"),
        ),
        (
            "types/cnaf.revenu@1.yaml",
            include_str!("catalogue/types/cnaf.revenu@1.yaml"),
        ),
        (
            "types/cnaf.ecole@1.yaml",
            include_str!("catalogue/types/cnaf.ecole@1.yaml"),
        ),
        (
            "types/cnaf.entreprise@1.yaml",
            include_str!("catalogue/types/cnaf.entreprise@1.yaml"),
        ),
        (
            "demarches/cantine.yaml",
            include_str!("catalogue/demarches/cantine.yaml"),
        ),
        (
            "demarches/ecole.yaml",
            include_str!("catalogue/demarches/ecole.yaml"),
        ),
        (
            "demarches/fraude.yaml",
            include_str!("catalogue/demarches/fraude.yaml"),
        ),
        (
            "demarches/information.yaml",
            include_str!("catalogue/demarches/information.yaml"),
        ),
        (
            "demarches/loisirs.yaml",
            include_str!("catalogue/demarches/loisirs.yaml"),
        ),
        (
            "demarches/marche.yaml",
            include_str!("catalogue/demarches/marche.yaml"),
        ),
        (
            "demarches/verification.yaml",
            include_str!("catalogue/demarches/verification.yaml"),
        ),
    ])
    .expect("a sound catalogue")
}
