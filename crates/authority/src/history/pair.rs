use std::collections::BTreeMap;

use unefois_core::{Event, ExchangeId, Micros, ParticipantId, Reason};

use super::{FoundBy, Proved};
use crate::portal::ExchangeResult;

/// One exchange as both ends tell it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) id: ExchangeId,
    /// By what it is known to concern the person.
    pub(crate) found: FoundBy,
    /// When it was last spoken of.
    pub(crate) at: Micros,
    /// The producer's entries, in order.
    pub(crate) producer: Vec<Proved>,
    /// The consumer's entries, in order.
    pub(crate) consumer: Vec<Proved>,
    pub(crate) ended: Ended,
}

/// How it ended.
pub(crate) type Ended = ExchangeResult;

impl Exchange {
    /// The entry that tells most about it: the producer's last one, or the consumer's.
    pub(crate) fn last(&self) -> Option<&Proved> {
        self.producer.last().or(self.consumer.last())
    }
}

/// Brings the entries of both ends together, by exchange and by whom it asked, newest first: an id that a log gives to another
/// exchange of its own says nothing about this one. Nor does an id under which a consumer asks about two people: what is
/// known to concern the person is one exchange, what may be another's is told apart. Whoever is `unheard`, wholly or in
/// part, may hold more.
pub(crate) fn pair(mut entries: Vec<Proved>, unheard: &[ParticipantId]) -> Vec<Exchange> {
    // The same entry may have been found twice, by a handle and by the identity.
    entries.sort_by(|a, b| {
        let key = |proved: &Proved| proved.found.rank();
        (&a.origin, &a.bytes, key(a)).cmp(&(&b.origin, &b.bytes, key(b)))
    });
    entries.dedup_by(|a, b| a.bytes == b.bytes && a.origin == b.origin);
    let mut by_exchange: BTreeMap<_, Vec<Proved>> = BTreeMap::new();
    for proved in entries {
        if let Some(id) = proved.entry.exchange_id {
            let of = (id, proved.entry.provider, proved.found.whose());
            by_exchange.entry(of).or_default().push(proved);
        }
    }
    let mut exchanges: Vec<Exchange> = by_exchange
        .into_iter()
        .filter_map(|((id, provider, _), mut entries)| {
            entries.sort_by_key(|proved| (proved.entry.attempt, proved.entry.at, proved.receipt.index()));
            let at = entries.iter().map(|proved| proved.entry.at).max()?;
            let found = entries
                .iter()
                .map(|proved| proved.found)
                .min_by_key(|found| found.rank())?;
            let requester = entries.iter().find_map(|proved| proved.entry.requester);
            let (producer, consumer): (Vec<_>, Vec<_>) = entries.into_iter().partition(|proved| {
                Some(proved.keeper) == provider && is_producers(proved.entry.event, requester == provider)
            });
            let producer_unheard = provider.is_none_or(|id| unheard.contains(&id));
            let ended = ended(&producer, &consumer, producer_unheard);
            Some(Exchange {
                id,
                found,
                at,
                producer,
                consumer,
                ended,
            })
        })
        .collect();
    exchanges.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| b.id.cmp(&a.id)));
    exchanges
}

/// Whether an event is a producer's; one body may be both ends, and then what a consumer writes is told by its event.
fn is_producers(event: Event, both_ends: bool) -> bool {
    !(both_ends && matches!(event, Event::Received | Event::Unanswered))
}

