//! `explain`: what a code means, who can mend it, whether waiting helps.

use clap::Args;
use serde_json::json;

use crate::console::Console;
use crate::failure::{Code, Failure, Kind};

/// `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The code, such as UF-1012.
    code: String,
}

/// Runs `explain …`.
pub fn run(explain: &Explain, console: Console) -> Result<(), Failure> {
    let code = Code::parse(&explain.code).ok_or_else(|| {
        Failure::new(Kind::No, "ce code n'existe pas")
            .next("un code est UF- et quatre chiffres, comme UF-1012")
    })?;
    match code {
        Code::Kind(kind) => {
            let (fr, en) = kind.meaning();
            let text = console.pick(fr, en);
            console.data(
                &json!({ "code": code.to_string(), "text": text, "exit": kind as u8 }),
                || format!("{code} : {text}"),
            )
        }
        Code::Reason(reason) => {
            let value = json!({
                "code": code.to_string(),
                "reason": reason.as_str(),
                "text_fr": reason.text_fr(),
                "side": reason.side().as_str(),
                "retryable": reason.retryable(),
            });
            console.data(&value, || {
                let retry = if reason.retryable() {
                    console.pick(
                        "La même demande peut réussir plus tard.",
                        "The same request may succeed later.",
                    )
                } else {
                    console.pick(
                        "La même demande échouera encore.",
                        "The same request will fail again.",
                    )
                };
                let side = reason.side();
                let fault = console.pick("Qui peut y remédier", "Who can mend it");
                let whom = console.pick(side.text_fr(), side.as_str());
                format!("{code} {reason}\n{}\n{fault} : {whom}. {retry}", reason.text_fr())
            })
        }
    }
}
