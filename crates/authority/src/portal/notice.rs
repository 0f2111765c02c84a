//! The words of a page, as one text: what was shown can be kept, hashed and read again without the page's looks.

/// Elements that begin a line of their own.
const BLOCKS: [&str; 12] = [
    "p", "h1", "h2", "h3", "li", "ul", "legend", "fieldset", "section", "div", "form", "button",
];

/// The text of the document's `main`, a line for each block of it, without tags and with single spaces.
pub(super) fn words(html: &str) -> String {
    let main = html.split_once("<main").map_or(html, |(_, rest)| rest);
    let main = main.split_once("</main>").map_or(main, |(main, _)| main);
    let mut text = String::with_capacity(main.len() / 2);
    // What is left of the tag `main` itself.
    let mut rest = main.split_once('>').map_or("", |(_, rest)| rest);
    while let Some((before, tagged)) = rest.split_once('<') {
        text.push_str(before);
        let (tag, after) = tagged.split_once('>').unwrap_or((tagged, ""));
        let name = tag
            .trim_start_matches('/')
            .split([' ', '\n'])
            .next()
            .unwrap_or_default();
        text.push(if BLOCKS.contains(&name) { '\u{1e}' } else { ' ' });
        rest = after;
    }
    text.push_str(rest);
    let lines = text.split('\u{1e}').map(|line| {
        let words: Vec<String> = line.split_ascii_whitespace().map(decoded).collect();
        tidied(&words.join(" "))
    });
    lines
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Text as it was before it was escaped.
fn decoded(text: &str) -> String {
    let text = text.replace("&nbsp;", "\u{a0}");
    let names = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ];
    // The ampersand last, so that nothing is read twice.
    names
        .iter()
        .fold(text, |text, (name, sign)| text.replace(name, sign))
}

/// Without the spaces that a tag left before a point or within a bracket.
fn tidied(line: &str) -> String {
    line.replace(" .", ".")
        .replace(" ,", ",")
        .replace("( ", "(")
        .replace(" )", ")")
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_what_is_read_and_nothing_else() {
        let html = "<html><head><title>T</title></head><body><p>Menu</p><main id=\"contenu\" tabindex=\"-1\">\n\
            <h1><bdi>La mairie</bdi> demande 2&nbsp;informations</h1><form action=\"/x\"><input name=\"csrf\" value=\"secret\">\
            <ul><li><strong><bdi>Quotient</bdi></strong> <span>nécessaire</span></li></ul>\n<p>Dossier «&nbsp;<bdi>A&#38;lt;\
            B</bdi>&nbsp;» <span>(n° <bdi>1</bdi>).</span></p><button name=\"choix\">Récupérer pour moi</button></form>\
            </main><footer>Aide</footer></body></html>";
        assert_eq!(
            words(html),
            "La mairie demande 2\u{a0}informations\nQuotient nécessaire\nDossier «\u{a0} A&lt;B \u{a0}» (n° 1).\n\
             Récupérer pour moi"
        );
        assert_eq!(words(""), "");
    }
}
