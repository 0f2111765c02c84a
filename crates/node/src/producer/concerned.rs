//! Under what the people whom an exchange concerns are found in the node's erasable index (I12).

use unefois_core::{Capacity, NamedPerson, Pivot, SealedSubject};
use unefois_jose::{DecryptionKey, jwe};
use unefois_ledger::Identity;

use super::Producer;

/// The most keys of one entry.
const MAX: usize = 256;

/// Under what an entry is found.
#[derive(Clone, Default)]
pub(super) struct Keys {
    /// Each of its people, once.
    pub(super) persons: Vec<Vec<u8>>,
    /// What finds some of them a second time.
    pub(super) aliases: Vec<Vec<u8>>,
}

/// Under what the subject is found, once its identity is opened; a company under nothing. Whom a file named, because an
/// officer or nobody asked, is found by whoever may be meant too: a file writes names in its own way.
pub(super) fn subject(subject: &SealedSubject, capacity: Capacity) -> Keys {
    let near = |person: &Pivot| match capacity {
        Capacity::Agent | Capacity::Automatic => vec![person.near_form()],
        Capacity::SelfPerson | Capacity::Child | Capacity::Entity | Capacity::Helper => Vec::new(),
    };
    match subject {
        SealedSubject::Person(person) => Keys {
            persons: vec![person.canonical()],
            aliases: near(person),
        },
        // Whoever granted for a child is no subject, and finds the exchange by the grant.
        SealedSubject::Child { child, asker } => Keys {
            persons: vec![child.canonical(), named(asker).form()],
            aliases: near(child),
        },
        SealedSubject::Entity(_) => Keys::default(),
    }
}

/// Under what the subject is found while a child's link to the asker is not proved: whoever types a child's name writes
/// nothing into that child's history.
pub(super) fn unproved(of: &SealedSubject, capacity: Capacity) -> Keys {
    match of {
        SealedSubject::Child { asker, .. } => Keys {
            persons: vec![named(asker).form()],
            aliases: Vec::new(),
        },
        SealedSubject::Person(_) | SealedSubject::Entity(_) => subject(of, capacity),
    }
}

/// Under what everybody is found whom an answer concerns: the subject, by its identity and by the source's own `ids`, and
/// whom the answer, or the proof of a child's link, names beside it. Nobody is found a second time as one of those.
pub(super) fn everybody<'b>(
    (of, capacity): (&SealedSubject, Capacity),
    ids: &[Vec<u8>],
    beside: impl Iterator<Item = &'b NamedPerson>,
) -> Keys {
    let is_subject = |one: &NamedPerson| match of {
        SealedSubject::Person(person) => one.agrees_with(person),
        SealedSubject::Child { child, asker } => one.agrees_with(child) || one.agrees_with(asker),
        SealedSubject::Entity(_) => false,
    };
    let others = beside.filter(|one| !is_subject(one)).map(NamedPerson::form);
    let mut keys = subject(of, capacity);
    keys.aliases.extend(ids.iter().cloned());
    keys.aliases.truncate(MAX - keys.persons.len());
    let left = MAX - keys.persons.len() - keys.aliases.len();
    keys.persons.extend(others.take(left));
    keys
}

fn named(person: &Pivot) -> NamedPerson {
    NamedPerson {
        child: false,
        family_name: person.family_name.clone(),
        given_names: person.given_names.clone(),
        birthdate: person.birthdate,
        gender: Some(person.gender),
    }
}

impl Producer {
    /// Under what the person of a sealed identity is found; `None` for what is not the identity of one person, sealed to
    /// this node.
    pub fn identity(&self, sealed: &str) -> Option<Identity> {
        let keys: Vec<&DecryptionKey> = self.inner.pivot_keys.iter().collect();
        let json = jwe::open_pivot(&keys, sealed).ok()?;
        match serde_json::from_slice(&json).ok()? {
            SealedSubject::Person(person) => {
                let person = person.checked().ok()?;
                Some(Identity {
                    subject: person.subject_form(),
                    beside: person.named_forms(),
                    near: person.near_form(),
                })
            }
            SealedSubject::Child { .. } | SealedSubject::Entity(_) => None,
        }
    }
}
