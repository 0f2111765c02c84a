//! One exchange at both ends.

use unefois_core::{Event, ExchangeId, Reason};

use super::Rules;
use super::end::{Named, Role, Trace};
use super::finding::{Cause, Finding, Weight};
use super::hour::{Pair, last_of};

/// The traces of one exchange, by the end that wrote them.
struct Exchange<'a> {
    producer: Vec<&'a Trace>,
    consumer: Vec<&'a Trace>,
    /// The producer's logs.
    origins: &'a [Named],
}

/// What is wrong, with the two entries that say so.
struct Wrong<'a>(Cause, Option<&'a Trace>, Option<&'a Trace>);

/// Everything that does not agree in exchange `id`, of which each end logged its traces, in the order of time.
pub(super) fn judge(
    id: &ExchangeId,
    of_each: [&[Trace]; 2],
    origins: [&[Named]; 2],
    rules: &Rules,
) -> Vec<Finding> {
    let written_by = |role: Role| of_each.map(|traces| traces.iter().filter(move |t| t.role == role));
    let [one, other] = written_by(Role::Producer);
    // Two bodies may ask each other, never in one exchange; where both claim to answer it, the first is believed and
    // the other's entries stand against it.
    let first_answers = one.clone().next().is_some();
    let exchange = Exchange {
        producer: one.chain(other).collect(),
        consumer: written_by(Role::Consumer).into_iter().flatten().collect(),
        origins: origins[usize::from(!first_answers)],
    };
    let mut wrong = Vec::new();
    exchange.attempts(&mut wrong);
    exchange.sendings(&mut wrong);
    exchange.named(&mut wrong, rules);
    exchange.last(&mut wrong);
    let last = of_each
        .iter()
        .flat_map(|traces| traces.iter())
        .map(|t| t.at)
        .max();
    let young = last.is_some_and(|at| rules.under_way.contains(&at));
    let any = of_each.iter().flat_map(|traces| traces.first()).next();
    wrong
        .into_iter()
        .map(|Wrong(cause, producer, consumer)| Finding {
            exchange: *id,
            requester: any.and_then(|t| t.terms.requester),
            provider: any.and_then(|t| t.terms.provider),
            weight: match young && cause.may_pass() {
                true => Weight::UnderWay,
                false => cause.weight(),
            },
            cause,
            producer_log: producer
                .and_then(|p| exchange.origins.get(p.log))
                .map(|log| log.origin.clone()),
            producer: producer.cloned(),
            consumer: consumer.cloned(),
        })
        .collect()
}

impl<'a> Exchange<'a> {
    /// Each end's attempts follow one another.
    fn attempts(&self, wrong: &mut Vec<Wrong<'a>>) {
        let zero = |t: &&&Trace| t.attempt == 0;
        for trace in self.producer.iter().filter(zero) {
            wrong.push(Wrong(Cause::Attempts, Some(trace), None));
        }
        for (n, trace) in self.consumer.iter().enumerate() {
            let same = |t: &&Trace| {
                let named = trace.digests.peer_entry;
                t.attempt == trace.attempt || (named.is_some() && t.digests.peer_entry == named)
            };
            let twice = self.consumer[..n].iter().any(same);
            if trace.attempt == 0 || twice {
                wrong.push(Wrong(Cause::Attempts, None, Some(trace)));
            }
        }
        // Replicas' clocks lie apart, so that their entries are counted and not put in order (I2).
        let all = |event: Event| self.producer.iter().copied().filter(move |t| t.event == event);
        let (released, again, withheld) = (
            all(Event::Released).count(),
            all(Event::ReleasedAgain).count(),
            all(Event::Withheld).count(),
        );
        let odd = match () {
            () if released > 1 + withheld => all(Event::Released).next_back(),
            () if again > 0 && released == 0 => all(Event::ReleasedAgain).next(),
            () if withheld > released + again => all(Event::Withheld).next_back(),
            () => None,
        };
        wrong.extend(odd.map(|trace| Wrong(Cause::Attempts, Some(trace), None)));
    }

