//! Answers calls for justificatifs: authorises, asks the source, minimises, signs, records, and only then sends.

pub mod source;
