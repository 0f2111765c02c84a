//! What a process that only consumes is told: the records that concern its own clients, from wherever it stopped.
//!
//! It sees no handle of anybody else's. A publisher whose body names it no more is not told of that body's grants, and its
//! place stays before the first of these, so that it is told once it is named again.
//!
//! What it has missed, however long it was away, is read from the database; what is new is read once for all readers, and
//! kept for those who come a little later.

use std::collections::{BTreeSet, VecDeque};

use tokio::sync::{Mutex, Semaphore};
use tokio_stream::StreamExt as _;
use tonic::{Status, Streaming};
use unefois_core::revocation::Withdrawal;
use unefois_core::{Directory, Micros, ParticipantId, RevocationView, WithdrawnBy};
use unefois_proto::pb::revocation::v1 as pb;
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
use unefois_proto::pb::revocation::v1::watch_response::Message as Tell;
use unefois_proto::{MAX_CONSUMER_RECORDS, OwnRecord, OwnRecords};
use unefois_store::Db;
use unefois_store::authority::feed::{Attributed, attributed};

use super::watch::{Reader, internal, invalid, stale};
use crate::Error;

/// Records that are read from the database at once.
const PAGE: u16 = 1_000;
/// Records that are kept for readers that are a little behind.
const KEPT: usize = 4_000;
const _: () = assert!(PAGE as usize <= MAX_CONSUMER_RECORDS, "a page is one message");

/// The newest records with their holders.
#[derive(Debug)]
pub(crate) struct Feed {
    recent: Mutex<Recent>,
    /// Readers that are far behind read the database one at a time, so that their return delays nobody else.
    history: Semaphore,
}

/// The records from one number on to another.
#[derive(Debug, Default)]
struct Recent {
    /// Number before the oldest one kept.
    from: u64,
    /// Number of the newest one known.
    to: u64,
    records: VecDeque<Attributed>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            recent: Mutex::default(),
            history: Semaphore::new(1),
        }
    }
}

impl Feed {
    /// The next records after number `after`, none beyond `head`, and the number up to which that is all.
    async fn next(&self, db: &Db, after: u64, head: RevocationView) -> Result<(Vec<Attributed>, u64), Error> {
        let mut recent = self.recent.lock().await;
        // Whoever is the first to hear of new records reads them, for all.
        while recent.to < head.seq && head.seq - recent.to <= KEPT as u64 {
            let page = attributed(db, recent.to, head.seq, PAGE).await?;
            recent.extend(page, head.seq);
        }
        if recent.to < head.seq {
            // A start, or a burst that nobody needs whole: what is older is read by whoever asks for it.
            *recent = Recent::at(head.seq);
        }
        if let Some(page) = recent.after(after) {
            return Ok(page);
        }
        drop(recent);
        let _one = self.history.acquire().await.map_err(|_| Error::Superseded)?;
        let page = attributed(db, after, head.seq, PAGE).await?;
        let reached = end(&page, head.seq);
        Ok((page, reached))
    }
}

/// Up to where a page that was asked for up to `last` is complete.
fn end(page: &[Attributed], last: u64) -> u64 {
    match page.last().filter(|_| page.len() == usize::from(PAGE)) {
        Some(cut) => cut.record.place.seq,
        None => last,
    }
}

impl Recent {
    const fn at(seq: u64) -> Self {
        Self {
            from: seq,
            to: seq,
            records: VecDeque::new(),
        }
    }

    fn extend(&mut self, page: Vec<Attributed>, last: u64) {
        self.to = end(&page, last);
        self.records.extend(page);
        while self.records.len() > KEPT {
            if let Some(gone) = self.records.pop_front() {
                self.from = gone.record.place.seq;
            }
        }
    }

    /// What comes after `after`, a page at most; `None` where that is not kept.
    fn after(&self, after: u64) -> Option<(Vec<Attributed>, u64)> {
        if after < self.from {
            return None;
        }
        let later = self.records.iter().filter(|a| a.record.place.seq > after);
        let page: Vec<Attributed> = later.take(usize::from(PAGE)).cloned().collect();
        let reached = end(&page, self.to).max(after);
        Some((page, reached))
    }
}