    /// The producer's entry that a consumer's names.
    fn entry_named(&self, by: &Trace) -> Option<Option<&'a Trace>> {
        let leaf = by.digests.peer_entry?;
        Some(self.producer.iter().copied().find(|t| t.leaf == leaf))
    }

    /// Every entry that the consumer names is there, and says the same.
    fn named(&self, wrong: &mut Vec<Wrong<'a>>, rules: &Rules) {
        for consumer in &self.consumer {
            let producer = match self.entry_named(consumer) {
                Some(Some(producer)) => producer,
                // Where there is no entry at all, `last` says so.
                Some(None) if !self.producer.is_empty() => {
                    let nearest = self.producer.last().copied();
                    wrong.push(Wrong(Cause::OtherEntry, nearest, Some(consumer)));
                    continue;
                }
                Some(None) => continue,
                None if consumer.event == Event::Received => {
                    wrong.push(Wrong(
                        Cause::Contradiction,
                        self.producer.last().copied(),
                        Some(consumer),
                    ));
                    continue;
                }
                None => continue,
            };
            let mut fields = differences(producer, consumer);
            let origin = self.origins.get(producer.log).map(|log| &log.hash);
            if consumer.digests.peer_origin.is_some() && consumer.digests.peer_origin.as_ref() != origin {
                fields.push("peer_origin_hash");
            }
            if !fields.is_empty() {
                wrong.push(Wrong(Cause::Differs(fields), Some(producer), Some(consumer)));
            }
            if consumer.at.plus_ms(rules.clock_ms) < producer.at {
                wrong.push(Wrong(Cause::Clock, Some(producer), Some(consumer)));
            }
            let mut all = self.producer.iter();
            let withheld = all.any(|t| t.event == Event::Withheld && t.attempt == producer.attempt);
            let cause = match (consumer.event, producer.lets_out()) {
                (Event::Received, true) if withheld => Cause::Contradiction,
                (Event::Received, true) | (Event::Refused, false) => continue,
                (Event::Refused, true) if consumer.reason == Some(Reason::SourceSchema) => Cause::NotBelieved,
                (Event::Refused, true) if consumer.reason == Some(Reason::GrantRevoked) => Cause::Withdrawn,
                _ => Cause::Contradiction,
            };
            wrong.push(Wrong(cause, Some(producer), Some(consumer)));
        }
    }

    /// The newest release that nothing closes: bytes may have left under it.
    fn out(&self) -> Option<&'a Trace> {
        let closed = |release: &Trace| {
            let mut all = self.producer.iter();
            all.any(|t| t.event == Event::Withheld && t.attempt == release.attempt)
        };
        let mut newest_first = self.producer.iter().copied().rev();
        newest_first.find(|t| t.lets_out() && !closed(t))
    }

    /// Whether an entry of the consumer names this one of the producer.
    fn is_named(&self, producer: &Trace) -> bool {
        self.consumer
            .iter()
            .any(|c| c.digests.peer_entry == Some(producer.leaf))
    }

    /// How the exchange ended at each end.
    fn last(&self, wrong: &mut Vec<Wrong<'a>>) {
        let producer = last_of(self.producer.iter().copied());
        let consumer = last_of(self.consumer.iter().copied());
        // What the consumer names and nobody holds is told already.
        let told = self.consumer.iter().any(|c| match self.entry_named(c) {
            Some(named) => named.is_none(),
            None => c.event == Event::Received,
        });
        let out = self.out().filter(|out| !self.is_named(out));
        if let Some(out) = out.filter(|_| !told) {
            wrong.push(Wrong(Cause::Unconfirmed, Some(out), consumer));
        }
        let cause = match (producer.map(Pair::of), consumer.map(Pair::of)) {
            (None, None) => None,
            (None, Some(Pair::Unanswered)) => Some(Cause::Unanswered),
            (None, Some(Pair::Refused)) if consumer.is_some_and(|c| c.digests.peer_entry.is_none()) => {
                Some(Cause::Tallied)
            }
            (None, Some(_)) => Some(Cause::NotAtProducer),
            (Some(Pair::Waiting), _) => Some(Cause::Waiting),
            // Confirmed, or told above.
            (Some(Pair::Answered), _) => None,
            (Some(_), None) => out.is_none().then_some(Cause::NotAtConsumer),
            (Some(_), Some(Pair::Unanswered)) => Some(Cause::Unanswered),
            // Refused after it was answered: the consumer's log ends with what it received.
            (Some(_), Some(Pair::Answered)) => {
                let known = told || producer.is_some_and(|p| self.is_named(p));
                (!known).then_some(Cause::NotAtConsumer)
            }
            (Some(_), Some(_)) => None,
        };
        wrong.extend(cause.map(|cause| Wrong(cause, producer, consumer)));
    }

    /// Every sending of an exchange is of the same request, on the same terms.
    fn sendings(&self, wrong: &mut Vec<Wrong<'a>>) {
        let mut sent = self.producer.iter().copied().filter(|t| t.lets_out());
        let Some(first) = sent.next() else { return };
        for again in sent {
            let mut fields = Vec::new();
            if again.terms != first.terms {
                fields.push("terms");
            }
            // The other commitments change with the month of the token.
            if again.digests.request != first.digests.request {
                fields.push("request_hash");
            }
            if !fields.is_empty() {
                wrong.push(Wrong(Cause::Differs(fields), Some(again), None));
            }
        }
    }
}

/// The fields in which a consumer's entry differs from the producer's that it names. A refusal knows of the request
/// what was established before it; what either end does not know is not compared.
fn differences(producer: &Trace, consumer: &Trace) -> Vec<&'static str> {
    fn differ<T: PartialEq>(one: &Option<T>, other: &Option<T>, whole: bool) -> bool {
        match (one, other) {
            (Some(one), Some(other)) => one != other,
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => whole,
        }
    }
    let whole = producer.lets_out() && consumer.event == Event::Received;
    let (p, c) = (&producer.terms, &consumer.terms);
    let (pd, cd) = (&producer.digests, &consumer.digests);
    let refusal = consumer.event == Event::Refused && !producer.lets_out();
    [
        ("requester", differ(&p.requester, &c.requester, whole)),
        ("provider", differ(&p.provider, &c.provider, whole)),
        ("holder", differ(&p.holder, &c.holder, whole)),
        ("publisher", differ(&p.publisher, &c.publisher, whole)),
        ("datatype", differ(&p.datatype, &c.datatype, whole)),
        ("demarche", differ(&p.demarche, &c.demarche, whole)),
        ("habilitation", differ(&p.habilitation, &c.habilitation, whole)),
        ("legal_basis", differ(&p.legal_basis, &c.legal_basis, whole)),
        ("capacity", differ(&p.capacity, &c.capacity, whole)),
        ("acr", differ(&p.acr, &c.acr, whole)),
        (
            "units",
            p.units != c.units && (whole || (p.units != 0 && c.units != 0)),
        ),
        (
            "outcome",
            (whole || refusal) && producer.outcome != consumer.outcome,
        ),
        ("reason", refusal && producer.reason != consumer.reason),
        ("grant_commit", differ(&pd.grant, &cd.grant, whole)),
        ("content_commit", differ(&pd.content, &cd.content, whole)),
        ("dossier_commit", differ(&pd.dossier, &cd.dossier, whole)),
        ("request_hash", differ(&pd.request, &cd.request, whole)),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}
