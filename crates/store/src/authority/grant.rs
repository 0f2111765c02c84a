//! Grants, their elements (a handle each), the codes and refresh tokens that lead to them.

use unefois_core::{
    Acr, Capacity, DemarcheId, Handle, Micros, OfficerAssurance, ParticipantId, RevocationView, Sha256,
    UnitName, WithdrawnBy,
};

use super::officer::uid_of as officer_of;
use super::opposition::opposed;
use super::person::uid_of;
use super::{GrantId, OfficerUid, PersonUid, word};
use crate::{Db, Error, Tx, on, read, to_array, to_i64, to_u64};

/// What a person gave, save its elements.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its name.
    pub id: GrantId,
    /// Who gave it.
    pub person: PersonUid,
    /// To whom.
    pub client: ParticipantId,
    /// The publisher that hosts the client.
    pub act_client: Option<ParticipantId>,
    /// In what capacity.
    pub capacity: Capacity,
    /// How sure the identity was.
    pub acr: Acr,
    /// When the person had logged in, seconds.
    pub auth_time: i64,
    /// Which identity provider had said so.
    pub idp_iss: String,
    /// Which of the person's identities it is about.
    pub pivot_digest: Sha256,
    /// Why the identity was not checked against the dossier.
    pub subject_unbound: Option<String>,
    /// For which démarche; `None` for grants from before that was kept.
    pub demarche: Option<DemarcheId>,
    /// Whether it rests on proactive information, to which a person may object.
    pub proactive: bool,
    /// The officer who asked in the person's place.
    pub by: Option<ByOfficer>,
    /// When it was given.
    pub granted_at: Micros,
    /// When it ends by itself.
    pub ends_at: Micros,
}

/// An officer's part in a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByOfficer {
    /// Why the officer asked.
    pub motive: String,
    /// The officer.
    pub officer: OfficerUid,
    /// Which identity provider had named them.
    pub idp_iss: String,
    /// How well it knew them.
    pub assurance: OfficerAssurance,
}

/// One element of a grant.
#[derive(Clone, Debug)]
pub struct Element {
    /// Its handle.
    pub handle: Handle,
    /// What was granted, as JSON.
    pub details: String,
    /// The units asked for that the person left out.
    pub left_out: Vec<UnitName>,
    /// Its withdrawal, if it was withdrawn.
    pub withdrawn: Option<Withdrawn>,
    /// The handle that stands in its place, if the person narrowed it.
    pub followed_by: Option<Handle>,
}

/// How an element was withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// When.
    pub at: Micros,
    /// By whom.
    pub by: WithdrawnBy,
    /// By which record of the withdrawal log.
    pub place: RevocationView,
    /// Since when that is proved to hold everywhere; `None` while it is under way.
    pub effective_at: Option<Micros>,
    /// Whether the ledger holds the entry of that proof.
    pub is_proof_logged: bool,
}

/// A grant with its elements, in order.
#[derive(Clone, Debug)]
pub struct GrantRow {
    /// The grant.
    pub grant: Grant,
    /// Its elements.
    pub elements: Vec<Element>,
    /// The mandate that it rests on.
    pub mandate: Option<[u8; 16]>,
}

impl GrantRow {
    /// The elements that no narrower one has followed, in order.
    pub fn last(&self) -> impl Iterator<Item = &Element> {
        self.elements
            .iter()
            .filter(|element| element.followed_by.is_none())
    }

    /// The element that the person granted and that this one followed, itself unless another was narrowed.
    pub fn granted<'a>(&'a self, element: &'a Element) -> &'a Element {
        // An element follows those before it.
        (self.elements.iter().rev()).fold(element, |element, before| {
            match before.followed_by == Some(element.handle) {
                true => before,
                false => element,
            }
        })
    }

    /// The handle that stands where this one stood, itself unless it was narrowed.
    pub fn standing_for(&self, handle: Handle) -> Handle {
        let follower = |handle| self.elements.iter().find(|e| e.handle == handle)?.followed_by;
        // Each step leads to a later element.
        (self.elements.iter()).fold(handle, |handle, _| follower(handle).unwrap_or(handle))
    }
}