/// How far a reader has come.
struct Place {
    /// Up to where it was told all that it may be told at present.
    told: RevocationView,
    /// The place that it knows.
    known: u64,
    /// What keeps that place back, for a reader that takes records ahead of it.
    held: Option<Held>,
    /// Whether it does.
    takes_ahead: bool,
}

/// Withdrawals of grants that the reader obtained for bodies that do not name it as their publisher at present.
struct Held {
    /// The place before the first of them.
    before: RevocationView,
    /// Those bodies.
    clients: BTreeSet<ParticipantId>,
}

impl Place {
    /// Up to where the reader was told all that concerns it.
    fn reached(&self) -> RevocationView {
        self.held.as_ref().map_or(self.told, |held| held.before)
    }

    /// Goes back to what the reader may be told now that a body has named it again; whether there is such.
    fn taken_back(&mut self, acts: impl Fn(&ParticipantId) -> bool) -> bool {
        let held = self.held.take_if(|held| held.clients.iter().any(acts));
        if let Some(held) = &held {
            self.told = held.before;
        }
        held.is_some()
    }

    /// Keeps the place before record number `seq`, of a grant of this client's that may still matter to the reader.
    fn hold(&mut self, (epoch, seq): (u64, u64), untold: &Untold, now: Micros) {
        if !self.takes_ahead || untold.ends_at <= now {
            return;
        }
        let before = RevocationView { epoch, seq: seq - 1 };
        let clients = BTreeSet::new();
        let held = self.held.get_or_insert(Held { before, clients });
        held.clients.insert(untold.client);
    }
}

impl Reader {
    /// Tells a consumer of what concerns it, from number `after` on, until it leaves; ahead of its place where it takes that.
    pub(super) async fn feed(
        self,
        asked: &mut Streaming<pb::WatchRequest>,
        (after, takes_ahead): (u64, bool),
    ) -> Result<(), Status> {
        let revocation = &self.service.revocation;
        let mut news = revocation.head.subscribe();
        let mut versions = self.service.published.versions();
        let mut place = Place {
            told: RevocationView { epoch: 0, seq: after },
            known: after,
            held: None,
            takes_ahead,
        };
        self.own_records(&mut place, true).await?;
        loop {
            let message = tokio::select! {
                () = revocation.stopped.cancelled() => return Err(stale()),
                changed = news.changed() => {
                    changed.map_err(|_| stale())?;
                    None
                }
                changed = versions.changed() => {
                    changed.map_err(|_| stale())?;
                    None
                }
                message = asked.next() => match message.transpose()? {
                    Some(message) => Some(message.message.ok_or_else(|| invalid("message", "one of the messages"))?),
                    None => return Ok(()),
                },
            };
            self.own_records(&mut place, false).await?;
            match message {
                None => {}
                Some(Ask::Ping(ping)) => self.reached(&ping, &mut place).await?,
                Some(Ask::Open(_)) => return Err(invalid("open", "a watch is opened once")),
                Some(Ask::Held(_)) => return Err(invalid("held", "a watch without a log holds nothing")),
                Some(Ask::Acknowledgement(_)) => {
                    return Err(invalid(
                        "acknowledgement",
                        "a watch without a log acknowledges nothing",
                    ));
                }
            }
        }
    }

    /// Tells what the reader has not heard of; where it is nothing, only if that is `due`, or if there is much of it.
    async fn own_records(&self, place: &mut Place, mut due: bool) -> Result<(), Status> {
        let revocation = &self.service.revocation;
        loop {
            let head = revocation.view();
            let edition = self.service.published.edition();
            due |= place.taken_back(|client| edition.directory.acts_for(&self.participant, client));
            if place.told.seq >= head.seq && !due {
                place.told = head;
                return Ok(());
            }
            let next = self.service.feed.next(&revocation.db, place.told.seq, head).await;
            let (page, reached) = next.map_err(internal)?;
            let now = revocation.clock.now();
            let (mut records, mut ahead) = (Vec::new(), Vec::new());
            for attributed in page {
                let seq = attributed.record.place.seq;
                match own(&edition.directory, &self.participant, attributed) {
                    Concern::Own(record) if place.held.is_none() => records.push(record),
                    Concern::Own(record) => ahead.push(record),
                    // The head's epoch is at least that of every record before it.
                    Concern::Untold(untold) => place.hold((head.epoch, seq), &untold, now),
                    Concern::Another => {}
                }
            }
            place.told = RevocationView {
                epoch: head.epoch,
                seq: reached,
            };
            if due || reached < head.seq || !records.is_empty() || !ahead.is_empty() {
                let own = OwnRecords {
                    after: place.known,
                    reached: place.reached(),
                    records,
                    ahead,
                };
                place.known = own.reached.seq;
                due = false;
                self.tell(Tell::ConsumerRecords((&own).into())).await?;
            }
        }
    }

