//! Just enough of an HTML reader to check what the pages promise. It refuses what it does not understand.

use std::collections::BTreeMap;

/// A start tag and where it stands.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// The text inside, tags left out.
    pub(crate) text: String,
}

impl Element {
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    pub(crate) fn id(&self) -> &str {
        self.attribute("id").unwrap_or_default()
    }
}

const VOID: [&str; 6] = ["meta", "link", "img", "input", "br", "hr"];

/// Every element in document order; panics on tags that do not balance or attributes without quotes.
pub(crate) fn elements(html: &str) -> Vec<Element> {
    let mut elements: Vec<Element> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let text = decode(&rest[..start]);
        open.iter().for_each(|i| elements[*i].text.push_str(&text));
        let end = start + rest[start..].find('>').expect("a tag that ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if tag.starts_with('!') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            let top = open.pop().expect("an open element");
            assert_eq!(elements[top].name, name, "tags balance");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        elements.push(Element {
            name: name.to_owned(),
            attributes: parse(attributes),
            text: String::new(),
        });
        if !VOID.contains(&name) {
            open.push(elements.len() - 1);
        }
    }
    assert!(open.is_empty(), "every element is closed");
    assert!(rest.trim().is_empty(), "nothing after the document");
    elements
}

fn parse(mut text: &str) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return attributes;
        }
        let end = text.find([' ', '=']).unwrap_or(text.len());
        let name = text[..end].to_owned();
        text = &text[end..];
        let value = match text.strip_prefix("=\"") {
            Some(quoted) => {
                let close = quoted.find('"').expect("a closing quote");
                text = &quoted[close + 1..];
                decode(&quoted[..close])
            }
            None => {
                assert!(!text.starts_with('='), "{name} has quotes");
                String::new()
            }
        };
        assert!(
            attributes.insert(name.clone(), value).is_none(),
            "{name} stands once"
        );
    }
}

/// The text that a reader sees, without tags, spaces as they are.
pub(crate) fn text(html: &str) -> String {
    elements(html)
        .into_iter()
        .find(|e| e.name == "html")
        .expect("a document")
        .text
}

pub(crate) fn decode(text: &str) -> String {
    let text = text
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#34;", "\"")
        .replace("&#39;", "'");
    let text = text.replace("&nbsp;", "\u{a0}");
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#38;", "&")
        .replace("&amp;", "&")
}