/// ledger.md, « Both ends »: released ↔ received, refused or withheld ↔ refused, deferred waits; the rest does not
/// agree.
fn ended(producer: &[Proved], consumer: &[Proved], producer_unheard: bool) -> Ended {
    let last = producer.iter().rev().find(|p| p.entry.event != Event::Withheld);
    let withheld = producer.last().is_some_and(|p| p.entry.event == Event::Withheld);
    let received = consumer.iter().rev().find(|c| c.entry.event == Event::Received);
    let consumers = consumer.last().map(|c| (c.entry.event, c.entry.reason));
    let released = producer
        .iter()
        .any(|p| matches!(p.entry.event, Event::Released | Event::ReleasedAgain));

    if let Some(received) = received {
        let same = producer.iter().any(|p| {
            matches!(p.entry.event, Event::Released | Event::ReleasedAgain)
                && p.entry.content_commit == received.entry.content_commit
        });
        return match same || (producer.is_empty() && producer_unheard) {
            true => Ended::Answered,
            false => Ended::ToCheck,
        };
    }
    if withheld && released {
        return Ended::Withheld;
    }
    match (last.map(|p| (p.entry.event, p)), consumers) {
        // A release that the consumer says it refused: a bad signature, or a withdrawal it knew of.
        (Some((Event::Released | Event::ReleasedAgain, _)), Some((Event::Refused, _))) => Ended::ToCheck,
        (Some((Event::Released | Event::ReleasedAgain, p)), _) => match p.acknowledged {
            true => Ended::Answered,
            false => Ended::Unconfirmed,
        },
        (Some((Event::Refused, p)), _) => refused(p.entry.reason),
        (Some((Event::Deferred, _)), _) => Ended::Later(None),
        (None, Some((Event::Refused, reason))) => refused(reason),
        (None, Some((Event::Unanswered, reason))) => Ended::Later(reason),
        (Some(_) | None, _) => Ended::ToCheck,
    }
}

fn refused(reason: Option<Reason>) -> Ended {
    match reason {
        Some(reason) if reason.retryable() => Ended::Later(Some(reason)),
        Some(reason) => Ended::Refused(reason),
        None => Ended::ToCheck,
    }
}

#[cfg(test)]
mod tests {
    use unefois_core::commitment::Field;
    use unefois_core::commitment::Salt;
    use unefois_core::{Entry, Sha256};
    use unefois_tlog::{Checkpoint, Hash, Receipt, SignerKey};

    use super::*;

    const CONSUMER: &str = "urn:unefois:participant:21920023500014";
    const PRODUCER: &str = "urn:unefois:participant:18003506500010";
    const EXCHANGE: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

    fn receipt() -> Receipt {
        let key = SignerKey::new("log".parse().unwrap(), &[1; 32]);
        let checkpoint = Checkpoint::new("log".parse().unwrap(), 1, Hash::of_leaf(b"x")).unwrap();
        Receipt::new(0, Vec::new(), checkpoint.sign(&key).unwrap()).unwrap()
    }

    fn proved(keeper: &str, event: Event, at: i64, reason: Option<Reason>, content: u8) -> Proved {
        let content = Salt::from_bytes([1; 32]).commit(Field::Content, &[content]);
        let sent = matches!(event, Event::Released | Event::Received | Event::ReleasedAgain);
        let entry = Entry {
            exchange_id: Some(EXCHANGE.parse().unwrap()),
            attempt: 1,
            requester: Some(CONSUMER.parse().unwrap()),
            provider: Some(PRODUCER.parse().unwrap()),
            reason,
            content_commit: sent.then_some(content),
            evidence_commit: Some(Sha256::of(&at.to_be_bytes())),
            ..Entry::new(event, Micros::new(at))
        };
        Proved {
            bytes: entry.encode(),
            entry,
            keeper: keeper.parse().unwrap(),
            origin: keeper.to_owned(),
            found: FoundBy::Handle(unefois_core::Handle::from_bytes([1; 16])),
            receipt: receipt(),
            acknowledged: false,
        }
    }

    fn told(entries: Vec<Proved>, silent: &[&str]) -> Ended {
        let silent: Vec<ParticipantId> = silent.iter().map(|id| id.parse().unwrap()).collect();
        let exchanges = pair(entries, &silent);
        assert_eq!(exchanges.len(), 1);
        exchanges[0].ended
    }

    #[test]
    fn two_stories_are_to_be_checked() {
        let (p, c) = (
            |event, reason| proved(PRODUCER, event, 1, reason, 1),
            |event, reason, content| proved(CONSUMER, event, 2, reason, content),
        );
        for entries in [
            vec![p(Event::Released, None), c(Event::Received, None, 2)],
            vec![
                p(Event::Refused, Some(Reason::NotEntitled)),
                c(Event::Received, None, 1),
            ],
            vec![
                p(Event::Released, None),
                c(Event::Refused, Some(Reason::TokenInvalid), 1),
            ],
            vec![c(Event::Received, None, 1)],
        ] {
            assert_eq!(told(entries, &[]), Ended::ToCheck);
        }
    }

