//! Entries as CSV: RFC 4180, or as a French spreadsheet opens it without harm.

use unefois_core::catalogue::Catalogue;
use unefois_tlog::Origin;

use super::row::{COLUMNS, Holds, texts};
use crate::Visited;

/// For whom a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 4180: UTF-8, commas, CRLF.
    Rfc4180,
    /// A French spreadsheet: a byte order mark, semicolons, CRLF. A name is written as a formula of one text, `="…"`, so
    /// that none becomes a number or a date; any other cell that would be taken for a formula begins with an apostrophe.
    Spreadsheet,
}

/// A table of entries, or of anything else.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    dialect: Dialect,
}

impl Table {
    /// A table for `dialect`.
    pub const fn new(dialect: Dialect) -> Self {
        Self { dialect }
    }

    /// What comes before the first row of entries: the names of their columns.
    pub fn head(self) -> String {
        self.named(COLUMNS.iter().map(|(name, _)| *name))
    }

    /// What comes before the first row of a table with these columns.
    pub fn named<'a>(self, columns: impl IntoIterator<Item = &'a str>) -> String {
        let mark = match self.dialect {
            Dialect::Rfc4180 => "",
            Dialect::Spreadsheet => "\u{feff}",
        };
        let columns = columns.into_iter().map(|name| (name.to_owned(), Holds::Word));
        format!("{mark}{}", self.line(columns))
    }

    /// The row of one entry of the log `origin`.
    pub fn entry(self, origin: &Origin, visited: &Visited<'_>, catalogue: &Catalogue) -> String {
        let texts = texts(origin, visited, catalogue);
        self.line(texts.into_iter().zip(COLUMNS.iter().map(|(_, holds)| *holds)))
    }

    /// A row of names: none is taken for a number, a date or a formula.
    pub fn names<T: ToString>(self, cells: impl IntoIterator<Item = T>) -> String {
        self.line(cells.into_iter().map(|cell| (cell.to_string(), Holds::Name)))
    }

    fn line(self, cells: impl IntoIterator<Item = (String, Holds)>) -> String {
        let separator = match self.dialect {
            Dialect::Rfc4180 => ",",
            Dialect::Spreadsheet => ";",
        };
        let cells: Vec<String> = cells
            .into_iter()
            .map(|(text, holds)| self.cell(text, holds))
            .collect();
        cells.join(separator) + "\r\n"
    }

    fn cell(self, text: String, holds: Holds) -> String {
        let text = match (self.dialect, holds) {
            (Dialect::Rfc4180, _) | (_, Holds::Number) => text,
            (Dialect::Spreadsheet, Holds::Name) if text.is_empty() => text,
            (Dialect::Spreadsheet, Holds::Name) => format!("=\"{}\"", text.replace('"', "\"\"")),
            (Dialect::Spreadsheet, Holds::Word) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
                format!("'{text}")
            }
            (Dialect::Spreadsheet, Holds::Word) => text,
        };
        match text.contains(['"', ',', ';', '\r', '\n']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(dialect: Dialect, cells: &[(&str, Holds)]) -> String {
        let cells = cells.iter().map(|(text, holds)| ((*text).to_owned(), *holds));
        Table::new(dialect).line(cells)
    }

    #[test]
    fn what_a_spreadsheet_would_run_or_convert_stays_text() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            let line = line(Dialect::Spreadsheet, &[(formula, Holds::Word)]);
            assert!(line.trim_start_matches('"').starts_with('\''), "{line}");
        }
        for name in ["21920023500014", "1e5", "3-5", "MAR1", "-1", "00123"] {
            let line = line(Dialect::Spreadsheet, &[(name, Holds::Name)]);
            assert_eq!(line, format!("\"=\"\"{name}\"\"\"\r\n"));
        }
        let quoted = line(Dialect::Spreadsheet, &[("a\"&CMD&\"", Holds::Name)]);
        assert_eq!(quoted, "\"=\"\"a\"\"\"\"&CMD&\"\"\"\"\"\"\"\r\n");
    }

    #[test]
    fn commas_quotes_and_line_ends_are_quoted() {
        let cells = [
            ("a,b", Holds::Word),
            ("c\"d", Holds::Name),
            ("e\r\nf", Holds::Word),
            ("", Holds::Name),
        ];
        assert_eq!(
            line(Dialect::Rfc4180, &cells),
            "\"a,b\",\"c\"\"d\",\"e\r\nf\",\r\n"
        );
        assert!(
            Table::new(Dialect::Spreadsheet)
                .head()
                .starts_with("\u{feff}origin;index;")
        );
        assert!(Table::new(Dialect::Rfc4180).head().starts_with("origin,index,"));
    }
}
