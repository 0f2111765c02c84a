//! What becomes of the grants held, and that the back-office is told of it: each change once, none lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::MissedTickBehavior;
use unefois_core::{AuthorizationDetails, DossierRef, Handle, Micros, ParticipantId, RevocationView};
use unefois_mesh::status;
use unefois_store::Tx;
use unefois_store::node::Mac;
use unefois_store::node::feed::feed_advance;
use unefois_store::node::grant::{
    ElementRow, ElementState, GrantRow, element_end, element_find, element_follow, elements_active,
    grant_find, grant_lock, grant_seal, grant_serves,
};
use unefois_store::node::notice::{
    Given, Notice, NoticeKind, grants_ending, notice_head, notices, notices_insert,
};

use super::held::{Element, GrantBody, HeldElement};
use super::rest::Purpose;
use super::token::Token;
use super::{Consumer, Error, Inner};

/// How often what another replica has noted, and what falls due, is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Notices read at once.
const PAGE: u16 = 100;
/// Changes that may wait for a slow reader.
const QUEUE: usize = 16;
/// Watches that a back-office may have open at once.
pub(super) const WATCHES: usize = 64;

/// An element that ended.
pub(super) struct Ended {
    pub(super) handle: Mac,
    pub(super) state: ElementState,
    pub(super) at: Micros,
}

/// One change of one element, as a back-office is told of it.
#[derive(Clone, Debug)]
pub struct GrantChange {
    /// Where to go on from after it.
    pub cursor: String,
    /// What happened.
    pub kind: NoticeKind,
    /// When.
    pub at: Micros,
    /// The authority's name of the grant.
    pub grant_id: String,
    /// The file that the grant is for.
    pub dossier: DossierRef,
    /// When the grant ends by itself.
    pub ends_at: Micros,
    /// The element as it stands now.
    pub element: HeldElement,
}

/// The changes as they come; dropping it ends the watch.
pub type GrantChanges = mpsc::Receiver<Result<GrantChange, Error>>;

impl Consumer {
    /// The changes after `cursor`, or every one of the grants that are held.
    ///
    /// # Errors
    /// A cursor that this node did not give, or gave before its database went back; too many watches.
    pub async fn watch_grants(&self, cursor: Option<&str>) -> Result<GrantChanges, Error> {
        let inner = &self.inner;
        let place = Arc::clone(&inner.watches).try_acquire_owned();
        let place = place.map_err(|_| Error::Watches)?;
        let after = match cursor {
            Some(cursor) => inner.read_cursor(cursor).await?,
            None => 0,
        };
        let (out, changes) = mpsc::channel(QUEUE);
        let watching = Arc::clone(inner);
        inner.tasks.spawn(async move {
            if let Err(error) = watching.tell(after, &out, place).await {
                // The reader may be gone, and then nobody has to know.
                let _gone = out.send(Err(error)).await;
            }
        });
        Ok(changes)
    }
}

impl Inner {
    /// Ends elements and notes it for the back-office, with the place of the authority's log that says so: all of it or
    /// nothing. Whoever was told of one already, by whatever way, is not told again.
    pub(super) async fn end(
        &self,
        ended: Vec<Ended>,
        told: Option<(&ParticipantId, RevocationView)>,
    ) -> Result<(), Error> {
        // One order of locks for all: elements, grants, notices.
        let mut ordered: Vec<(usize, Ended)> = ended.into_iter().enumerate().collect();
        ordered.sort_by_key(|(_, one)| one.handle);
        let mut tx = self.db.begin().await?;
        let mut of_grants: BTreeMap<Mac, Vec<(usize, Ended)>> = BTreeMap::new();
        for (n, one) in ordered {
            if let Some(grant) = element_end(&mut tx, &one.handle, one.state).await? {
                of_grants.entry(grant).or_default().push((n, one));
            }
        }
        let mut given = Vec::new();
        for (grant, ended) in of_grants {
            let Some(row) = grant_lock(&mut tx, &grant).await? else {
                continue;
            };
            if !grant_serves(&mut tx, &grant).await? {
                self.forget_refresh_token(&mut tx, &row).await?;
            }
            given.extend(ended.into_iter().map(|(n, one)| {
                let notice = Notice {
                    tenant: row.tenant.clone(),
                    handle: one.handle,
                    kind: kind(one.state),
                    at: one.at,
                };
                (n, notice)
            }));
        }
        given.sort_by_key(|(n, _)| *n);
        let given: Vec<Notice> = given.into_iter().map(|(_, notice)| notice).collect();
        notices_insert(&mut tx, &given).await?;
        if let Some((authority, place)) = told {
            feed_advance(&mut tx, authority, place).await?;
        }
        tx.commit().await?;
        self.noted(given.len());
        Ok(())
    }

