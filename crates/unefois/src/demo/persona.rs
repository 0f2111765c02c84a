//! The people of the demonstration: the public test identities of FranceConnect's integration platform.

use serde::Serialize;

/// One test identity, as the provider asserts it (OpenID Connect claims of FranceConnect).
#[derive(Clone, Debug, Serialize)]
pub struct Persona {
    /// The name of the persona on the provider's page and on the command line.
    #[serde(skip)]
    pub key: &'static str,
    /// The provider's name of the person, where it is not to be a pairwise one.
    #[serde(skip)]
    pub sub: Option<&'static str>,
    /// Birth name.
    pub family_name: &'static str,
    /// First names, separated by spaces.
    pub given_name: &'static str,
    /// The same, as a list.
    pub given_name_array: &'static [&'static str],
    /// Birth date, as the provider knows it.
    pub birthdate: &'static str,
    /// `female`, `male` or `unspecified`.
    pub gender: &'static str,
    /// COG code of the commune of birth; empty abroad.
    pub birthplace: &'static str,
    /// COG code of the country of birth.
    pub birthcountry: &'static str,
    /// What else a provider may send.
    #[serde(flatten)]
    pub contact: Option<Contact>,
}

/// Claims that nobody asks the provider for.
#[derive(Clone, Debug, Serialize)]
pub struct Contact {
    /// Name in use.
    pub preferred_username: &'static str,
    /// E-mail address.
    pub email: &'static str,
    /// Telephone number.
    pub phone_number: &'static str,
    /// Postal address.
    pub address: &'static str,
}

/// A test officer, as ProConnect asserts one.
#[derive(Clone, Debug, Serialize)]
pub struct Officer {
    /// The name on the provider's page and on the command line.
    #[serde(skip)]
    pub key: &'static str,
    /// Whether the provider certified them as an officer who may act for the body.
    #[serde(skip)]
    pub is_certified: bool,
    /// First name.
    pub given_name: &'static str,
    /// Name in use.
    pub usual_name: &'static str,
    /// The body's number.
    pub siret: &'static str,
    /// The service within it.
    pub organizational_unit: &'static str,
}

/// Every officer.
pub const OFFICERS: &[Officer] = &[
    Officer {
        key: "camille",
        is_certified: false,
        given_name: "Camille",
        usual_name: "EXEMPLE",
        siret: "21920023500014",
        organizational_unit: "Service des écoles",
    },
    Officer {
        key: "dominique",
        is_certified: true,
        given_name: "Dominique",
        usual_name: "EXEMPLE",
        siret: "90000010000017",
        organizational_unit: "",
    },
];

/// Every persona, the story's own first.
pub const PERSONAS: &[Persona] = &[
    Persona {
        key: "angela",
        sub: None,
        family_name: "DUBOIS",
        given_name: "Angela Claire Louise",
        given_name_array: &["Angela", "Claire", "Louise"],
        birthdate: "1962-08-24",
        gender: "female",
        birthplace: "75107",
        birthcountry: "99100",
        contact: None,
    },
    Persona {
        key: "pierre",
        sub: None,
        family_name: "MERCIER",
        given_name: "Pierre",
        given_name_array: &["Pierre"],
        birthdate: "1969-03-17",
        gender: "male",
        birthplace: "95277",
        birthcountry: "99100",
        contact: None,
    },
    Persona {
        key: "melissandre",
        sub: None,
        family_name: "TROIS-DUPRE",
        given_name: "Melissandre Juliette",
        given_name_array: &["Melissandre", "Juliette"],
        birthdate: "1981-07-27",
        gender: "female",
        birthplace: "13012",
        birthcountry: "99100",
        contact: None,
    },
    Persona {
        key: "jean",
        sub: None,
        family_name: "TARGE",
        given_name: "Jean",
        given_name_array: &["Jean"],
        birthdate: "1992-01-01",
        gender: "male",
        birthplace: "",
        birthcountry: "99217",
        contact: None,
    },
    Persona {
        key: "joelle",
        sub: None,
        family_name: "DUBINÔRE",
        given_name: "Joëlle Françoise",
        given_name_array: &["Joëlle", "Françoise"],
        birthdate: "1985-05-10",
        gender: "female",
        birthplace: "75117",
        birthcountry: "99100",
        contact: None,
    },
];
