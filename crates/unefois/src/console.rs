//! Where commands write: data on standard output (text, or one JSON object a line), chatter on standard error.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use unefois_core::printable;

use crate::failure::{Failure, Kind};

/// The language of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Lang {
    /// French.
    Fr,
    /// English.
    En,
}

/// The streams of one command.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// One JSON object a line on standard output.
    pub json: bool,
    /// The language of text.
    pub lang: Lang,
}

impl Console {
    /// Writes one result: `value` as JSON, or the text that `text` makes.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn data<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let line = self.line(value, text)?;
        let written = writeln!(io::stdout().lock(), "{}", line.trim_end_matches('\n'));
        written.map_err(|e| Failure::new(Kind::CannotWrite, "la sortie standard n'est pas écrite").because(e))
    }

    /// Shows, on standard error, what the person at the terminal must see before the command goes on.
    ///
    /// # Errors
    /// Standard error cannot be written: nobody saw it.
    pub fn show<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let line = self.line(value, text)?;
        let written = writeln!(io::stderr().lock(), "{line}");
        written.map_err(|e| Failure::new(Kind::CannotWrite, "la sortie d'erreur n'est pas écrite").because(e))
    }

    fn line<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<String, Failure> {
        match self.json {
            true => serde_json::to_string(value)
                .map_err(|e| Failure::new(Kind::Bug, "résultat illisible").because(e)),
            false => Ok(printable(&text())),
        }
    }

    /// Writes a result that has its own form, as it is.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn raw(&self, text: &str) -> Result<(), Failure> {
        let written = io::stdout().lock().write_all(text.as_bytes());
        written.map_err(|e| Failure::new(Kind::CannotWrite, "la sortie standard n'est pas écrite").because(e))
    }

    /// Tells the person at the terminal something that is no result.
    pub fn say(&self, text: &str) {
        if !self.json {
            // Nobody reads it where standard error is closed, and nothing is lost.
            let _ = writeln!(io::stderr().lock(), "{}", printable(text));
        }
    }

    /// Tells how a command failed.
    pub fn fail(&self, failure: &Failure) {
        let text = if self.json {
            failure.to_json().to_string()
        } else {
            printable(&failure.to_string())
        };
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// The text of the language chosen.
    pub const fn pick<'a>(&self, fr: &'a str, en: &'a str) -> &'a str {
        match self.lang {
            Lang::Fr => fr,
            Lang::En => en,
        }
    }

    /// Whether a person sits at the terminal.
    pub fn interactive(&self) -> bool {
        !self.json && io::stdout().is_terminal() && io::stderr().is_terminal()
    }
}