    #[test]
    fn an_id_that_another_log_uses_changes_no_row() {
        let released = proved(PRODUCER, Event::Released, 1, None, 1);
        let received = proved(CONSUMER, Event::Received, 2, None, 1);
        // The consumer produces as well, and writes a refusal of its own under the same id.
        let mut own = proved(CONSUMER, Event::Refused, 3, Some(Reason::NotEntitled), 1);
        own.entry.provider = Some(CONSUMER.parse().unwrap());
        let own = Proved {
            bytes: own.entry.encode(),
            found: FoundBy::Subject,
            ..own
        };
        let exchanges = pair(vec![own, received, released], &[]);
        let told: Vec<_> = exchanges.iter().map(|one| (one.found, one.ended)).collect();
        assert_eq!(
            told,
            [
                (FoundBy::Subject, Ended::Refused(Reason::NotEntitled)),
                (
                    FoundBy::Handle(unefois_core::Handle::from_bytes([1; 16])),
                    Ended::Answered
                ),
            ]
        );
    }

    #[test]
    fn an_id_under_which_two_people_are_asked_about_tells_neither_of_the_other() {
        let refused = proved(PRODUCER, Event::Refused, 1, Some(Reason::SourceTimeout), 1);
        let entry = |found, of: &Proved| Proved { found, ..of.clone() };
        let released = proved(PRODUCER, Event::Released, 2, None, 1);
        let exchanges = pair(
            vec![
                entry(FoundBy::Near, &refused),
                entry(FoundBy::Near, &released),
                entry(FoundBy::Subject, &refused),
            ],
            &[],
        );
        let told: Vec<_> = exchanges
            .iter()
            .map(|one| (one.found, one.at.get(), one.producer.len()))
            .collect();
        assert_eq!(told, [(FoundBy::Near, 2, 1), (FoundBy::Subject, 1, 1)]);
    }

    #[test]
    fn one_end_alone_says_what_it_can() {
        let released = proved(PRODUCER, Event::Released, 1, None, 1);
        let confirmed = Proved {
            acknowledged: true,
            ..released.clone()
        };
        let received = proved(CONSUMER, Event::Received, 2, None, 1);
        let unanswered = proved(CONSUMER, Event::Unanswered, 2, Some(Reason::Deadline), 1);
        assert_eq!(told(vec![released.clone()], &[CONSUMER]), Ended::Unconfirmed);
        assert_eq!(
            told(vec![released.clone(), unanswered.clone()], &[]),
            Ended::Unconfirmed
        );
        assert_eq!(told(vec![confirmed], &[]), Ended::Answered);
        assert_eq!(told(vec![received.clone()], &[PRODUCER]), Ended::Answered);
        assert_eq!(told(vec![unanswered], &[]), Ended::Later(Some(Reason::Deadline)));
        assert_eq!(told(vec![received, released], &[]), Ended::Answered);
    }

    #[test]
    fn refusals_keep_their_reason_and_a_withheld_release_is_none() {
        let refused = |reason| proved(PRODUCER, Event::Refused, 1, Some(reason), 1);
        assert_eq!(
            told(vec![refused(Reason::GrantRevoked)], &[]),
            Ended::Refused(Reason::GrantRevoked)
        );
        assert_eq!(
            told(vec![refused(Reason::SourceTimeout)], &[]),
            Ended::Later(Some(Reason::SourceTimeout))
        );
        let withheld = vec![
            proved(PRODUCER, Event::Released, 1, None, 1),
            proved(PRODUCER, Event::Withheld, 2, Some(Reason::GrantRevoked), 1),
            proved(CONSUMER, Event::Refused, 3, Some(Reason::GrantRevoked), 1),
        ];
        assert_eq!(told(withheld, &[]), Ended::Withheld);
    }
}
