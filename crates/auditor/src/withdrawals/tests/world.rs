//! Producers and an authority as their ledgers show them, one step after the other: as honest ones write them, or not.

use std::collections::BTreeMap;
use std::ops::Range;

use unefois_core::commitment::{Field, GrantSecret, Salt};
use unefois_core::effect::{Effect, LogLine, Standing};
use unefois_core::revocation::{Record, RecordPlace, Withdrawal};
use unefois_core::{Entry, Event, ExchangeId, Handle, Micros, Month, ParticipantId, RevocationView, Sha256};
use unefois_tlog::{Checkpoint, Hash, SignerKey, Tree};

use super::super::{Announced, Case, Disclosed, Listed, Opening, ProducerLog, Report, judge};
use crate::Visited;

/// How many handles there are; the last two are of the second operator.
pub(super) const HANDLES: usize = 6;
/// The logs, by number: two replicas of the first operator, and the second's only one.
pub(super) const ORIGINS: [&str; 3] = ["a.example/1", "a.example/2", "b.example/1"];
/// A few minutes before a month ends.
const BEGIN: i64 = 1_798_761_600_000_000 - 400_000_000;

pub(super) fn participant(n: usize) -> ParticipantId {
    let sirets = ["21920023500014", "13002526500013", "18003506500010"];
    format!("urn:unefois:participant:{}", sirets[n]).parse().unwrap()
}

pub(super) fn operator_of_handle(handle: usize) -> usize {
    usize::from(handle >= HANDLES - 2)
}

pub(super) fn operator_of_log(log: usize) -> usize {
    usize::from(log == 2)
}

pub(super) fn handle(n: usize) -> Handle {
    Handle::from_bytes([u8::try_from(n).unwrap() + 1; 16])
}

fn secret(handle: usize, month: Month) -> GrantSecret {
    let mut bytes = [u8::try_from(handle).unwrap(); 32];
    bytes[..4].copy_from_slice(&month.ordinal().to_be_bytes());
    GrantSecret::from_bytes(bytes)
}

pub(super) fn key(log: usize) -> SignerKey {
    SignerKey::new(
        ORIGINS[log].parse().unwrap(),
        &[u8::try_from(log).unwrap() + 1; 32],
    )
}

type Secrets = Vec<(Month, GrantSecret)>;

/// One producer's process and its log.
pub(super) struct Node {
    pub(super) entries: Vec<Entry>,
    pub(super) view: RevocationView,
    boot: u64,
    pub(super) open: bool,
    /// It lapsed, and has not written it down.
    due: bool,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            view: RevocationView::NONE,
            boot: 0,
            open: false,
            due: false,
        }
    }
}

/// A record that waits for its proof.
struct Waiting {
    record: Record,
    handle: usize,
    below: BTreeMap<(usize, u64), (u64, Hash)>,
    acknowledged: BTreeMap<(usize, u64), Standing>,
}

/// A release, and the handle that it is really of.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) log: usize,
    pub(super) index: u64,
    pub(super) handle: usize,
    pub(super) exchange: ExchangeId,
    pub(super) withheld: bool,
    /// Whether it lay between a `lapsed` and its `resumed`.
    pub(super) closed: bool,
}

#[derive(Default)]
pub(super) struct World {
    pub(super) nodes: [Node; 3],
    pub(super) authority: Vec<Entry>,
    /// Each proof, with the place of its entry and the secrets disclosed with it.
    pub(super) effects: Vec<(u64, Effect, Secrets)>,
    pub(super) sent: Vec<Sent>,
    pub(super) withdrawn: BTreeMap<usize, RevocationView>,
    waiting: Vec<Waiting>,
    leases: BTreeMap<(usize, u64), Option<(u64, Hash)>>,
    epoch: u64,
    seq: u64,
    now: i64,
    drawn: u64,
}

impl World {
    pub(super) fn head(&self) -> RevocationView {
        RevocationView {
            epoch: self.epoch + 1,
            seq: self.seq,
        }
    }