    /// Keeps the element that follows a narrowed one, and notes both for the back-office: all of it or nothing.
    pub(super) async fn follow_narrowed(
        &self,
        element: &Element,
        old: &Handle,
        token: &Arc<Token>,
        details: &AuthorizationDetails,
    ) -> Result<(), Error> {
        self.tokens.forget(old);
        let (now, tenant) = (self.clock.now(), element.grant.tenant.clone());
        let handle = self.rest.name(Purpose::Handle, token.claims().gh.as_bytes());
        let row = ElementRow {
            handle,
            grant: element.row.grant,
            place: 0,
            state: ElementState::Active,
            request_id: None,
            sealed: self.rest.seal(Purpose::Handle, &handle, details, &self.random),
        };
        let notice = |handle, kind| Notice {
            tenant: tenant.clone(),
            handle,
            kind,
            at: now,
        };
        let mut tx = self.db.begin().await?;
        let narrowed = element_end(&mut tx, &element.row.handle, ElementState::Narrowed).await?;
        // Whoever holds the grant's lock alone adds elements to it.
        if grant_lock(&mut tx, &element.row.grant).await?.is_none() {
            return Err(Error::Unknown { field: "handle" });
        }
        let follows = element_follow(&mut tx, &row).await?;
        let mut given = Vec::new();
        given.extend(narrowed.map(|_| notice(element.row.handle, NoticeKind::Narrowed)));
        given.extend(follows.then(|| notice(handle, NoticeKind::Follows)));
        notices_insert(&mut tx, &given).await?;
        tx.commit().await?;
        self.tokens.keep(token, now);
        self.noted(given.len());
        Ok(())
    }

    /// Seals a grant again without its refresh token: nothing more is fetched under it.
    async fn forget_refresh_token(&self, tx: &mut Tx, grant: &GrantRow) -> Result<(), Error> {
        let body = GrantBody {
            refresh_token: None,
            ..self.body(grant)?
        };
        let sealed = self.rest.seal(Purpose::Grant, &grant.mac, &body, &self.random);
        Ok(grant_seal(tx, &grant.mac, &sealed).await?)
    }