/// Writes a grant and its elements.
pub async fn grant_insert(tx: &mut Tx, grant: &Grant, elements: &[Element]) -> Result<(), Error> {
    const GRANT: &str = "INSERT INTO person_grant \
         (id, person_uid, client, act_client, capacity, acr, auth_time, idp_iss, pivot_digest, subject_unbound, \
         granted_at, ends_at, demarche, proactive, motive, officer_uid, officer_iss, officer_assurance) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";
    const ELEMENT: &str = "INSERT INTO grant_element (handle, grant_id, position, details, left_out) VALUES ($1, $2, $3, $4, $5)";
    let (id, person) = (&grant.id.as_bytes()[..], &grant.person.as_bytes()[..]);
    let (client, act_client) = (grant.client.to_string(), grant.act_client.map(|c| c.to_string()));
    let pivot = &grant.pivot_digest.as_bytes()[..];
    on!(tx, c => sqlx::query(GRANT)
        .bind(id)
        .bind(person)
        .bind(&client)
        .bind(&act_client)
        .bind(grant.capacity.as_str())
        .bind(grant.acr.as_str())
        .bind(grant.auth_time)
        .bind(&grant.idp_iss)
        .bind(pivot)
        .bind(&grant.subject_unbound)
        .bind(grant.granted_at.get())
        .bind(grant.ends_at.get())
        .bind(grant.demarche.as_ref().map(DemarcheId::as_str))
        .bind(grant.proactive)
        .bind(grant.by.as_ref().map(|by| by.motive.as_str()))
        .bind(grant.by.as_ref().map(|by| &by.officer.as_bytes()[..]))
        .bind(grant.by.as_ref().map(|by| by.idp_iss.as_str()))
        .bind(grant.by.as_ref().map(|by| by.assurance.as_str()))
        .execute(c)
        .await?
        .rows_affected());
    for (position, element) in (0_i64..).zip(elements) {
        let handle = &element.handle.as_bytes()[..];
        let left_out = left_out(element);
        on!(tx, c => sqlx::query(ELEMENT)
            .bind(handle)
            .bind(id)
            .bind(position)
            .bind(&element.details)
            .bind(&left_out)
            .execute(c)
            .await?
            .rows_affected());
    }
    Ok(())
}

/// What was left out of an element, as it is stored: a unit's name holds no space.
pub(super) fn left_out(element: &Element) -> String {
    let names: Vec<&str> = element.left_out.iter().map(UnitName::as_str).collect();
    names.join(" ")
}

