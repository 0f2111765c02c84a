//! One exchange at both ends.

use std::collections::{BTreeMap, BTreeSet};

use unefois_core::{Event, ExchangeId, Micros, Reason, Sha256};

use super::Rules;
use super::end::{MAX_TRACES_OF_ONE, Named, Role, Trace};
use super::finding::{Cause, Finding, Weight};
use super::hour::{Pair, last_of, row};

/// The longest life of an exchange, from the time in its id: so long a consumer keeps a request to send it again, and a
/// producer its claim.
const LIFE_MS: i64 = 24 * 3_600_000;

/// The longest that an exchange waits for a deferred answer, from the time in its id: so long a consumer keeps a grant.
/// The catalogue gives tickets no deadline of their own.
const WAIT_MS: i64 = 31 * 24 * 3_600_000;

/// The traces of one exchange, by the end that wrote them.
struct Exchange<'a> {
    producer: Vec<&'a Trace>,
    consumer: Vec<&'a Trace>,
    /// The producer's logs.
    origins: &'a [Named],
    /// What both ends' rows of the exchange say, whatever role they wrote them in.
    rows_differ: bool,
    /// Whether one end wrote as both.
    both_roles: bool,
    /// The first entry of the second end that claims to answer.
    usurped: Option<&'a Trace>,
    by_leaf: BTreeMap<Sha256, &'a Trace>,
    /// What the consumer's entries name.
    named: BTreeSet<Sha256>,
    /// The sendings that a `withheld` closes, one each, by log and place.
    closed: BTreeSet<(usize, u64)>,
    /// The first sending or `withheld` that fits no order.
    odd: Option<&'a Trace>,
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
    let exchange = Exchange::new(
        of_each,
        one.chain(other).collect(),
        written_by(Role::Consumer).into_iter().flatten().collect(),
        origins[usize::from(!first_answers)],
    );
    let mut wrong = Vec::new();
    if of_each.iter().any(|traces| traces.len() > MAX_TRACES_OF_ONE) {
        let last = exchange.producer.last().copied();
        wrong.push(Wrong(Cause::TooMany, last, exchange.consumer.last().copied()));
    } else {
        exchange.attempts(&mut wrong);
        exchange.sendings(&mut wrong);
        exchange.named(&mut wrong, rules);
        exchange.last(&mut wrong);
        exchange.rows(&mut wrong);
    }
    let any = of_each.iter().flat_map(|traces| traces.first()).next();
    wrong
        .into_iter()
        .map(|wrong| (young(id, &wrong, rules), wrong))
        .map(|(young, Wrong(cause, producer, consumer))| Finding {
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

/// Whether what is wrong may still be mended: by the time of the entry that lacks its like, and not of any that an end
/// adds to the exchange; and by the time in the exchange's id, which nobody changes afterwards.
fn young(id: &ExchangeId, Wrong(cause, producer, consumer): &Wrong<'_>, rules: &Rules) -> bool {
    let written = |trace: &Option<&Trace>| trace.map(|t| t.at);
    let drawn_within = |life_ms: i64| {
        let oldest = rules.under_way.start.plus_ms(-life_ms);
        (oldest..rules.under_way.end).contains(&id.drawn_at())
    };
    let at: Option<Micros> = match cause {
        Cause::Waiting => return drawn_within(WAIT_MS),
        Cause::Unconfirmed => written(producer),
        Cause::OtherEntry | Cause::Contradiction => written(consumer),
        _ => written(producer).max(written(consumer)),
    };
    drawn_within(LIFE_MS) && at.is_some_and(|at| rules.under_way.contains(&at))
}

impl<'a> Exchange<'a> {
    fn new(
        of_each: [&'a [Trace]; 2],
        producer: Vec<&'a Trace>,
        consumer: Vec<&'a Trace>,
        origins: &'a [Named],
    ) -> Self {
        let [one, other] = of_each.map(|traces| last_of(traces.iter()).map(row));
        let both = |traces: &[Trace]| {
            traces
                .iter()
                .any(|t| Some(t.role) != traces.first().map(|t| t.role))
        };
        let producers = of_each.map(|traces| traces.iter().find(|t| t.role == Role::Producer));
        let (closed, odd) = closed(&producer);
        Self {
            rows_differ: one != other,
            usurped: match producers {
                [Some(_), second] => second,
                [None, _] => None,
            },
            both_roles: of_each.into_iter().any(both),
            by_leaf: producer.iter().map(|t| (t.leaf, *t)).collect(),
            named: consumer.iter().filter_map(|t| t.digests.peer_entry).collect(),
            closed,
            odd,
            producer,
            consumer,
            origins,
        }
    }

    /// Each end's attempts follow one another.
    fn attempts(&self, wrong: &mut Vec<Wrong<'a>>) {
        // Both ends claim to answer: what either says is no word about the other.
        wrong.extend(
            self.usurped
                .map(|trace| Wrong(Cause::Contradiction, Some(trace), None)),
        );
        let zero = |t: &&&Trace| t.attempt == 0;
        for trace in self.producer.iter().filter(zero) {
            wrong.push(Wrong(Cause::Attempts, Some(trace), None));
        }
        let (mut attempts, mut named) = (BTreeSet::new(), BTreeSet::new());
        for trace in &self.consumer {
            let again = !attempts.insert(trace.attempt);
            let twice = trace.digests.peer_entry.is_some_and(|leaf| !named.insert(leaf));
            if trace.attempt == 0 || again || twice {
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
            () if self.odd.is_some() => self.odd,
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
        Some(self.by_leaf.get(&leaf).copied())
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
            let withheld = self.closed.contains(&(producer.log, producer.index));
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
        let mut newest_first = self.producer.iter().copied().rev();
        newest_first.find(|t| t.lets_out() && !self.closed.contains(&(t.log, t.index)))
    }

    /// Whether an entry of the consumer names this one of the producer.
    fn is_named(&self, producer: &Trace) -> bool {
        self.named.contains(&producer.leaf)
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

    /// The rows of the two ends are the same, or something says why not.
    fn rows(&self, wrong: &mut Vec<Wrong<'a>>) {
        if !self.rows_differ || !wrong.is_empty() {
            return;
        }
        let producer = last_of(self.producer.iter().copied());
        let consumer = last_of(self.consumer.iter().copied());
        let paired = producer.is_some_and(|p| self.is_named(p))
            && consumer.is_some_and(|c| matches!(self.entry_named(c), Some(Some(_))));
        let unnamed = consumer.is_some_and(|c| c.digests.peer_entry.is_none());
        let cause = match consumer.map(Pair::of) {
            _ if self.both_roles => Cause::Unexplained,
            Some(Pair::Unanswered) => Cause::Unanswered,
            Some(Pair::Refused) if unnamed => Cause::Tallied,
            _ if paired => Cause::Order,
            _ => Cause::Unexplained,
        };
        wrong.push(Wrong(cause, producer, consumer));
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

/// The sendings that a `withheld` closes: each the one before it in its log, of its attempt, that none has closed. Beside
/// them the first entry that fits no order: a sending of an attempt that has one which is not closed, or a `withheld` that
/// has none to close. Where one log holds everything, the claim's own rule is judged too: `released` where nothing is out,
/// `released_again` where something is. Replicas share claims and not logs, so that over several logs nothing says it.
fn closed<'a>(producer: &[&'a Trace]) -> (BTreeSet<(usize, u64)>, Option<&'a Trace>) {
    let mut in_log = producer.to_vec();
    in_log.sort_unstable_by_key(|t| (t.log, t.index));
    let alone = in_log.first().map(|t| t.log) == in_log.last().map(|t| t.log);
    let mut out: BTreeMap<(usize, u16), &Trace> = BTreeMap::new();
    let (mut closed, mut odd) = (BTreeSet::new(), None);
    for trace in in_log {
        let fits = match trace.event {
            Event::Withheld => match out.remove(&(trace.log, trace.attempt)) {
                Some(sending) => closed.insert((sending.log, sending.index)),
                None => false,
            },
            Event::Released | Event::ReleasedAgain => {
                let first = trace.event == Event::Released;
                let ruled = !alone || out.is_empty() == first;
                out.insert((trace.log, trace.attempt), trace).is_none() && ruled
            }
            _ => true,
        };
        if !fits && odd.is_none() {
            odd = Some(trace);
        }
    }
    (closed, odd)
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