    /// Gives the notices that fall due by the clock, for ever.
    pub(super) async fn give_notices(&self) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = false;
        loop {
            look.tick().await;
            match self.give_due_notices().await {
                Ok(()) => told = false,
                Err(error) if !std::mem::replace(&mut told, true) => {
                    tracing::error!(
                        error = status::chain(&error),
                        "notices of grants that end are not given"
                    );
                }
                Err(_) => {}
            }
        }
    }

    /// Notes for the back-office which grants are about to end, and which have ended.
    pub(super) async fn give_due_notices(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let rows = grants_ending(&mut tx, now).await?;
        let mut given = Vec::new();
        for row in &rows {
            let over = row.ends_at <= now;
            if over {
                self.forget_refresh_token(&mut tx, row).await?;
            }
            for handle in elements_active(&mut tx, &row.mac).await? {
                given.push(Notice {
                    tenant: row.tenant.clone(),
                    handle,
                    kind: if over {
                        NoticeKind::Expired
                    } else {
                        NoticeKind::Expiring
                    },
                    at: now,
                });
            }
        }
        notices_insert(&mut tx, &given).await?;
        tx.commit().await?;
        self.noted(given.len());
        Ok(())
    }

    fn noted(&self, count: usize) {
        if count > 0 {
            self.noted.send_replace(());
        }
    }

    /// Tells `out` of every change after number `after`, until it is dropped or the node stops.
    async fn tell(
        &self,
        mut after: u64,
        out: &mpsc::Sender<Result<GrantChange, Error>>,
        _place: OwnedSemaphorePermit,
    ) -> Result<(), Error> {
        let mut noted = self.noted.subscribe();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.admitted()?;
            let page = notices(&self.db, &self.tenant(), after, PAGE).await?;
            for given in &page {
                after = given.seq;
                let Some(change) = self.change(given).await? else {
                    continue;
                };
                tokio::select! {
                    () = self.closing.cancelled() => return Err(Error::Stopping),
                    sent = out.send(Ok(change)) => if sent.is_err() { return Ok(()) },
                }
            }
            if page.len() == usize::from(PAGE) {
                continue;
            }
            tokio::select! {
                () = self.closing.cancelled() => return Err(Error::Stopping),
                () = out.closed() => return Ok(()),
                _ = noted.changed() => {}
                _ = look.tick() => {}
            }
        }
    }

    /// What a notice says; `None` where its grant is held no more.
    async fn change(&self, given: &Given) -> Result<Option<GrantChange>, Error> {
        let Some(row) = element_find(&self.db, &given.handle).await? else {
            return Ok(None);
        };
        let Some(grant) = grant_find(&self.db, &row.grant).await? else {
            return Ok(None);
        };
        let body: GrantBody = self.body(&grant)?;
        Ok(Some(GrantChange {
            cursor: self.cursor(given),
            kind: given.kind,
            at: given.at,
            grant_id: body.grant_id,
            dossier: body.dossier,
            ends_at: grant.ends_at,
            element: self.held_element(&row)?,
        }))
    }

    /// `<number>.<tag>`: the tag tells a notice of this database from another of the same number, which a database that
    /// went back would give.
    fn cursor(&self, given: &Given) -> String {
        let said = format!(
            "{}\n{}\n{}\n{}",
            self.tenant(),
            given.seq,
            given.kind as i16,
            given.at.get()
        );
        let name = [said.as_bytes(), &given.handle].concat();
        let [a, b, c, d, e, f, g, h, ..] = self.rest.name(Purpose::Notice, &name);
        let tag = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        format!("{}.{tag:016x}", given.seq)
    }

    /// The number that a cursor names, if this node gave it.
    async fn read_cursor(&self, cursor: &str) -> Result<u64, Error> {
        let unknown = || Error::Field {
            field: "cursor".to_owned(),
            what: "the cursor of a change that this node told; empty for every change of the grants held",
        };
        let seq = cursor.split_once('.').and_then(|(seq, _)| seq.parse().ok());
        let seq: u64 = seq.filter(|seq| *seq > 0).ok_or_else(unknown)?;
        let tenant = self.tenant();
        let found = notices(&self.db, &tenant, seq - 1, 1).await?.pop();
        match found.filter(|given| given.seq == seq) {
            Some(given) if self.cursor(&given) == cursor => Ok(seq),
            Some(_) => Err(unknown()),
            // Its grant is held no more; nothing else had that number.
            None if seq <= notice_head(&self.db, &tenant).await? => Ok(seq),
            None => Err(unknown()),
        }
    }
}

const fn kind(state: ElementState) -> NoticeKind {
    match state {
        ElementState::GivenBack => NoticeKind::GivenBack,
        ElementState::Narrowed => NoticeKind::Narrowed,
        ElementState::Active | ElementState::Used | ElementState::Withdrawn => NoticeKind::Withdrawn,
    }
}