    /// Answers a ping with the place that the reader may go on from, unless this process may have lost its epoch.
    async fn reached(&self, ping: &pb::Ping, place: &mut Place) -> Result<(), Status> {
        let revocation = &self.service.revocation;
        if !revocation.is_fresh() {
            return Ok(());
        }
        let reached = place.reached();
        place.known = reached.seq;
        self.tell(Tell::Pong(pb::Pong {
            nonce: ping.nonce,
            head: Some(pb::Position {
                epoch: reached.epoch,
                seq: reached.seq,
                chain: Vec::new(),
            }),
            server_time_us: revocation.clock.now().get(),
            // A reader without a log holds no lease.
            lease_ms: 0,
        }))
        .await
    }
}

/// Whether a record is the reader's business.
enum Concern {
    /// It is, and is told so.
    Own(OwnRecord),
    /// It will be once a body names the reader as its publisher again.
    Untold(Untold),
    /// It is another's.
    Another,
}

/// A withdrawal that a publisher may not be told of at present.
struct Untold {
    /// Whose grant it was.
    client: ParticipantId,
    /// When that would have ended by itself, and the withdrawal mattered no more.
    ends_at: Micros,
}

/// What a record is to `reader`, by this directory.
fn own(directory: &Directory, reader: &ParticipantId, attributed: Attributed) -> Concern {
    let Attributed { record, holder } = attributed;
    let acts = |client: &ParticipantId| directory.acts_for(reader, client);
    let by = match &record.withdrawal {
        Withdrawal::Grant(_) => {
            let Some(holder) = holder else {
                return Concern::Another;
            };
            // A tenant's grant is its publisher's to know of only where that publisher obtained it, and then its alone.
            let through = (holder.client != *reader).then_some(*reader);
            if holder.publisher != through {
                return Concern::Another;
            }
            if !acts(&holder.client) {
                return Concern::Untold(Untold {
                    client: holder.client,
                    ends_at: holder.ends_at,
                });
            }
            Some(holder.by.unwrap_or(WithdrawnBy::Person))
        }
        Withdrawal::Client(client) if acts(client) => None,
        Withdrawal::Client(_) => return Concern::Another,
        Withdrawal::ClientCert(_) | Withdrawal::SigningKey(_) | Withdrawal::AllBefore => None,
    };
    Concern::Own(OwnRecord { record, by })
}

#[cfg(test)]
mod tests {
    use unefois_core::{Acr, Capacity, Handle, Micros, RevocationView, Sha256};
    use unefois_store::authority::grant::{Element, Grant, grant_insert};
    use unefois_store::authority::{GrantId, PersonUid};

    use super::super::Revocation;
    use super::super::tests::open;
    use super::*;
    use crate::both_databases;
    use crate::database::TestDatabase;

    both_databases![what_is_new_is_read_once_and_what_is_old_page_by_page];

