//! The program `unefois`; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    unefois::run(std::env::args_os())
}
