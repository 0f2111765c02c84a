//! What concerns a person under anybody's grant: asked of every producer, by the identity sealed to it (I12).

use std::collections::BTreeMap;

use unefois_core::{Micros, ParticipantId, Pivot, SealedSubject, SubjectForm, SubjectKind};
use unefois_proto::pb::ledger::v1 as pb;
use unefois_store::authority::PersonUid;

use super::{Answer, FoundBy, Judged, NoAnswer, PAGES, Share, answered, prove, size};
use crate::Error;
use crate::oauth::{needed, seal_subject};
use crate::published::Edition;
use crate::service::Authority;

/// The most identities of one person that are asked about.
const IDENTITIES: u32 = 32;
/// Sealed identities in one question.
const SEALED: usize = 16;

impl Authority {
    /// Every identity that the person has or had, sealed to each producer that answers about people: in each form in which
    /// it may have got it, with no more than its datatypes need.
    pub(super) async fn sealed_identities(
        &self,
        edition: &Edition,
        person: &PersonUid,
    ) -> Result<Identities, Error> {
        let (identities, unread) = self.identities(person, IDENTITIES).await?;
        let mut forms: BTreeMap<ParticipantId, Vec<Pivot>> = BTreeMap::new();
        for datatype in edition.catalogue.datatypes() {
            let sheet = datatype.sheet();
            let operator = edition.directory.participant(datatype.operator());
            let answers = operator.is_some_and(|row| !row.pivot_keys.is_empty());
            if !answers || sheet.subjects.iter().all(|rule| rule.kind == SubjectKind::Entity) {
                continue;
            }
            let known = forms.entry(*datatype.operator()).or_default();
            for identity in &identities {
                let form = Pivot {
                    preferred_username: None,
                    ..needed(sheet, identity.clone())
                };
                if !known.contains(&form) {
                    known.push(form);
                }
            }
        }
        let mut sealed = BTreeMap::new();
        for (producer, forms) in forms {
            let forms = forms.into_iter().map(SealedSubject::Person);
            let seal = |form| seal_subject(edition, &producer, &form, &self.rng);
            sealed.insert(producer, forms.map(seal).collect::<Result<_, _>>()?);
        }
        let shared = |identity: &Pivot| matches!(identity.subject_form(), SubjectForm::Shared(_));
        Ok(Identities {
            shared: identities.iter().any(shared),
            sealed,
            unread,
        })
    }

    /// Asks one producer for a part of what it holds about the person of these sealed identities.
    pub(super) async fn ask_about(
        &self,
        edition: &Edition,
        producer: ParticipantId,
        (sealed, part): (&[String], pb::PersonHistoryPart),
        since: Micros,
        share: &Share,
    ) -> Result<Answer, NoAnswer> {
        let mut answer = Answer::default();
        if sealed.is_empty() {
            return Ok(answer);
        }
        let mut client = self.ledger_of(edition, &producer)?;
        for some in sealed.chunks(SEALED) {
            let mut next = Some(since);
            for _ in 0..PAGES {
                let Some(from) = next else { break };
                let question = pb::PersonHistoryRequest {
                    identities: some.to_vec(),
                    since_us: from.get(),
                    part: part.into(),
                };
                let Some(within) = share.left(self.clock.boottime()) else {
                    break;
                };
                let page = match answered(within, client.person_history(question)).await {
                    Err(NoAnswer::Late) if answer.began => break,
                    page => page?,
                };
                let entries = page.entries.iter().filter_map(|entry| entry.proved.as_ref());
                share.spend(entries.map(size).sum());
                let judge = |entry| verify(edition, producer, entry);
                next = answer.take(from, page.truncated, page.entries.into_iter().map(judge))?;
            }
            answer.complete &= next.is_none();
        }
        Ok(answer)
    }
}

/// A person's identities, as producers are asked about them.
#[derive(Default)]
pub(super) struct Identities {
    /// Sealed, by producer.
    pub(super) sealed: BTreeMap<ParticipantId, Vec<String>>,
    /// How many do not open.
    pub(super) unread: usize,
    /// Whether namesakes may share one of them.
    pub(super) shared: bool,
}

/// Judges one entry found by an identity: an exchange that this producer answered, proved in a log of its own. That it is
/// about the person is the producer's word: its index alone tells, and no entry names anybody.
fn verify(edition: &Edition, producer: ParticipantId, sent: pb::PersonEntry) -> Result<Judged, NoAnswer> {
    let found = match (sent.near, sent.beside) {
        (true, _) => FoundBy::Near,
        (false, true) => FoundBy::Beside,
        (false, false) => FoundBy::Subject,
    };
    let entry = sent.proved.ok_or(NoAnswer::Unproved("no entry"))?;
    let proved = prove(edition, producer, entry, found)?;
    if proved.entry.exchange_id.is_none() || proved.entry.provider != Some(proved.keeper) {
        return Err(NoAnswer::Unproved("no exchange of its own"));
    }
    Ok(Judged::Proved(Box::new(proved)))
}