    pub(super) fn pass(&mut self, seconds: u8) {
        self.now += i64::from(seconds) * 1_000_000;
    }

    fn at(&self) -> Micros {
        Micros::new(BEGIN + self.now)
    }

    fn exchange(&mut self) -> ExchangeId {
        self.drawn += 1;
        let text = format!("0190163d-8694-7000-8000-{:012x}", self.drawn);
        text.parse().unwrap()
    }

    pub(super) fn root(&self, log: usize) -> (u64, Hash) {
        let mut tree = Tree::new();
        let leaves: Vec<Hash> = (self.nodes[log].entries.iter())
            .map(|entry| Hash::of_leaf(&entry.encode()))
            .collect();
        tree.append(&leaves).unwrap();
        (tree.size(), tree.root())
    }

    pub(super) fn checkpoint(&self, log: usize) -> String {
        let (size, root) = self.root(log);
        let head = Checkpoint::new(ORIGINS[log].parse().unwrap(), size, root).unwrap();
        head.sign(&key(log)).unwrap().as_str().to_owned()
    }

    fn append(&mut self, log: usize, entry: Entry) {
        let view = self.nodes[log].view;
        self.nodes[log].entries.push(Entry { view, ..entry });
    }

    /// A `lapsed` that is due is written before anything else is.
    fn wake(&mut self, log: usize) {
        if std::mem::take(&mut self.nodes[log].due) {
            self.append(log, Entry::new(Event::Lapsed, self.at()));
        }
    }

    /// The last entry `lapsed` or `resumed` is `lapsed`.
    fn is_closed(&self, log: usize) -> bool {
        let events = self.nodes[log].entries.iter().rev().map(|entry| entry.event);
        let mut of_lease = events.filter(|event| matches!(event, Event::Lapsed | Event::Resumed));
        of_lease.next() == Some(Event::Lapsed)
    }

    /// A request under a handle at a log of its operator: answered where the node may.
    pub(super) fn fetch(&mut self, handle: usize, log: usize, withhold: bool, again: bool) {
        self.wake(log);
        let killed = self
            .withdrawn
            .get(&handle)
            .is_some_and(|place| *place <= self.nodes[log].view);
        if self.nodes[log].open && !killed && operator_of_handle(handle) == operator_of_log(log) {
            self.release(handle, log, withhold, again);
        }
    }

    /// Writes a release, whether it may be or not.
    pub(super) fn release(&mut self, handle: usize, log: usize, withhold: bool, again: bool) {
        let before = self
            .sent
            .iter()
            .rev()
            .find(|sent| sent.log == log && sent.handle == handle);
        let before = before.filter(|_| again).copied();
        let exchange = before.map_or_else(|| self.exchange(), |sent| sent.exchange);
        let tries = self.sent.iter().filter(|sent| sent.exchange == exchange).count();
        // A token lives for 300 seconds, and keeps the secret of the month that it was minted in.
        let minted = self
            .at()
            .plus_ms(-if self.drawn.is_multiple_of(2) { 299_000 } else { 0 });
        let entry = Entry {
            exchange_id: Some(exchange),
            attempt: u16::try_from(tries + 1).unwrap(),
            requester: Some(participant(2)),
            provider: Some(participant(operator_of_log(log))),
            datatype: Some("cnaf/quotient-familial@1".parse().unwrap()),
            grant_commit: Some(secret(handle, minted.month()).commit(
                &exchange,
                Field::Grant,
                super::world::handle(handle).as_bytes(),
            )),
            ..Entry::new(
                if before.is_some() {
                    Event::ReleasedAgain
                } else {
                    Event::Released
                },
                self.at(),
            )
        };
        let (index, closed) = (self.nodes[log].entries.len() as u64, self.is_closed(log));
        self.append(log, entry.clone());
        if withhold {
            self.append(
                log,
                Entry {
                    event: Event::Withheld,
                    ..entry
                },
            );
        }
        self.sent.push(Sent {
            log,
            index,
            handle,
            exchange,
            withheld: withhold,
            closed,
        });
    }

