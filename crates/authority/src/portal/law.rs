use unefois_core::LegalBasis;

use super::Lang;

/// The legal ground of an exchange, as pages explain it.
#[derive(Clone, Debug)]
pub struct LegalGround {
    /// The code.
    pub basis: LegalBasis,
    /// The démarche's own text, from the catalogue: « Délibération du 12 mai 2026 », « Code de l’éducation, R. 531-52 ».
    pub text: Option<String>,
}

impl LegalGround {
    /// Whether the person is asked to consent (`RGPD-6-1-a`), and not told.
    pub fn consent(&self) -> bool {
        self.basis == LegalBasis::Consent
    }

    /// « Article L.\u{a0}114\u{2011}8, I, du code des relations entre le public et l’administration ».
    pub fn reference(&self, lang: Lang) -> String {
        match &self.basis {
            LegalBasis::Request => lang
                .t(
                    "Article L.\u{a0}114\u{2011}8, I, du code des relations entre le public et l’administration",
                    "Article L.\u{a0}114\u{2011}8, I, of the French code of relations between the public and the administration",
                )
                .to_owned(),
            LegalBasis::Proactive => lang
                .t(
                    "Article L.\u{a0}114\u{2011}8, II, du code des relations entre le public et l’administration",
                    "Article L.\u{a0}114\u{2011}8, II, of the French code of relations between the public and the administration",
                )
                .to_owned(),
            LegalBasis::Consent => lang
                .t(
                    "Article 6, paragraphe 1, a, du règlement général sur la protection des données",
                    "Article 6(1)(a) of the General Data Protection Regulation",
                )
                .to_owned(),
            LegalBasis::Text(id) => self.text.clone().unwrap_or_else(|| id.clone()),
        }
    }

    /// The ground in a few words, for the history.
    pub fn short(&self, lang: Lang) -> String {
        match &self.basis {
            LegalBasis::Request => lang
                .t(
                    "nécessaire pour traiter votre demande (CRPA, L.\u{a0}114\u{2011}8, I)",
                    "needed to handle your request (CRPA, L.\u{a0}114\u{2011}8, I)",
                )
                .to_owned(),
            LegalBasis::Proactive => lang
                .t(
                    "information sur vos droits (CRPA, L.\u{a0}114\u{2011}8, II)",
                    "information about your rights (CRPA, L.\u{a0}114\u{2011}8, II)",
                )
                .to_owned(),
            LegalBasis::Consent => lang
                .t(
                    "votre consentement (RGPD, 6, 1, a)",
                    "your consent (GDPR, 6(1)(a))",
                )
                .to_owned(),
            LegalBasis::Text(id) => format!(
                "{} {}",
                lang.t("prévu par un texte :", "laid down by a text:"),
                self.text.as_ref().unwrap_or(id)
            ),
        }
    }
}
