//! The demonstration: every role in one process, and a story whose steps are assertions.

pub mod asker;
pub mod backend;
pub mod browser;
pub mod idp;
pub mod persona;
pub mod process;
pub mod roles;
pub mod script;
pub mod stage;
pub mod story;
pub mod world;

/// The catalogue's files, by their path below `catalogue/`, in the order of their names.
const CATALOGUE: &[(&str, &str)] = &[
    (
        "demarches/bourse.yaml",
        include_str!("../../../catalogue/demarches/bourse.yaml"),
    ),
    (
        "demarches/cantine.yaml",
        include_str!("../../../catalogue/demarches/cantine.yaml"),
    ),
    (
        "demarches/detection-fraude.yaml",
        include_str!("../../../catalogue/demarches/detection-fraude.yaml"),
    ),
    (
        "demarches/marche-public.yaml",
        include_str!("../../../catalogue/demarches/marche-public.yaml"),
    ),
    (
        "demarches/transport-scolaire.yaml",
        include_str!("../../../catalogue/demarches/transport-scolaire.yaml"),
    ),
    (
        "demarches/transports-information.yaml",
        include_str!("../../../catalogue/demarches/transports-information.yaml"),
    ),
    (
        "demarches/transports-verification.yaml",
        include_str!("../../../catalogue/demarches/transports-verification.yaml"),
    ),
    (
        "producers/cnaf.yaml",
        include_str!("../../../catalogue/producers/cnaf.yaml"),
    ),
    (
        "producers/dgfip.yaml",
        include_str!("../../../catalogue/producers/dgfip.yaml"),
    ),
    (
        "producers/men.yaml",
        include_str!("../../../catalogue/producers/men.yaml"),
    ),
    (
        "producers/mesr.yaml",
        include_str!("../../../catalogue/producers/mesr.yaml"),
    ),
    (
        "producers/msa.yaml",
        include_str!("../../../catalogue/producers/msa.yaml"),
    ),
    (
        "producers/urssaf.yaml",
        include_str!("../../../catalogue/producers/urssaf.yaml"),
    ),
    (
        "types/cnaf.quotient-familial@1.yaml",
        include_str!("../../../catalogue/types/cnaf.quotient-familial@1.yaml"),
    ),
    (
        "types/dgfip.revenu-fiscal-de-reference@1.yaml",
        include_str!("../../../catalogue/types/dgfip.revenu-fiscal-de-reference@1.yaml"),
    ),
    (
        "types/men.statut-eleve@1.yaml",
        include_str!("../../../catalogue/types/men.statut-eleve@1.yaml"),
    ),
    (
        "types/mesr.statut-etudiant@1.yaml",
        include_str!("../../../catalogue/types/mesr.statut-etudiant@1.yaml"),
    ),
    (
        "types/urssaf.attestation-de-vigilance@1.yaml",
        include_str!("../../../catalogue/types/urssaf.attestation-de-vigilance@1.yaml"),
    ),
];

/// The cases behind the ministry's node.
const DGFIP_CASES: &[(&str, &str)] = &[
    (
        "revenu_dubois.yaml",
        include_str!("demo/cases/revenu_dubois.yaml"),
    ),
    (
        "revenu_inconnu.yaml",
        include_str!("demo/cases/revenu_inconnu.yaml"),
    ),
];
/// The case behind the node of the social contributions office.
const URSSAF_CASE: (&str, &str) = (
    "vigilance_delivree.yaml",
    include_str!("demo/cases/vigilance_delivree.yaml"),
);
const MESR_CASES: &[(&str, &str)] = &[
    (
        "etudiant_dubois.yaml",
        include_str!("demo/cases/etudiant_dubois.yaml"),
    ),
    (
        "etudiant_inconnu.yaml",
        include_str!("demo/cases/etudiant_inconnu.yaml"),
    ),
];
