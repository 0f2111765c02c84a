//! The auditor's commands as they are typed, over the logs of real exchanges: as they are, and as their own keepers might
//! forge them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../../../../tests/kit/answers.rs"]
pub mod answers;
mod disclosure;
mod export;
mod mesh;
mod officers;
mod proof;
mod reconcile;
mod search;
mod served;
mod withdrawals;
