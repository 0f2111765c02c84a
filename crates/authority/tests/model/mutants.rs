//! Each clause left out, and the property that breaks without it.

use crate::claims::{self, Claims};
use crate::properties::{
    COMES, EFFECTIVE_ONCE, IN_TIME, NO_BYTE_AFTER_EFFECT, NO_FALSE_ALARM, NO_KILLED_TOKEN, has_late,
};
use crate::run::{Withdrawals, breaks, follow};
use crate::setup::{Flaw, Kind, Setup};
use crate::setups::{LEASE, MINT, OVERTAKEN, RESTART, TAKEOVER, TO_THE_END, TWO_RECORDS};
use crate::steps::Step;

fn without(flaw: Flaw, setup: Setup, property: &'static str) {
    let name = format!("without: {flaw:?}");
    let setup = Setup {
        flaw: Some(flaw),
        reaches: &[],
        ..setup
    };
    breaks(&name, Withdrawals::new(setup), property);
}

macro_rules! mutants {
    ($($(#[$attribute:meta])* $name:ident: $flaw:ident, $setup:expr, $property:expr;)*) => { $(
        $(#[$attribute])*
        #[test]
        fn $name() {
            without(Flaw::$flaw, $setup, $property);
        }
    )* };
}

mutants! {
    seq_from_sequence: SeqFromSequence, TWO_RECORDS, NO_KILLED_TOKEN;
    old_authority_answers: OldAuthorityAnswers, TAKEOVER, NO_BYTE_AFTER_EFFECT;
    superseded_withdraws: SupersededWithdraws, Setup { mints: 1, ..TAKEOVER }, NO_KILLED_TOKEN;
    acknowledged_before_guard: AcknowledgedBeforeGuard, LEASE, NO_BYTE_AFTER_EFFECT;
    lease_from_receipt: LeaseFromReceipt, LEASE, NO_BYTE_AFTER_EFFECT;
    deadline_not_frozen: DeadlineNotFrozen, LEASE, IN_TIME;
    deadline_not_frozen_to_the_end: DeadlineNotFrozen, TO_THE_END, COMES;
    mint_in_two_statements: MintInTwoStatements, MINT, NO_KILLED_TOKEN;
    superseded_concludes: SupersededConcludes, TAKEOVER, EFFECTIVE_ONCE;
    no_wait_after_start: NoWaitAfterStart, TAKEOVER, NO_BYTE_AFTER_EFFECT;
    wait_without_drift: WaitWithoutDrift, TAKEOVER, NO_BYTE_AFTER_EFFECT;
    deadline_without_drift: DeadlineWithoutDrift, LEASE, NO_BYTE_AFTER_EFFECT;
    acknowledged_before_batch: AcknowledgedBeforeBatch, LEASE, NO_FALSE_ALARM;
    streams_outlive_record: StreamsOutliveRecord, LEASE, NO_BYTE_AFTER_EFFECT;
    streams_outlive_acknowledgement: StreamsOutliveAcknowledgement, LEASE, NO_BYTE_AFTER_EFFECT;
    streams_outlive_lease: StreamsOutliveLease, LEASE, NO_BYTE_AFTER_EFFECT;
    answer_before_head: AnswerBeforeHead, LEASE, NO_BYTE_AFTER_EFFECT;
    pings_outlive_lapse: PingsOutliveLapse, LEASE, NO_FALSE_ALARM;
    ping_before_lapsed: PingBeforeLapsed, LEASE, NO_FALSE_ALARM;
    #[ignore = "large"]
    new_start_replaces_older: NewStartReplacesOlder, RESTART, NO_BYTE_AFTER_EFFECT;
    #[ignore = "large"]
    size_of_last_arrival: SizeOfLastArrival, OVERTAKEN, NO_FALSE_ALARM;
}

/// Too deep for a search: a start that nobody told of its end is answered by an authority that has not heard of the newer
/// one, whose lapse and release then lie behind the older one's size.
#[test]
fn starts_forgotten() {
    let setup = Setup {
        authorities: 2,
        entries: 3,
        flaw: Some(Flaw::StartsForgotten),
        reaches: &[],
        ..RESTART
    };
    let (older, newer, ping) = (0, 1, 0);
    let answered = |process| {
        [
            Step::Ping { process, ping },
            Step::Answer { process, ping },
            Step::Count { process, ping },
            Step::Resume { process },
        ]
    };
    let start = [
        Step::StartNode { process: newer },
        Step::Apply {
            process: newer,
            authority: 0,
            records: 0,
        },
    ];
    let lapse = [
        Step::Tick,
        Step::Lapse { process: newer },
        Step::RecordLapse { process: newer },
    ];
    let release = [
        Step::BuildRelease {
            process: newer,
            token: 0,
        },
        Step::CommitRelease { process: newer },
    ];
    let takeover = [
        Step::Start { authority: 1 },
        Step::Apply {
            process: older,
            authority: 1,
            records: 0,
        },
        Step::Ping { process: older, ping },
        Step::Answer { process: older, ping },
    ];
    let withdrawal = [
        Step::Withdraw {
            authority: 1,
            kind: Kind::Grant(0),
        },
        Step::Publish { authority: 1 },
        Step::Tick,
        Step::Tick,
        Step::Tick,
        Step::Conclude {
            authority: 1,
            record: 0,
        },
    ];
    let before = [
        &start[..],
        &answered(newer),
        &lapse,
        &answered(newer),
        &release,
        &takeover,
    ]
    .concat();
    assert!(!has_late(&follow(&setup, &before)));
    assert!(has_late(&follow(&setup, &[before, withdrawal.to_vec()].concat())));
}

fn claims_without(flaw: claims::Flaw, standing: Option<u8>, property: &'static str) {
    breaks(
        &format!("without: {flaw:?}"),
        Claims::new(standing, 2, 3, Some(flaw)),
        property,
    );
}

#[test]
fn freed_by_request() {
    claims_without(claims::Flaw::FreedByRequest, None, claims::AS_GRANTED);
}

#[test]
fn freed_by_first() {
    claims_without(claims::Flaw::FreedByFirst, None, claims::AS_GRANTED);
}

#[test]
fn decided_by_look_up() {
    claims_without(claims::Flaw::DecidedByLookUp, None, claims::AS_GRANTED);
}

#[test]
fn count_kept() {
    claims_without(claims::Flaw::CountKept, Some(1), claims::COUNTED);
}
