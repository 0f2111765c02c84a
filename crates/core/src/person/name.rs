use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The form in which names are compared: compatibility decomposition, marks stripped, ligatures opened, upper case,
/// hyphens, apostrophes and runs of space as one space, nothing at the ends.
pub fn compare_key(name: &str) -> String {
    let mut key = String::with_capacity(name.len());
    let mut gap = false;
    for c in name.nfkd().filter(|c| !is_combining_mark(*c)) {
        if c.is_whitespace() || matches!(c, '-' | '\'' | '\u{2019}' | '\u{2010}' | '\u{2011}' | '\u{02bc}') {
            gap = true;
            continue;
        }
        if gap && !key.is_empty() {
            key.push(' ');
        }
        gap = false;
        match c {
            'œ' | 'Œ' => key.push_str("OE"),
            'æ' | 'Æ' => key.push_str("AE"),
            'ß' | 'ẞ' => key.push_str("SS"),
            c => key.extend(c.to_uppercase()),
        }
    }
    key
}

/// Whether one ordered list of first names is a beginning of the other, compared by [`compare_key`], word by word.
/// Never « any first name »: a sibling shares a second one often enough.
pub fn given_names_match(asked: &[String], held: &[String]) -> bool {
    let words = |names: &[String]| -> Vec<String> {
        names
            .iter()
            .flat_map(|n| compare_key(n).split(' ').map(str::to_owned).collect::<Vec<_>>())
            .collect()
    };
    let (asked, held) = (words(asked), words(held));
    let shared = asked.len().min(held.len());
    shared > 0 && asked[..shared] == held[..shared] && asked.iter().all(|w| !w.is_empty())
}

/// Control, zero-width and direction characters, which let a name look like another.
pub(super) fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
