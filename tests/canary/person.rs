//! A person of whom every field can be searched for, and what the administrations hold of them.

use kit::canary::Canaries;
use unefois::demo::backend::DUBOIS;
use unefois::demo::persona::{Contact, Persona};
use unefois::demo::script::Script;

/// The person.
pub(crate) struct Person {
    pub(crate) persona: Persona,
    /// What the fund's API answers.
    pub(crate) quotient_familial: String,
    pub(crate) dossiers: [String; 3],
    pub(crate) session: String,
    uai: String,
    school: String,
    income: String,
}

/// Numbers and dates that nothing else in the test holds.
pub(crate) struct Numbers {
    pub(crate) born: &'static str,
    pub(crate) birthplace: &'static str,
    pub(crate) birthcountry: &'static str,
    pub(crate) phone: &'static str,
    pub(crate) child_born: &'static str,
    pub(crate) quotient: &'static str,
    pub(crate) uai: &'static str,
    pub(crate) income: &'static str,
}

impl Person {
    /// Plants each field in `canaries`.
    pub(crate) fn planted(canaries: &mut Canaries, numbers: &Numbers) -> Self {
        let mut plant = |field: &str| &*canaries.plant(field).leak();
        let given: &'static [&'static str] = vec![
            plant("given name 1"),
            plant("given name 2"),
            plant("given name 3"),
        ]
        .leak();
        let persona = Persona {
            key: plant("the persona's key"),
            sub: Some(plant("sub")),
            family_name: plant("family_name"),
            given_name: given.join(" ").leak(),
            given_name_array: given,
            birthdate: numbers.born,
            gender: "female",
            birthplace: numbers.birthplace,
            birthcountry: numbers.birthcountry,
            contact: Some(Contact {
                preferred_username: plant("preferred_username"),
                email: format!("{}@exemple.fr", plant("email")).leak(),
                phone_number: numbers.phone,
                address: format!("3 rue {}", plant("address")).leak(),
            }),
        };
        let names = persona.given_name.to_uppercase();
        let quotient_familial = replaced(
            DUBOIS,
            &[
                ("Madame DUBOIS ANGELA", plant("addressee")),
                ("DUBOIS", persona.family_name),
                ("ANGELA CLAIRE LOUISE", &names),
                ("1962-08-24", persona.birthdate),
                ("LEO", plant("the child's given name")),
                ("2016-03-11", numbers.child_born),
                ("4 ALLEE DES TILLEULS", plant("address line")),
                ("92140 CLAMART", plant("town")),
                ("612", numbers.quotient),
            ],
        );
        let person = Self {
            dossiers: ["a dossier", "a dossier", "a dossier"].map(|field| plant(field).to_owned()),
            session: format!("session-{}", plant("the back-office's session")),
            uai: numbers.uai.to_owned(),
            income: numbers.income.to_owned(),
            school: plant("school").to_owned(),
            persona,
            quotient_familial,
        };
        for (field, date) in [
            ("birthdate", numbers.born),
            ("the child's birth date", numbers.child_born),
        ] {
            let parts: Vec<&str> = date.split('-').collect();
            canaries.watch(field, date);
            canaries.watch(field, parts.concat());
            canaries.watch(field, [parts[2], parts[1], parts[0]].join("/"));
        }
        for (field, code) in [
            ("birthplace", numbers.birthplace),
            ("birthcountry", numbers.birthcountry),
        ] {
            // 99100 is France, as in most identities.
            if !code.is_empty() && code != "99100" {
                canaries.watch_word(field, code);
            }
        }
        canaries.watch("phone_number", numbers.phone);
        canaries.watch("quotient", numbers.quotient);
        canaries.watch("school's number", numbers.uai);
        canaries.watch("income", numbers.income);
        person
    }

    /// What the fund's API answers of another amount, which breaks its schema.
    pub(crate) fn spoilt(&self, canaries: &mut Canaries) -> String {
        let amount = "7310942.17";
        canaries.watch("amount", amount);
        let valeur = serde_json::from_str::<serde_json::Value>(&self.quotient_familial).unwrap();
        let valeur = valeur["data"]["quotient_familial"]["valeur"].to_string();
        replaced(&self.quotient_familial, &[(&valeur, amount)])
    }

    /// The demonstration's case file of a student, made theirs.
    pub(crate) fn student(&self, case: &str) -> String {
        let case = replaced(
            case,
            &[
                (
                    r#""prenom": "Angela""#,
                    &format!(r#""prenom": "{}""#, self.persona.given_name_array[0]),
                ),
                ("1962-08-24", self.persona.birthdate),
                ("0922605G", &self.uai),
                ("Institut d'études appliquées de Clamart", &self.school),
            ],
        );
        self.identified(&case)
    }

    /// The demonstration's case file of a tax notice, made theirs.
    pub(crate) fn taxpayer(&self, case: &str) -> String {
        self.identified(&replaced(case, &[("21450", &self.income)]))
    }

    /// A case file of the demonstration, asked about them.
    fn identified(&self, case: &str) -> String {
        let born: Vec<&str> = self.persona.birthdate.split('-').collect();
        let persona = &self.persona;
        // Of one born abroad the administrations are told neither commune nor country.
        let place = match persona.birthplace {
            "" => "  codeCogInseeCommuneNaissance: \"75107\"\n  codeCogInseePaysNaissance: \"99100\"\n",
            _ => "75107",
        };
        replaced(
            case,
            &[
                (
                    "prenoms: [Angela, Claire, Louise]",
                    &format!("prenoms: [{}]", persona.given_name_array.join(", ")),
                ),
                ("DUBOIS", persona.family_name),
                (
                    "anneeDateNaissance: 1962",
                    &format!("anneeDateNaissance: {}", born[0]),
                ),
                (
                    "moisDateNaissance: 8",
                    &format!("moisDateNaissance: {}", born[1].trim_start_matches('0')),
                ),
                (
                    "jourDateNaissance: 24",
                    &format!("jourDateNaissance: {}", born[2].trim_start_matches('0')),
                ),
                (place, persona.birthplace),
            ],
        )
    }

    /// The demonstration's script, about them.
    pub(crate) fn script(&self) -> Script {
        Script {
            people: vec![self.persona.clone()],
            quotient_familial: self.quotient_familial.clone(),
            dossiers: self.dossiers.clone(),
            revenu: self.income.clone(),
            session: self.session.clone(),
        }
    }
}

/// `text` with each first replaced by its second.
///
/// # Panics
/// One is not in it.
fn replaced(text: &str, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in the text");
        text.replace(from, to)
    })
}
