//! The article before an administration's name. The directory gives « Mairie de Clamart »; sentences need
//! « la mairie de Clamart », « du département du Rhône », « à l’université de Lille ».

const FEMININE: &[&str] = &[
    "académie",
    "agence",
    "ambassade",
    "assemblée",
    "association",
    "banque",
    "bibliothèque",
    "caisse",
    "chambre",
    "collectivité",
    "commune",
    "communauté",
    "direction",
    "école",
    "fédération",
    "fondation",
    "maison",
    "mairie",
    "métropole",
    "mission",
    "mutualité",
    "mutuelle",
    "préfecture",
    "région",
    "régie",
    "société",
    "ville",
    "université",
];
const MASCULINE: &[&str] = &[
    "bureau",
    "centre",
    "collège",
    "conseil",
    "crous",
    "département",
    "établissement",
    "fonds",
    "groupement",
    "hôpital",
    "institut",
    "lycée",
    "ministère",
    "office",
    "organisme",
    "rectorat",
    "service",
    "syndicat",
    "tribunal",
];

/// First words of English names that are common nouns, or adjectives of one.
const ENGLISH: &[&str] = &[
    "agency",
    "central",
    "department",
    "directorate",
    "family",
    "interministerial",
    "ministry",
    "national",
    "office",
    "regional",
    "university",
];

enum Article {
    La,
    Le,
    Elided,
    Les,
    /// The name stands alone: « France Travail », « Clamart ».
    None,
}

/// The article that the name takes and the rest of the name as it stands in a sentence.
fn split(name: &str) -> (Article, String) {
    for (given, article) in [
        ("La ", Article::La),
        ("Le ", Article::Le),
        ("Les ", Article::Les),
        ("L'", Article::Elided),
        ("L’", Article::Elided),
    ] {
        if let Some(rest) = name.strip_prefix(given) {
            return (article, rest.to_owned());
        }
    }
    let head = name.split([' ', '-', '\u{a0}']).next().unwrap_or_default();
    let lower = head.to_lowercase();
    let article = match (
        FEMININE.contains(&lower.as_str()),
        MASCULINE.contains(&lower.as_str()),
    ) {
        (false, false) => return (Article::None, name.to_owned()),
        _ if lower.starts_with(['a', 'e', 'é', 'i', 'o', 'u', 'ô', 'h']) => Article::Elided,
        (true, _) => Article::La,
        (false, true) => Article::Le,
    };
    let acronym = head.chars().count() > 1 && head.chars().all(char::is_uppercase);
    (
        article,
        if acronym {
            name.to_owned()
        } else {
            name.replacen(head, &lower, 1)
        },
    )
}

/// « la mairie de Clamart ».
pub(super) fn the(name: &str) -> String {
    match split(name) {
        (Article::La, rest) => format!("la {rest}"),
        (Article::Le, rest) => format!("le {rest}"),
        (Article::Elided, rest) => format!("l’{rest}"),
        (Article::Les, rest) => format!("les {rest}"),
        (Article::None, rest) => rest,
    }
}

/// “the National Family Allowances Fund”; “Clamart town hall” takes no article.
pub(super) fn the_in_english(name: &str) -> String {
    let head = name.split(' ').next().unwrap_or_default().to_lowercase();
    match ENGLISH.contains(&head.as_str()) {
        true => format!("the {name}"),
        false => name.to_owned(),
    }
}

/// « de la mairie de Clamart », « du centre … », « d’Arles ».
pub(super) fn of(name: &str) -> String {
    match split(name) {
        (Article::Le, rest) => format!("du {rest}"),
        (Article::Les, rest) => format!("des {rest}"),
        (Article::None, rest) if starts_with_vowel(&rest) => format!("d’{rest}"),
        (Article::None | Article::La | Article::Elided, _) => format!("de {}", the(name)),
    }
}

/// « à la mairie de Clamart », « au centre … ».
pub(super) fn to(name: &str) -> String {
    match split(name) {
        (Article::Le, rest) => format!("au {rest}"),
        (Article::Les, rest) => format!("aux {rest}"),
        (Article::None | Article::La | Article::Elided, _) => format!("à {}", the(name)),
    }
}

/// « 219 200 235 », with spaces that do not break.
pub fn siren(siren: &unefois_core::Siren) -> String {
    let digits = siren.as_str();
    format!("{}\u{a0}{}\u{a0}{}", &digits[..3], &digits[3..6], &digits[6..])
}

/// The text with a capital first.
pub(super) fn capitalised(text: &str) -> String {
    let mut rest = text.chars();
    rest.next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

fn starts_with_vowel(name: &str) -> bool {
    name.to_lowercase()
        .starts_with(['a', 'e', 'é', 'è', 'i', 'o', 'u', 'y', 'î', 'œ'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_heads_get_no_article_rather_than_a_wrong_one() {
        assert_eq!(the("France Travail"), "France Travail");
        assert_eq!(of("Urssaf Caisse nationale"), "d’Urssaf Caisse nationale");
        assert_eq!(to("Clamart"), "à Clamart");
        assert_eq!(
            (the(""), of(""), capitalised("")),
            (String::new(), "de ".to_owned(), String::new())
        );
    }

    #[test]
    fn english_common_nouns_take_an_article() {
        assert_eq!(the_in_english("Ministry of Health"), "the Ministry of Health");
        assert_eq!(the_in_english("Clamart town hall"), "Clamart town hall");
        assert_eq!(the_in_english("Nationale"), "Nationale");
    }

    #[test]
    fn known_heads_elide_and_contract() {
        for (name, expected) in [
            (
                "Mairie de Clamart",
                [
                    "la mairie de Clamart",
                    "de la mairie de Clamart",
                    "à la mairie de Clamart",
                ],
            ),
            (
                "Centre communal",
                ["le centre communal", "du centre communal", "au centre communal"],
            ),
            (
                "CROUS de Lille",
                ["le CROUS de Lille", "du CROUS de Lille", "au CROUS de Lille"],
            ),
            (
                "Université de Lille",
                [
                    "l’université de Lille",
                    "de l’université de Lille",
                    "à l’université de Lille",
                ],
            ),
            ("La Poste", ["la Poste", "de la Poste", "à la Poste"]),
            ("Les Mureaux", ["les Mureaux", "des Mureaux", "aux Mureaux"]),
        ] {
            assert_eq!([the(name), of(name), to(name)], expected);
        }
        assert_eq!(
            capitalised(&the("Établissement public")),
            "L’établissement public"
        );
    }
}