/// Keeps an authorization code.
pub async fn code_insert(
    tx: &mut Tx,
    code_hash: &Sha256,
    grant: &GrantId,
    client: &ParticipantId,
    code: &Code,
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO authorization_code \
         (code_hash, grant_id, client, redirect_uri, challenge, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
    let (hash, id, client) = (
        &code_hash.as_bytes()[..],
        &grant.as_bytes()[..],
        client.to_string(),
    );
    on!(tx, c => sqlx::query(SQL)
        .bind(hash)
        .bind(id)
        .bind(&client)
        .bind(&code.redirect_uri)
        .bind(&code.challenge.as_bytes()[..])
        .bind(code.expires_at.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// What a code was issued under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Where it was sent.
    pub redirect_uri: String,
    /// The PKCE challenge (S256).
    pub challenge: Sha256,
    /// When it expires.
    pub expires_at: Micros,
}

/// What became of a code that was presented.
#[derive(Clone, Debug)]
pub enum CodeUse {
    /// The first time, by its client: it is used from now on.
    First(GrantId, Code),
    /// Its client comes a second time, or anybody once it was used: the grant behind it is to be withdrawn.
    Again(GrantId),
    /// There is no such code, or it is another's who has not come yet: nobody else can use it up.
    Unknown,
}

/// Who may use what leads to a grant: the client that it was given to, over the connection of whoever asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Bearer<'a> {
    /// The client.
    pub client: &'a ParticipantId,
    /// The publisher that holds the connection, where it is not the client itself.
    pub publisher: Option<&'a ParticipantId>,
}

impl Bearer<'_> {
    fn columns(&self) -> (String, Option<String>) {
        (self.client.to_string(), self.publisher.map(|id| id.to_string()))
    }
}

/// Uses a code. Whether it was the first time is decided by one write, so that two requests at once cannot both win.
pub async fn code_use(tx: &mut Tx, code_hash: &Sha256, by: Bearer<'_>, at: Micros) -> Result<CodeUse, Error> {
    const USE: &str = "UPDATE authorization_code SET used_at = $4 \
         WHERE code_hash = $1 AND client = $2 AND used_at IS NULL AND EXISTS (SELECT 1 FROM person_grant g \
         WHERE g.id = authorization_code.grant_id AND g.act_client IS NOT DISTINCT FROM $3) \
         RETURNING grant_id, redirect_uri, challenge, expires_at";
    const USED: &str = "SELECT c.grant_id FROM authorization_code c JOIN person_grant g ON g.id = c.grant_id \
         WHERE c.code_hash = $1 AND (c.used_at IS NOT NULL \
         OR (c.client = $2 AND g.act_client IS NOT DISTINCT FROM $3))";
    type Row = (Vec<u8>, String, Vec<u8>, i64);
    let (hash, (client, publisher)) = (&code_hash.as_bytes()[..], by.columns());
    let row = on!(tx, c => sqlx::query_as::<_, Row>(USE)
        .bind(hash)
        .bind(&client)
        .bind(&publisher)
        .bind(at.get())
        .fetch_optional(c)
        .await?);
    if let Some((grant, redirect_uri, challenge, expires_at)) = row {
        let code = Code {
            redirect_uri,
            challenge: Sha256::from_bytes(to_array(challenge, "authorization_code.challenge")?),
            expires_at: Micros::new(expires_at),
        };
        return Ok(CodeUse::First(grant_id(grant)?, code));
    }
    let used = on!(tx, c => {
        sqlx::query_scalar::<_, Vec<u8>>(USED).bind(hash).bind(&client).bind(&publisher).fetch_optional(c).await?
    });
    match used {
        Some(grant) => Ok(CodeUse::Again(grant_id(grant)?)),
        None => Ok(CodeUse::Unknown),
    }
}

/// Takes a use back that brought its asker nothing: the code may come again.
pub async fn code_restore(tx: &mut Tx, code_hash: &Sha256) -> Result<(), Error> {
    const SQL: &str = "UPDATE authorization_code SET used_at = NULL WHERE code_hash = $1";
    let hash = &code_hash.as_bytes()[..];
    on!(tx, c => sqlx::query(SQL).bind(hash).execute(c).await?.rows_affected());
    Ok(())
}

/// Keeps a refresh token.
pub async fn refresh_insert(
    tx: &mut Tx,
    token_hash: &Sha256,
    grant: &GrantId,
    client: &ParticipantId,
    expires_at: Micros,
) -> Result<(), Error> {
    const SQL: &str =
        "INSERT INTO refresh_token (token_hash, grant_id, client, expires_at) VALUES ($1, $2, $3, $4)";
    let (hash, id, client) = (
        &token_hash.as_bytes()[..],
        &grant.as_bytes()[..],
        client.to_string(),
    );
    on!(tx, c => {
        sqlx::query(SQL).bind(hash).bind(id).bind(&client).bind(expires_at.get()).execute(c).await?.rows_affected()
    });
    Ok(())
}

/// The grant behind a refresh token of the bearer's that has not expired.
pub async fn refresh_find(
    db: &Db,
    token_hash: &Sha256,
    by: Bearer<'_>,
    now: Micros,
) -> Result<Option<GrantId>, Error> {
    const SQL: &str = "SELECT t.grant_id FROM refresh_token t JOIN person_grant g ON g.id = t.grant_id \
         WHERE t.token_hash = $1 AND t.client = $2 AND g.act_client IS NOT DISTINCT FROM $3 AND t.expires_at > $4";
    let (hash, (client, publisher)) = (&token_hash.as_bytes()[..], by.columns());
    let grant = read!(db, pool => sqlx::query_scalar::<_, Vec<u8>>(SQL)
        .bind(hash)
        .bind(&client)
        .bind(&publisher)
        .bind(now.get())
        .fetch_optional(pool)
        .await?);
    grant.map(grant_id).transpose()
}

/// Deletes codes and refresh tokens that expired before `before`. A used code is kept until then, so that its reuse is
/// seen.
pub async fn token_sweep(tx: &mut Tx, before: Micros) -> Result<u64, Error> {
    const CODES: &str = "DELETE FROM authorization_code WHERE expires_at < $1";
    const TOKENS: &str = "DELETE FROM refresh_token WHERE expires_at < $1";
    let codes = on!(tx, c => sqlx::query(CODES).bind(before.get()).execute(c).await?.rows_affected());
    let tokens = on!(tx, c => sqlx::query(TOKENS).bind(before.get()).execute(c).await?.rows_affected());
    Ok(codes + tokens)
}

macro_rules! select {
    ($more:literal, $rest:literal) => {
        select!(($more), $rest)
    };
    (($($more:expr),+), $rest:literal) => {
        concat!(
            "SELECT g.id, g.person_uid, g.client, g.act_client, g.capacity, g.acr, g.auth_time, g.idp_iss, ",
            "g.pivot_digest, g.subject_unbound, g.granted_at, g.ends_at, g.demarche, g.proactive, ",
            "g.motive, g.officer_uid, g.officer_iss, g.officer_assurance, ",
            "e.handle, e.details, e.left_out, e.withdrawn_at, e.withdrawn_by, e.withdrawn_epoch, e.withdrawn_seq, ",
            "e.followed_by, f.effective_at, f.logged_at, s.mandate",
            $($more,)+
            " FROM person_grant g JOIN grant_element e ON e.grant_id = g.id ",
            "LEFT JOIN revocation_effect f ON f.seq = e.withdrawn_seq ",
            "LEFT JOIN grant_subject s ON s.grant_id = g.id ",
            $rest
        )
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Vec<u8>,
    person_uid: Vec<u8>,
    client: String,
    act_client: Option<String>,
    capacity: String,
    acr: String,
    auth_time: i64,
    idp_iss: String,
    pivot_digest: Vec<u8>,
    subject_unbound: Option<String>,
    granted_at: i64,
    ends_at: i64,
    demarche: Option<String>,
    proactive: bool,
    motive: Option<String>,
    officer_uid: Option<Vec<u8>>,
    officer_iss: Option<String>,
    officer_assurance: Option<String>,
    handle: Vec<u8>,
    details: String,
    left_out: String,
    withdrawn_at: Option<i64>,
    withdrawn_by: Option<String>,
    withdrawn_epoch: Option<i64>,
    withdrawn_seq: Option<i64>,
    followed_by: Option<Vec<u8>>,
    effective_at: Option<i64>,
    logged_at: Option<i64>,
    mandate: Option<Vec<u8>>,
}

impl Row {
    fn split(self) -> Result<(Grant, Element), Error> {
        let withdrawn = match (
            self.withdrawn_at,
            self.withdrawn_by,
            self.withdrawn_epoch,
            self.withdrawn_seq,
        ) {
            (Some(at), Some(by), Some(epoch), Some(seq)) => Some(Withdrawn {
                at: Micros::new(at),
                by: word(&by, "grant_element.withdrawn_by")?,
                place: RevocationView {
                    epoch: to_u64(epoch, "grant_element.withdrawn_epoch")?,
                    seq: to_u64(seq, "grant_element.withdrawn_seq")?,
                },
                effective_at: self.effective_at.map(Micros::new),
                is_proof_logged: self.logged_at.is_some(),
            }),
            (None, None, None, None) => None,
            _ => return Err(Error::Corrupt("grant_element.withdrawn")),
        };
        let by = match (
            self.motive,
            self.officer_uid,
            self.officer_iss,
            self.officer_assurance,
        ) {
            (Some(motive), Some(officer), Some(idp_iss), Some(assurance)) => Some(ByOfficer {
                motive,
                officer: officer_of(officer)?,
                idp_iss,
                assurance: word(&assurance, "person_grant.officer_assurance")?,
            }),
            (None, None, None, None) => None,
            _ => return Err(Error::Corrupt("person_grant.officer_uid")),
        };
        let act_client = self.act_client.map(|c| word(&c, "person_grant.act_client"));
        let grant = Grant {
            id: grant_id(self.id)?,
            person: uid_of(self.person_uid)?,
            client: word(&self.client, "person_grant.client")?,
            act_client: act_client.transpose()?,
            capacity: word(&self.capacity, "person_grant.capacity")?,
            acr: word(&self.acr, "person_grant.acr")?,
            auth_time: self.auth_time,
            idp_iss: self.idp_iss,
            pivot_digest: Sha256::from_bytes(to_array(self.pivot_digest, "person_grant.pivot_digest")?),
            subject_unbound: self.subject_unbound,
            demarche: (self.demarche)
                .map(|id| word(&id, "person_grant.demarche"))
                .transpose()?,
            proactive: self.proactive,
            by,
            granted_at: Micros::new(self.granted_at),
            ends_at: Micros::new(self.ends_at),
        };
        let element = Element {
            handle: Handle::from_bytes(to_array(self.handle, "grant_element.handle")?),
            details: self.details,
            left_out: self
                .left_out
                .split_ascii_whitespace()
                .map(|name| word(name, "grant_element.left_out"))
                .collect::<Result<_, _>>()?,
            withdrawn,
            followed_by: (self.followed_by)
                .map(|handle| to_array(handle, "grant_element.followed_by").map(Handle::from_bytes))
                .transpose()?,
        };
        Ok((grant, element))
    }
}

fn group(rows: Vec<Row>) -> Result<Vec<GrantRow>, Error> {
    let mut grants: Vec<GrantRow> = Vec::new();
    for mut row in rows {
        let mandate = row.mandate.take();
        let (grant, element) = row.split()?;
        match grants.last_mut().filter(|last| last.grant.id == grant.id) {
            Some(last) => last.elements.push(element),
            None => grants.push(GrantRow {
                grant,
                elements: vec![element],
                mandate: mandate
                    .map(|id| to_array(id, "grant_subject.mandate"))
                    .transpose()?,
            }),
        }
    }
    Ok(grants)
}

#[derive(sqlx::FromRow)]
struct RowAtHead {
    head_epoch: i64,
    head_seq: i64,
    #[sqlx(flatten)]
    row: Row,
}

/// A grant, and the head of the withdrawal log at the same moment: one statement reads both, so that a withdrawal
/// either shows in the grant or lies after the head.
pub async fn grant_at_head(db: &Db, id: &GrantId) -> Result<Option<(GrantRow, RevocationView)>, Error> {
    const SQL: &str = select!(
        ", h.epoch AS head_epoch, h.seq AS head_seq",
        "CROSS JOIN revocation_head h WHERE g.id = $1 ORDER BY e.position"
    );
    let id = &id.as_bytes()[..];
    at_head(read!(db, pool => sqlx::query_as::<_, RowAtHead>(SQL).bind(id).fetch_all(pool).await?))
}

fn at_head(rows: Vec<RowAtHead>) -> Result<Option<(GrantRow, RevocationView)>, Error> {
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let head = RevocationView {
        epoch: to_u64(first.head_epoch, "revocation_head.epoch")?,
        seq: to_u64(first.head_seq, "revocation_head.seq")?,
    };
    let grant = group(rows.into_iter().map(|r| r.row).collect())?.pop();
    Ok(grant.map(|grant| (grant, head)))
}

#[derive(sqlx::FromRow)]
struct RowToMint {
    opposed: bool,
    #[sqlx(flatten)]
    at_head: RowAtHead,
}

/// As [`grant_at_head`], for a token to be minted at `at`: and whether the person objects to the grant, or somebody who may
/// be the same person, otherwise written, read in the same statement, so that an opposition either shows or comes with a record after the head.
pub async fn grant_to_mint(
    db: &Db,
    id: &GrantId,
    at: Micros,
) -> Result<Option<(GrantRow, RevocationView, bool)>, Error> {
    const SQL: &str = select!(
        (
            ", h.epoch AS head_epoch, h.seq AS head_seq, (g.proactive AND ",
            opposed!("g.person_uid", "g.client", "g.demarche", "$2"),
            ") AS opposed"
        ),
        "CROSS JOIN revocation_head h WHERE g.id = $1 ORDER BY e.position"
    );
    let key = &id.as_bytes()[..];
    let rows = read!(db, pool => {
        sqlx::query_as::<_, RowToMint>(SQL).bind(key).bind(at.get()).fetch_all(pool).await?
    });
    let opposed = rows.iter().any(|row| row.opposed);
    let read = at_head(rows.into_iter().map(|row| row.at_head).collect())?;
    Ok(read.map(|(row, head)| (row, head, opposed)))
}

/// The element of a handle, with its grant; `None` for a handle that this database does not know.
pub async fn grant_of_handle(db: &Db, handle: &Handle) -> Result<Option<GrantRow>, Error> {
    const SQL: &str = select!("", "WHERE e.handle = $1");
    let handle = &handle.as_bytes()[..];
    let rows = read!(db, pool => sqlx::query_as::<_, Row>(SQL).bind(handle).fetch_all(pool).await?);
    Ok(group(rows)?.pop())
}

/// Whether any grant is or was this participant's, or one that it hosts.
pub async fn grant_names(db: &Db, client: &ParticipantId) -> Result<bool, Error> {
    const SQL: &str = "SELECT COUNT(*) FROM \
         (SELECT 1 FROM person_grant WHERE client = $1 OR act_client = $1 LIMIT 1) AS named";
    let client = client.to_string();
    let named: i64 = read!(db, pool => sqlx::query_scalar(SQL).bind(client).fetch_one(pool).await?);
    Ok(named > 0)
}

/// The grants of an account given since `since`, its own and those that rest on a mandate given for it, newest first, 1,000
/// elements at most.
pub async fn grant_list(db: &Db, person: &PersonUid, since: Micros) -> Result<Vec<GrantRow>, Error> {
    const SQL: &str = select!(
        "",
        "WHERE g.id IN (SELECT id FROM person_grant WHERE person_uid = $1 \
         UNION SELECT t.grant_id FROM mandate m JOIN grant_subject t ON t.mandate = m.id WHERE m.principal = $1) \
         AND g.granted_at >= $2 ORDER BY g.granted_at DESC, g.id, e.position LIMIT 1000"
    );
    let person = &person.as_bytes()[..];
    let rows = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL).bind(person).bind(since.get()).fetch_all(pool).await?
    });
    group(rows)
}