    fn noted(&mut self, event: Event, handle: usize) -> Entry {
        let exchange = self.exchange();
        let secret = secret(handle, self.at().month());
        Entry {
            exchange_id: Some(exchange),
            requester: Some(participant(2)),
            provider: Some(participant(operator_of_handle(handle))),
            datatype: Some("cnaf/quotient-familial@1".parse().unwrap()),
            directory_version: 1,
            grant_commit: Some(secret.commit(
                &exchange,
                Field::Grant,
                super::world::handle(handle).as_bytes(),
            )),
            ..Entry::new(event, self.at())
        }
    }

    pub(super) fn withdraw(&mut self, handle: usize, event: Event) {
        if self.withdrawn.contains_key(&handle) {
            return;
        }
        self.seq += 1;
        let place = RecordPlace {
            epoch: self.epoch + 1,
            seq: self.seq,
        };
        self.withdrawn.insert(handle, place.into());
        let record = Record {
            place,
            withdrawal: Withdrawal::Grant(super::world::handle(handle)),
            at: self.at(),
        };
        let below = self
            .leases
            .iter()
            .filter_map(|(lease, answered)| Some((*lease, (*answered)?)));
        self.waiting.push(Waiting {
            record,
            handle,
            below: below.collect(),
            acknowledged: BTreeMap::new(),
        });
        self.announce(handle, event);
    }

    /// The authority writes that a handle is withdrawn, with its grant or for a narrower one.
    pub(super) fn announce(&mut self, handle: usize, event: Event) {
        let entry = self.noted(event, handle);
        self.authority.push(entry);
    }

    /// The node applies what the authority has announced, and says so.
    pub(super) fn hear(&mut self, log: usize) {
        self.wake(log);
        let (view, boot, checkpoint) = (self.head(), self.nodes[log].boot, self.checkpoint(log));
        self.nodes[log].view = view;
        self.leases.entry((log, boot)).or_insert(None);
        for waiting in &mut self.waiting {
            waiting.below.remove(&(log, boot));
            let first = waiting.acknowledged.entry((log, boot));
            first.or_insert_with(|| Standing::Acknowledged {
                view,
                checkpoint: checkpoint.clone(),
            });
        }
    }

    /// A ping that is answered: only where the node has applied the present head.
    pub(super) fn ping(&mut self, log: usize) {
        self.wake(log);
        let (root, boot, head) = (self.root(log), self.nodes[log].boot, self.head());
        if self.nodes[log].view == head && self.leases.contains_key(&(log, boot)) {
            self.leases.insert((log, boot), Some(root));
        }
    }

    /// The node's lease runs out; it writes that down when it next does anything.
    pub(super) fn lapse(&mut self, log: usize) {
        let node = &mut self.nodes[log];
        node.due |= std::mem::take(&mut node.open);
    }

    pub(super) fn resume(&mut self, log: usize) {
        if !self.nodes[log].open {
            self.hear(log);
            self.ping(log);
            self.append(log, Entry::new(Event::Resumed, self.at()));
            self.nodes[log].open = true;
        }
    }

    /// The process dies, and starts again: what it had not written is lost.
    pub(super) fn crash(&mut self, log: usize) {
        let node = &mut self.nodes[log];
        (node.open, node.due, node.boot) = (false, false, node.boot + 1);
    }

    /// The authority starts again: it knows no lease, and waits until those that it gave are over.
    pub(super) fn restart(&mut self) {
        (0..ORIGINS.len()).for_each(|log| self.lapse(log));
        self.epoch += 1;
        self.leases.clear();
        for waiting in &mut self.waiting {
            waiting.below.clear();
            waiting.acknowledged.clear();
        }
    }

