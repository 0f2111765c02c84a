//! What may be sent, how often, and what closes it (I2).

use super::*;

#[test]
fn i2_an_answer_twice_or_again_without_a_first_is_a_fault() {
    let mut world = World::default();
    world.tell(&[Tale::Answered]);
    let mut twice = world.clone();
    let again = Entry {
        at: twice.tick(),
        ..twice.producer[0].clone()
    };
    twice.producer.push(again);
    assert_eq!(
        causes(&twice.compare()),
        [
            (Weight::Fault, &Cause::Attempts),
            (Weight::Unconfirmed, &Cause::Unconfirmed)
        ]
    );
    let mut world = World::default();
    world.tell(&[Tale::AnsweredAgain]);
    world.producer.remove(0);
    assert_eq!(causes(&world.compare()), [(Weight::Fault, &Cause::Attempts)]);
}

#[test]
fn i2_one_withheld_closes_one_sending() {
    let mut world = World::default();
    let about = world.begin();
    let withheld = |world: &mut World, released: Entry| {
        world.produced(Entry {
            event: Event::Withheld,
            outcome: Some(Outcome::Refused),
            reason: Some(Reason::GrantRevoked),
            ..released
        })
    };
    let released = world.released(&about, 1);
    let last = withheld(&mut world, released.clone());
    let honest = world.clone();
    world.produced(Entry {
        event: Event::ReleasedAgain,
        ..released.clone()
    });
    assert_eq!(
        causes(&world.compare()),
        [
            (Weight::Fault, &Cause::Attempts),
            (Weight::Unconfirmed, &Cause::Unconfirmed)
        ]
    );
    // The claim was given back: the next sending is a first one, of the same number, and is held back or received.
    let mut world = honest.clone();
    let second = world.released(&about, 1);
    assert_eq!(
        causes(&world.compare()),
        [(Weight::Unconfirmed, &Cause::Unconfirmed)]
    );
    let mut received = world.clone();
    received.consumed(&about, 1, &second);
    assert!(received.compare().findings.is_empty());
    let last_again = withheld(&mut world, second);
    world.consumed(&about, 1, &last_again);
    assert!(world.compare().findings.is_empty(), "{:?}", world.compare());
    // A second `withheld` has nothing to close.
    let mut world = honest;
    withheld(&mut world, released);
    world.consumed(&about, 1, &last);
    assert_eq!(causes(&world.compare()), [(Weight::Fault, &Cause::Attempts)]);
}

#[test]
fn i2_an_attempt_is_sent_once_even_where_their_number_fits() {
    let mut world = World::default();
    let about = world.begin();
    world.released(&about, 1);
    let again = world.released(&about, 2);
    let twice = world.produced(again);
    world.consumed(&about, 1, &twice);
    assert_eq!(causes(&world.compare()), [(Weight::Fault, &Cause::Attempts)]);
}
