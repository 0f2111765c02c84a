//! How far a long work is: a bar on a terminal, a line now and then elsewhere, both on standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

use unefois_core::{Boot, Clock as _};
use unefois_mesh::SystemClock;

use crate::console::Console;

/// Between two redraws of the bar.
const REDRAW_US: i64 = 100_000;
/// Between two lines where nobody sits.
const LINE_US: i64 = 5_000_000;
const BAR: u64 = 24;

/// The progress of one command, whose work may have several steps.
#[derive(Debug)]
pub struct Progress {
    console: Console,
    bar: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    step: String,
    began: Boot,
    /// How much was done when the step began.
    from: u64,
    told: Boot,
    drawn: bool,
}

impl Progress {
    /// Nothing is written for `--json`.
    pub fn new(console: Console) -> Self {
        let now = SystemClock.boottime();
        Self {
            console,
            bar: !console.json && io::stderr().is_terminal(),
            state: Mutex::new(State {
                step: String::new(),
                began: now,
                from: 0,
                told: now,
                drawn: false,
            }),
        }
    }

    /// `done` of `all` of a step is done.
    pub fn tell(&self, step: &str, done: u64, all: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemClock.boottime();
        if state.step != step {
            step.clone_into(&mut state.step);
            (state.began, state.from, state.told) = (now, done, now);
            return;
        }
        let every = if self.bar { REDRAW_US } else { LINE_US };
        if now.micros_since(state.told) < every && done < all {
            return;
        }
        // A short work says nothing where nobody sits.
        if !self.bar && now.micros_since(state.began) < LINE_US {
            return;
        }
        state.told = now;
        let line = line(
            step,
            (done, all),
            done - state.from.min(done),
            now.micros_since(state.began),
        );
        if self.bar {
            let full = done.min(all) * BAR / all.max(1);
            let bar: String = (0..BAR).map(|n| if n < full { '#' } else { '.' }).collect();
            // Nobody reads it where standard error is closed, and nothing is lost.
            let _ = write!(io::stderr().lock(), "\r\x1b[K[{bar}] {line}");
            state.drawn = true;
        } else {
            self.console.say(&line);
        }
    }

    /// Ends the bar, so that what follows has a line of its own.
    pub fn end(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut state.drawn, false) {
            let _ = writeln!(io::stderr().lock());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// `vérification : 1200000 / 10000000 (12 %), 812000/s, reste 11 s`.
fn line(step: &str, (done, all): (u64, u64), since: u64, micros: i64) -> String {
    let mut line = format!("{step} : {done} / {all} ({} %)", done.min(all) * 100 / all.max(1));
    let micros = u64::try_from(micros).unwrap_or(0);
    let rate = since.saturating_mul(1_000_000).checked_div(micros).unwrap_or(0);
    if let Some(left) = all.saturating_sub(done).checked_div(rate) {
        line += &format!(", {rate}/s");
        line += &match (left / 60, left % 60) {
            (0, s) => format!(", reste {s} s"),
            (m, s) => format!(", reste {m} min {s:02} s"),
        };
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_much_how_fast_and_how_long() {
        assert_eq!(
            line("vérification", (3_000, 12_000), 3_000, 1_500_000),
            "vérification : 3000 / 12000 (25 %), 2000/s, reste 4 s"
        );
        assert_eq!(
            line("charge", (100, 100_000), 100, 1_000_000),
            "charge : 100 / 100000 (0 %), 100/s, reste 16 min 39 s"
        );
        assert_eq!(line("preuves", (0, 0), 0, 0), "preuves : 0 / 0 (0 %)");
    }
}