    fn handle(n: u16) -> Handle {
        let mut bytes = [0xee; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        Handle::from_bytes(bytes)
    }

    #[test]
    fn a_place_is_kept_back_by_what_still_matters_for_whoever_takes_records_ahead() {
        let now = Micros::new(10);
        let told = RevocationView { epoch: 2, seq: 9 };
        let untold = |client: &str, ends_at| Untold {
            client: client.parse().unwrap(),
            ends_at: Micros::new(ends_at),
        };
        let [one, two] = [
            "urn:unefois:participant:13000495500014",
            "urn:unefois:participant:18003506500010",
        ];
        let place = |takes_ahead| Place {
            told,
            known: 0,
            held: None,
            takes_ahead,
        };
        let mut older = place(false);
        older.hold((2, 5), &untold(one, 11), now);
        assert_eq!(older.reached(), told);
        let mut newer = place(true);
        newer.hold((2, 4), &untold(one, 10), now);
        assert_eq!(newer.reached(), told, "it has ended");
        newer.hold((2, 5), &untold(one, 11), now);
        newer.hold((2, 7), &untold(two, 11), now);
        assert_eq!(newer.reached(), RevocationView { epoch: 2, seq: 4 });
        assert!(!newer.taken_back(|_| false));
        assert!(newer.taken_back(|client| client.to_string() == two));
        assert_eq!(
            newer.told,
            RevocationView { epoch: 2, seq: 4 },
            "from there it is told again"
        );
        assert!(!newer.taken_back(|_| true), "once");
    }

    /// Withdraws `count` handles of another client.
    async fn withdraw(revocation: &std::sync::Arc<Revocation>, first: u16, count: u16) {
        let handles: Vec<Handle> = (first..first + count).map(handle).collect();
        let elements: Vec<Element> = handles
            .iter()
            .map(|handle| Element {
                handle: *handle,
                details: "{}".to_owned(),
                left_out: Vec::new(),
                withdrawn: None,
                followed_by: None,
            })
            .collect();
        let grant = Grant {
            id: GrantId::from_bytes(*Sha256::of(&first.to_be_bytes()).as_bytes().first_chunk().unwrap()),
            person: PersonUid::from_bytes([1; 16]),
            client: "urn:unefois:participant:13000495500014".parse().unwrap(),
            act_client: None,
            capacity: Capacity::SelfPerson,
            acr: Acr::Eidas1,
            auth_time: 1,
            idp_iss: "https://fc.example".to_owned(),
            pivot_digest: Sha256::of(b"pivot"),
            subject_unbound: None,
            demarche: None,
            proactive: false,
            by: None,
            granted_at: Micros::new(0),
            ends_at: Micros::new(1),
        };
        let mut tx = revocation.db.begin().await.unwrap();
        grant_insert(&mut tx, &grant, &elements).await.unwrap();
        tx.commit().await.unwrap();
        let done = revocation
            .withdraw(grant.id, WithdrawnBy::Person, Micros::new(2))
            .await
            .unwrap();
        assert_eq!(done.len(), usize::from(count));
    }

    /// Every record from number `after` on, a page at a time.
    async fn all(feed: &Feed, db: &Db, after: u64, head: RevocationView) -> Vec<Attributed> {
        let (mut reached, mut records) = (after, Vec::new());
        while reached < head.seq {
            let (page, to) = feed.next(db, reached, head).await.unwrap();
            assert!(to > reached && page.len() <= usize::from(PAGE));
            assert!(
                page.iter()
                    .all(|a| (reached + 1..=to).contains(&a.record.place.seq))
            );
            records.extend(page);
            reached = to;
        }
        records
    }

    async fn what_is_new_is_read_once_and_what_is_old_page_by_page(database: TestDatabase) {
        let revocation = open(database.url()).await;
        let db = &revocation.db;
        withdraw(&revocation, 0, 2_500).await;
        let live = Feed::default();
        let head = revocation.view();
        let first = all(&live, db, 0, head).await;
        assert_eq!(first.len(), 2_500);
        assert!(
            first
                .iter()
                .all(|a| a.holder.is_some_and(|h| h.by == Some(WithdrawnBy::Person)))
        );
        let seqs: Vec<u64> = first.iter().map(|a| a.record.place.seq).collect();
        assert_eq!(seqs, (1..=2_500).collect::<Vec<_>>());
        assert!(all(&live, db, head.seq, head).await.is_empty());

        // One that begins behind a long log keeps the newest alone, and reads the rest when it is asked for.
        withdraw(&revocation, 2_500, 2_500).await;
        let (late, head) = (Feed::default(), revocation.view());
        let whole = all(&late, db, 0, head).await;
        assert_eq!(whole.len(), 5_000);
        assert_eq!(late.recent.lock().await.from, 5_000);
        assert_eq!(all(&live, db, 2_500, head).await, whole[2_500..]);

        // What was read for one is there for all: nobody asks the database any more.
        db.close().await;
        assert_eq!(all(&live, db, 2_500, head).await, whole[2_500..]);
        assert!(
            live.next(db, 0, head).await.is_err(),
            "what is not kept is not invented"
        );
    }
}
