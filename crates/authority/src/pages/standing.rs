//! Where a grant stands, and how far what was withdrawn of it is.

use unefois_core::{Micros, WithdrawnBy};
use unefois_store::authority::grant::{GrantRow, Withdrawn};

use crate::portal::{Act, Ender, GrantState};

/// The last act that withdrew something of a grant, with those before it.
pub(super) struct Withdrawal {
    pub(super) act: Act,
    /// When it was recorded.
    pub(super) at: Micros,
    /// Since when nothing that was withdrawn of the grant can serve, as is proved; `None` while that is under way.
    pub(super) effective_at: Option<Micros>,
    /// Whether the ledger holds the entry of each proof.
    pub(super) is_proof_logged: bool,
}

/// What was withdrawn of a grant; `None` where nothing was.
pub(super) fn withdrawal(row: &GrantRow) -> Option<Withdrawal> {
    let last = last(row)?;
    let mut effective = withdrawn(row).map(|withdrawn| withdrawn.effective_at);
    Some(Withdrawal {
        act: match ender(row) {
            None => Act::Limit,
            Some(Ender::Person | Ender::Mandator | Ender::Mandate | Ender::Security | Ender::Unrecorded) => {
                Act::Stop
            }
            Some(Ender::Asker) => Act::GiveBack,
        },
        at: last.at,
        effective_at: effective.try_fold(last.at, |latest, at| Some(latest.max(at?))),
        is_proof_logged: withdrawn(row).all(|withdrawn| withdrawn.is_proof_logged),
    })
}

/// Where a grant stands. A withdrawal is effective once that of each element is, of those that others replaced too.
pub(super) fn state(row: &GrantRow, now: Micros) -> GrantState {
    match (ender(row), withdrawal(row)) {
        (Some(by), Some(withdrawal)) => GrantState::Withdrawn {
            by,
            at: withdrawal.at,
            effective_at: withdrawal.effective_at,
        },
        _ if now >= row.grant.ends_at => GrantState::Ended {
            at: row.grant.ends_at,
        },
        _ => GrantState::Current,
    }
}

/// Who ended a grant; `None` while anything of it stands.
fn ender(row: &GrantRow) -> Option<Ender> {
    if !is_ended(row) {
        return None;
    }
    Some(match last(row)?.by {
        WithdrawnBy::Person | WithdrawnBy::Narrowed | WithdrawnBy::Opposition => Ender::Person,
        WithdrawnBy::Mandator => Ender::Mandator,
        WithdrawnBy::Mandate => Ender::Mandate,
        WithdrawnBy::Consumer => Ender::Asker,
        WithdrawnBy::CodeReuse => Ender::Security,
        WithdrawnBy::Unrecorded => Ender::Unrecorded,
    })
}

/// Whether nothing of a grant stands any more.
pub(super) fn is_ended(row: &GrantRow) -> bool {
    row.last().all(|element| element.withdrawn.is_some())
}

fn withdrawn(row: &GrantRow) -> impl Iterator<Item = &Withdrawn> {
    row.elements
        .iter()
        .filter_map(|element| element.withdrawn.as_ref())
}

/// The last record of a grant's: of one act, all have one author.
fn last(row: &GrantRow) -> Option<&Withdrawn> {
    withdrawn(row).max_by_key(|withdrawn| withdrawn.place)
}