    fn standing(&self, waiting: &Waiting, log: usize) -> (Option<u64>, Standing) {
        let newest = self.leases.range((log, 0)..=(log, u64::MAX)).next_back();
        let Some((lease, _)) = newest else {
            return (None, Standing::Absent);
        };
        let below = waiting.below.get(lease).map(|(size, root)| Standing::Lapsed {
            size: *size,
            root: Sha256::from_bytes(*root.as_bytes()),
        });
        let standing = waiting.acknowledged.get(lease).cloned().or(below);
        (Some(lease.1), standing.unwrap_or(Standing::Opened))
    }

    /// Proves every record that waits: the leases that nobody acknowledged under run out.
    pub(super) fn settle(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            let operator = operator_of_handle(waiting.handle);
            let mut logs = Vec::new();
            for (log, origin) in ORIGINS.into_iter().enumerate() {
                if operator_of_log(log) != operator {
                    continue;
                }
                let boot = self.nodes[log].boot;
                if waiting.below.contains_key(&(log, boot)) {
                    self.lapse(log);
                }
                let (boot, standing) = self.standing(&waiting, log);
                logs.push(LogLine {
                    participant: participant(operator),
                    origin: origin.to_owned(),
                    boot,
                    standing,
                });
            }
            let effect = Effect {
                record: waiting.record,
                operator: Some(participant(operator)),
                effective_at: self.at(),
                logs,
            };
            self.effective(waiting.handle, effect);
        }
    }

    /// Writes an `effective` entry.
    pub(super) fn effective(&mut self, handle: usize, effect: Effect) {
        let entry = self.noted(Event::Effective, handle);
        let month = entry.at.month();
        let secrets = [month.plus(-1), month, month.plus(1)].map(|month| (month, secret(handle, month)));
        self.effects
            .push((self.authority.len() as u64, effect, secrets.to_vec()));
        let commit = Salt::from_bytes([9; 32]).commit(Field::Evidence, b"");
        self.authority.push(Entry {
            evidence_commit: Some(commit),
            ..entry
        });
    }

    pub(super) fn listed(&self) -> Listed {
        let logs = ORIGINS.into_iter().enumerate();
        let logs = logs.map(|(log, origin)| {
            (
                origin.to_owned(),
                (participant(operator_of_log(log)), key(log).verifier().clone()),
            )
        });
        Listed {
            version: 1,
            issued_at: Micros::new(0),
            logs: logs.collect(),
        }
    }

    pub(super) fn announced(&self) -> Announced {
        let mut announced = Announced::default();
        each(&self.authority, |visited| announced.take(0, visited).unwrap());
        announced
    }

    /// What an auditor finds.
    pub(super) fn judged(&self) -> Report {
        self.judged_by(&self.listed())
    }

    pub(super) fn judged_by(&self, listed: &Listed) -> Report {
        let announced = self.announced();
        let cases: Vec<Case> = (announced.effective.iter().zip(&self.effects))
            .map(|(noted, (index, effect, secrets))| {
                assert_eq!(noted.index, *index);
                let disclosed = Disclosed {
                    evidence: Opening::Opens(effect.to_bytes()),
                    secrets: secrets.clone(),
                };
                Case::open(noted, disclosed, listed)
            })
            .collect();
        let mut wanted = Case::wanted(&cases);
        let logs: Vec<ProducerLog> = (ORIGINS.into_iter().enumerate())
            .map(|(log, origin)| {
                let mut read = ProducerLog::new(origin.to_owned(), wanted.remove(origin).unwrap_or_default());
                each(&self.nodes[log].entries, |visited| read.take(visited).unwrap());
                read
            })
            .collect();
        judge(&cases, &announced, &logs, listed, always(), |_| {})
    }
}

fn always() -> Range<Micros> {
    Micros::new(i64::MIN)..Micros::new(i64::MAX)
}

fn each(entries: &[Entry], mut take: impl FnMut(Visited<'_>)) {
    for (index, entry) in (0..).zip(entries) {
        let bytes = entry.encode();
        let leaf = Hash::of_leaf(&bytes);
        take(Visited {
            index,
            leaf: &leaf,
            entry,
            bytes: &bytes,
        });
    }
}
