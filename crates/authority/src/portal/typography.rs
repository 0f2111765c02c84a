//! The last pass over a document: what a reader must not be fooled by, and the spacing that French asks for.

use super::Lang;

/// The document as it leaves.
///
/// Everywhere: control characters and the invisible ones that change the direction of text become U+FFFD. In text
/// outside tags and `<code>`: a straight apostrophe between letters becomes a curly one, and in French the spaces of
/// « : ; ? » » and of numbers with their unit do not break. Attributes, hence form values, keep their text.
pub(super) fn finish(html: &str, lang: Lang) -> String {
    let html = html.replace(is_deceptive, "\u{fffd}");
    let mut out = String::with_capacity(html.len() + html.len() / 64);
    let mut rest = html.as_str();
    let mut verbatim = false;
    while let Some(open) = rest.find('<') {
        push_text(&mut out, &rest[..open], lang, verbatim);
        let close = rest[open..].find('>').map_or(rest.len(), |n| open + n + 1);
        let tag = &rest[open..close];
        verbatim = match tag {
            "</code>" => false,
            _ => verbatim || tag.starts_with("<code"),
        };
        out.push_str(tag);
        rest = &rest[close..];
    }
    push_text(&mut out, rest, lang, verbatim);
    out
}

/// Unicode's explicit direction marks (UAX 9, 2) and controls other than line ends and tabs.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        || (c.is_control() && !matches!(c, '\n' | '\t'))
}

fn push_text(out: &mut String, text: &str, lang: Lang, verbatim: bool) {
    if verbatim || text.is_empty() {
        out.push_str(text);
        return;
    }
    let text = curl(&text.replace("&#39;", "'"));
    match lang {
        Lang::Fr => out.push_str(&space(&text)),
        Lang::En => out.push_str(&text),
    }
}

/// « l'eau » with U+2019; an apostrophe elsewhere goes back to its entity.
fn curl(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let inside = before.is_some_and(char::is_alphanumeric)
            && chars
                .peek()
                .is_some_and(|next| next.is_alphanumeric() || *next == '«');
        match c {
            '\'' if inside => out.push('\u{2019}'),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
        before = Some(c);
    }
    out
}

fn space(text: &str) -> String {
    const UNITS: [&str; 7] = ["mois", "jour", "fois", "an", "€", "%", "h "];
    let mut out = String::with_capacity(text.len());
    for (i, c) in text.char_indices() {
        if c != ' ' {
            out.push(c);
            continue;
        }
        let after = &text[i + 1..];
        let narrow = after.starts_with([';', '?']);
        let wide = after.starts_with([':', '»']) || out.ends_with(['«', '°']);
        let unit = out.ends_with(|c: char| c.is_ascii_digit()) && UNITS.iter().any(|u| after.starts_with(u));
        out.push(match (narrow, wide || unit) {
            (true, _) => '\u{202f}',
            (false, true) => '\u{a0}',
            (false, false) => ' ',
        });
    }
    out
}

/// With a capital for its first letter.
pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direction_marks_and_controls_are_made_visible_everywhere() {
        let html = "<p title=\"a\u{202e}b\">x\u{2066}y\u{0}z</p>\n";
        assert_eq!(
            finish(html, Lang::En),
            "<p title=\"a\u{fffd}b\">x\u{fffd}y\u{fffd}z</p>\n"
        );
    }

    #[test]
    fn attributes_and_code_keep_their_text() {
        let html = "<input value=\"l&#39;an ?\"><code>a ; b l'c</code>";
        assert_eq!(finish(html, Lang::Fr), html);
    }

    #[test]
    fn french_spaces_do_not_break() {
        for (from, to) in [
            (
                "<p>« a » : b ; c ?</p>",
                "<p>«\u{a0}a\u{a0}»\u{a0}: b\u{202f}; c\u{202f}?</p>",
            ),
            ("n° 12, 12 mois", "n°\u{a0}12, 12\u{a0}mois"),
            ("l&#39;eau d'ici &#39;x&#39;", "l’eau d’ici &#39;x&#39;"),
            ("a < b", "a < b"),
        ] {
            assert_eq!(finish(from, Lang::Fr), to);
        }
        assert_eq!(finish("a ; b, it's", Lang::En), "a ; b, it’s");
    }
}
