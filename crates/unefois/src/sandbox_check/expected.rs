//! What a case is expected to be, by its status alone: written apart from the pipeline, so that both must agree.

use unefois_node::producer::source::sandbox::ExpectedOutcome;

/// The end that a status stands for. None is an absence.
pub(super) const fn by_status(status: u16) -> ExpectedOutcome {
    match status {
        200 => ExpectedOutcome::Document,
        404 => ExpectedOutcome::NotResolved,
        408 | 429 | 500..=599 => ExpectedOutcome::Later,
        _ => ExpectedOutcome::Refused,
    }
}