/// Notes that the ledger holds the entry of an element's withdrawal.
pub async fn withdrawal_logged(tx: &mut Tx, handle: &Handle, at: Micros) -> Result<(), Error> {
    const SQL: &str = "UPDATE grant_element SET withdrawn_logged_at = $2 \
         WHERE handle = $1 AND withdrawn_logged_at IS NULL";
    let handle = &handle.as_bytes()[..];
    on!(tx, c => sqlx::query(SQL).bind(handle).bind(at.get()).execute(c).await?.rows_affected());
    Ok(())
}

/// The elements withdrawn before `before` whose entry the ledger does not hold yet, each with its grant, by their records'
/// numbers, which are after `after`, 100 at most. One that does not read is [`Error::Corrupt`] in its place.
pub async fn withdrawal_unlogged(
    db: &Db,
    before: Micros,
    after: u64,
) -> Result<Vec<(u64, Result<(Grant, Element), Error>)>, Error> {
    const SQL: &str = select!(
        "",
        "WHERE e.withdrawn_at < $1 AND e.withdrawn_logged_at IS NULL AND e.withdrawn_seq > $2 \
         ORDER BY e.withdrawn_seq LIMIT 100"
    );
    let (before, after) = (before.get(), to_i64(after)?);
    let rows = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL).bind(before).bind(after).fetch_all(pool).await?
    });
    rows.into_iter()
        .map(|row| {
            let seq = row
                .withdrawn_seq
                .ok_or(Error::Corrupt("grant_element.withdrawn"))?;
            Ok((to_u64(seq, "grant_element.withdrawn_seq")?, row.split()))
        })
        .collect()
}

fn grant_id(bytes: Vec<u8>) -> Result<GrantId, Error> {
    to_array(bytes, "grant_id").map(GrantId::from_bytes)
}
