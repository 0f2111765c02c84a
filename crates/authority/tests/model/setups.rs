//! The setups: small ones in every run of the tests, large ones by command.

use crate::claims::Claims;
use crate::run::{Withdrawals, holds};
use crate::setup::{Kind, Setup};

/// One process and one authority: lapses, and pings that are lost or come late.
pub(crate) const LEASE: Setup = Setup {
    name: "lease",
    processes: &[0],
    operators: &[0],
    handles: &[0],
    withdrawals: &[Kind::Grant(0)],
    authorities: 1,
    nonces: 1,
    lease: 1,
    releases: 1,
    mints: 0,
    entries: 3,
    horizon: None,
    flaw: None,
    reaches: &["by acknowledgement", "by lapse", "after a lapse", "withheld"],
};

/// Two pings under way, so that one overtakes the other.
pub(crate) const OVERTAKEN: Setup = Setup { nonces: 2, ..LEASE };

/// A process and its next start.
pub(crate) const RESTART: Setup = Setup {
    name: "restart of a process",
    processes: &[0, 0],
    entries: 1,
    reaches: &["older start"],
    ..LEASE
};

/// An authority and the next: a restart, or a standby while the first goes on.
pub(crate) const TAKEOVER: Setup = Setup {
    name: "takeover of the authority",
    authorities: 2,
    entries: 1,
    reaches: &["another epoch", "an older token"],
    ..LEASE
};

/// A token minted at any moment of a withdrawal.
pub(crate) const MINT: Setup = Setup {
    name: "mint",
    handles: &[0, 0],
    mints: 1,
    entries: 1,
    reaches: &["waits for its view"],
    ..LEASE
};

/// A token minted between two withdrawals.
pub(crate) const TWO_RECORDS: Setup = Setup {
    name: "two withdrawals",
    reaches: &["waits for its view", "while another waits"],
    withdrawals: &[Kind::Grant(0), Kind::Grant(1)],
    ..MINT
};

/// Two operators, each with a handle.
const OPERATORS: Setup = Setup {
    name: "two operators",
    processes: &[0, 1],
    operators: &[0, 1],
    handles: &[0, 1],
    entries: 1,
    ..LEASE
};

/// To its end, with an authority that is gone at some point.
pub(crate) const TO_THE_END: Setup = Setup {
    name: "to the end",
    authorities: 2,
    releases: 0,
    entries: 2,
    horizon: Some(8),
    reaches: &[],
    ..LEASE
};

fn explore(setup: Setup) {
    holds(setup.name, Withdrawals::new(setup), 1);
}

/// By command, with both cores.
fn explore_large(setup: Setup) {
    holds(setup.name, Withdrawals::new(setup), 2);
}

#[test]
fn i3_a_lease_and_its_lapses() {
    explore(LEASE);
}

#[test]
fn i3_a_process_and_its_next_start() {
    explore(RESTART);
}

#[test]
fn i3_an_authority_and_the_next() {
    explore(TAKEOVER);
}

#[test]
fn i3_a_token_minted_at_any_moment() {
    explore(MINT);
}

#[test]
fn every_withdrawal_takes_effect() {
    explore(TO_THE_END);
}

#[test]
fn i2_a_one_shot_handle_over_replicas_retries_and_crashes() {
    holds("one-shot claims", Claims::new(None, 2, 3, None), 1);
}

#[test]
fn i2_a_standing_handle_over_replicas_retries_and_crashes() {
    holds("standing claims", Claims::new(Some(2), 3, 4, None), 1);
}

#[test]
#[ignore = "large"]
fn i3_large_lease() {
    explore_large(Setup {
        name: "large: lease of two ticks, two releases",
        lease: 2,
        releases: 2,
        entries: 4,
        ..LEASE
    });
}

#[test]
#[ignore = "large"]
fn i3_large_overtaken() {
    explore_large(Setup {
        name: "large: pings that overtake each other",
        releases: 2,
        entries: 5,
        ..OVERTAKEN
    });
}

#[test]
#[ignore = "large"]
fn i3_large_restart() {
    explore_large(Setup {
        name: "large: restart of a process, with lapses",
        entries: 3,
        ..RESTART
    });
}

#[test]
#[ignore = "large"]
fn i3_large_restart_and_takeover() {
    explore_large(Setup {
        name: "large: restart and takeover",
        authorities: 2,
        ..RESTART
    });
}

#[test]
#[ignore = "large"]
fn i3_large_restart_and_takeover_with_lapses() {
    explore_large(Setup {
        name: "large: restart and takeover, with lapses",
        authorities: 2,
        entries: 3,
        ..RESTART
    });
}

#[test]
#[ignore = "large"]
fn i3_large_takeover() {
    explore_large(Setup {
        name: "large: two takeovers, a mint, lapses",
        authorities: 3,
        mints: 1,
        entries: 3,
        ..TAKEOVER
    });
}

#[test]
#[ignore = "large"]
fn i3_large_two_records() {
    explore_large(Setup {
        name: "large: two withdrawals, a mint, a takeover",
        authorities: 2,
        ..TWO_RECORDS
    });
}

#[test]
#[ignore = "large"]
fn i3_large_grant_of_one_operator() {
    explore_large(Setup {
        name: "large: two operators, a grant's withdrawal",
        reaches: &["before another operator"],
        ..OPERATORS
    });
}

#[test]
#[ignore = "large"]
fn i3_large_client_of_two_operators() {
    explore_large(Setup {
        name: "large: two operators, a client's withdrawal",
        withdrawals: &[Kind::Client],
        reaches: &["by acknowledgement", "by lapse"],
        ..OPERATORS
    });
}

#[test]
#[ignore = "large"]
fn i3_large_replicas() {
    explore_large(Setup {
        name: "large: two replicas of an operator",
        processes: &[0, 1],
        operators: &[0, 0],
        entries: 1,
        reaches: &["by acknowledgement", "by lapse"],
        ..LEASE
    });
}

#[test]
#[ignore = "large"]
fn every_withdrawal_takes_effect_large() {
    explore_large(Setup {
        name: "large: to the end, two withdrawals and a takeover",
        handles: &[0, 0],
        withdrawals: &[Kind::Grant(0), Kind::Grant(1)],
        horizon: Some(9),
        ..TO_THE_END
    });
}

#[test]
#[ignore = "large"]
fn i2_large_claims() {
    holds("large: one-shot claims", Claims::new(None, 3, 7, None), 2);
    holds("large: standing claims", Claims::new(Some(2), 3, 6, None), 2);
}
