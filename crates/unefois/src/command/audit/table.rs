//! Results as a table for a spreadsheet.

use unefois_auditor::export::{Dialect, Table};

/// How a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people; one object with --json.
    #[default]
    Text,
    /// CSV, RFC 4180.
    Csv,
    /// CSV that a French spreadsheet opens without harm.
    CsvExcel,
}

impl Form {
    /// The dialect, if it is a table.
    pub const fn dialect(self) -> Option<Dialect> {
        match self {
            Self::Text => None,
            Self::Csv => Some(Dialect::Rfc4180),
            Self::CsvExcel => Some(Dialect::Spreadsheet),
        }
    }
}

/// A whole table.
pub fn table(dialect: Dialect, columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let table = Table::new(dialect);
    let head = table.named(columns.iter().copied());
    rows.into_iter().fold(head, |text, row| text + &table.names(row))
}
