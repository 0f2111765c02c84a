use unefois_authority::portal::{AgentDemande, Lang, OnFile};

use super::{canteen, clamart, demande};

/// What an officer at a desk reads before asking for Angela.
pub(crate) fn agent(lang: Lang) -> AgentDemande {
    let of_the_person = demande(lang);
    AgentDemande {
        action: "/agent/0h4s9".to_owned(),
        asker: clamart(lang),
        demarche: canteen(lang),
        dossier: "2026-0412".to_owned(),
        about: Some(OnFile {
            name: "Angela Claire Louise DUBOIS".to_owned(),
            birthdate: lang
                .t("24\u{a0}août\u{a0}1962", "24\u{a0}August\u{a0}1962")
                .to_owned(),
        }),
        shared: false,
        motive: lang
            .t("demande reçue au guichet", "request received at the desk")
            .to_owned(),
        sources: of_the_person.sources,
        terms: of_the_person.terms,
        ground: of_the_person.ground,
    }
}
