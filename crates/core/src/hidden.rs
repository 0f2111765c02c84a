//! Characters that do not show, or change how others show.

/// Whether `c` is a control character (C0, C1, DEL), ends a line otherwise than `\n`, or is one of Unicode's format
/// characters: direction marks and overrides, zero-width characters, tags. A text with one may read as another text.
pub const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

/// A text as a terminal may show it: whatever is hidden is written `\u{…}`, save the ends of its lines.
pub fn printable(text: &str) -> String {
    escaped(text, |c| c != '\n')
}

/// A text of somebody else as a part of one line: ends of lines are written out too.
pub fn in_line(text: &str) -> String {
    escaped(text, |_| true)
}

fn escaped(text: &str, also: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hidden(c) && also(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{in_line, is_hidden, printable};

    #[test]
    fn what_does_not_show_is_hidden_and_writing_is_not() {
        for c in "\0\t\n\r\u{1b}\u{7f}\u{85}\u{9b}\u{200e}\u{2028}\u{202e}\u{2066}\u{feff}\u{e0041}".chars() {
            assert!(is_hidden(c), "{c:?}");
        }
        for c in "aÉœ’«»…—\u{a0}\u{202f}€漢ع\u{301}".chars() {
            assert!(!is_hidden(c), "{c:?}");
        }
    }

    #[test]
    fn no_text_commands_a_terminal() {
        let hostile = "a\u{1b}]0;x\u{7}\r\u{9b}2J\u{7f}\u{202e}b\tc\nd — é";
        assert_eq!(
            printable(hostile),
            "a\\u{1b}]0;x\\u{7}\\u{d}\\u{9b}2J\\u{7f}\\u{202e}b\\u{9}c\nd — é"
        );
        assert_eq!(in_line("a\nUF-0000 : faux\r"), "a\\u{a}UF-0000 : faux\\u{d}");
    }
}
