//! What a log gives of one exchange, or of one person, judged: each entry proved, each commitment tried.

use tonic::transport::Channel;
use unefois_core::commitment::{Field, GrantSecret, Salt};
use unefois_core::{Entry, ExchangeId, Month};
use unefois_proto::pb::ledger::v1 as pb;
use unefois_proto::pb::ledger::v1::ledger_service_client::LedgerServiceClient;
use unefois_tlog::{Hash, Receipt, VerifierKey};

use crate::Error;
use crate::withdrawals::{Disclosed, Noted, Opening};

/// Largest answer: entries with their proofs, and evidence.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The most secrets that come with the proof of a withdrawal: one for each of three months.
const MAX_SECRETS: usize = 3;

/// An entry that is proved to be in its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedEntry {
    /// The log.
    pub origin: String,
    /// Its place.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
}

/// An entry of an exchange, and what opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisclosedEntry {
    /// The entry.
    pub proved: ProvedEntry,
    /// How each commitment of the entry stands, in a fixed order.
    pub commitments: Vec<(Field, Openness)>,
    /// What is kept beside the log, if it opens its commitment.
    pub evidence: Option<Vec<u8>>,
}

/// How a commitment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Openness {
    /// The value opens it.
    Opens,
    /// The value does not open it, or nobody can have committed so.
    DoesNotOpen,
    /// Its salt is given; there is no value here to try.
    NoValue,
    /// What opened it was destroyed.
    Erased,
    /// It opens with what went with the answer, not with what the log keeps.
    Elsewhere,
}

/// What the reader knows from elsewhere, to be tried.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// The handle, 16 bytes.
    pub handle: Option<Vec<u8>>,
    /// The reference of the consumer's file.
    pub dossier: Option<Vec<u8>>,
}

/// Has `exchange` disclosed by the log that `key` signs, for `motive`, and tries what was given.
///
/// # Errors
/// [`Error::Call`]; what is not proved, or of another exchange, is [`Error::Unproved`].
pub async fn disclose(
    channel: Channel,
    key: &VerifierKey,
    exchange: &ExchangeId,
    motive: &str,
    values: &Values,
) -> Result<Vec<DisclosedEntry>, Error> {
    let mut client = LedgerServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
    let asked = pb::DiscloseRequest {
        origin: key.name().as_str().to_owned(),
        exchange_id: exchange.to_string(),
        motive: motive.to_owned(),
        index: None,
    };
    let answer = client.disclose(asked).await?.into_inner();
    let judged = answer.entries.into_iter().map(|disclosed| {
        let proved = disclosed.proved.ok_or(Error::Unproved("no entry"))?;
        let proved = prove(proved, |origin| {
            (origin == key.name().as_str()).then(|| key.clone())
        })?;
        if proved.entry.exchange_id != Some(*exchange) {
            return Err(Error::Unproved("another exchange"));
        }
        judge(proved, &disclosed.salts, disclosed.erased, values)
    });
    judged.collect()
}

/// Has the proof of effect disclosed that the entry `noted` commits to, by the log that `key` signs, for `motive`.
///
/// # Errors
/// As [`disclose`]; [`Error::Unproved`] also for another entry than `noted`, which a verified reading of the log showed.
pub async fn disclose_effect(
    channel: Channel,
    key: &VerifierKey,
    noted: &Noted,
    motive: &str,
) -> Result<Disclosed, Error> {
    let mut client = LedgerServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
    let exchange = noted.entry.exchange_id;
    let asked = pb::DiscloseRequest {
        origin: key.name().as_str().to_owned(),
        exchange_id: exchange.map(|exchange| exchange.to_string()).unwrap_or_default(),
        motive: motive.to_owned(),
        index: Some(noted.index),
    };
    let answer = client.disclose(asked).await?.into_inner();
    let [disclosed] = <[pb::DisclosedEntry; 1]>::try_from(answer.entries)
        .map_err(|_| Error::Unproved("not the one entry that was asked for"))?;
    let proved = disclosed.proved.ok_or(Error::Unproved("no entry"))?;
    let proved = prove(proved, |origin| {
        (origin == key.name().as_str()).then(|| key.clone())
    })?;
    if (proved.index, &proved.entry) != (noted.index, &noted.entry) {
        return Err(Error::Unproved("another entry"));
    }
    let secrets = disclosed.secrets.into_iter().map(|given| {
        let secret = <[u8; 32]>::try_from(given.secret).ok()?;
        Some((Month::of_ordinal(given.month)?, GrantSecret::from_bytes(secret)))
    });
    let secrets = secrets
        .collect::<Option<Vec<_>>>()
        .ok_or(Error::Unproved("a secret"))?;
    if secrets.len() > MAX_SECRETS {
        return Err(Error::Unproved("more secrets than months"));
    }
    let opened = judge(proved, &disclosed.salts, disclosed.erased, &Values::default())?;
    let stands = opened
        .commitments
        .iter()
        .find(|(field, _)| *field == Field::Evidence);
    let evidence = match (opened.evidence, stands) {
        (Some(evidence), _) => Opening::Opens(evidence),
        (None, Some((_, Openness::Erased))) => Opening::Erased,
        (None, _) => Opening::DoesNotOpen,
    };
    Ok(Disclosed { evidence, secrets })
}

/// Asks the log `origin` for the entries about a person, by a request that two auditors signed. `key_of` gives the key
/// of each log of the participant.
///
/// # Errors
/// As [`disclose`]; [`Error::Unproved`] also if more were found than sent.
pub async fn search_subject(
    channel: Channel,
    origin: &str,
    request: &str,
    key_of: impl Fn(&str) -> Option<VerifierKey>,
) -> Result<Vec<ProvedEntry>, Error> {
    let mut client = LedgerServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
    let asked = pb::SearchSubjectRequest {
        origin: origin.to_owned(),
        request: request.to_owned(),
    };
    let answer = client.search_subject(asked).await?.into_inner();
    if answer.truncated {
        return Err(Error::Unproved("more than 1,000 entries"));
    }
    answer
        .entries
        .into_iter()
        .map(|proved| prove(proved, &key_of))
        .collect()
}

fn prove(sent: pb::ProvedEntry, key_of: impl Fn(&str) -> Option<VerifierKey>) -> Result<ProvedEntry, Error> {
    let key = key_of(&sent.origin).ok_or(Error::Unproved("an unknown log"))?;
    let receipt: Receipt = sent.proof.parse().map_err(Error::Head)?;
    receipt
        .verify(&Hash::of_leaf(&sent.entry), &key)
        .map_err(Error::Head)?;
    let index = receipt.index();
    let entry = Entry::decode(&sent.entry).map_err(|source| Error::Entry { index, source })?;
    Ok(ProvedEntry {
        origin: sent.origin,
        index,
        entry,
    })
}

fn judge(
    proved: ProvedEntry,
    salts: &[pb::DisclosedSalt],
    erased: bool,
    values: &Values,
) -> Result<DisclosedEntry, Error> {
    let of = |name: pb::CommittedField| -> Result<Vec<(Salt, &[u8])>, Error> {
        let of_field = salts.iter().filter(|salt| salt.field() == name);
        let salt = |salt: &pb::DisclosedSalt| salt.salt.as_slice().try_into().map(Salt::from_bytes);
        of_field
            .map(|given| {
                Ok((
                    salt(given).map_err(|_| Error::Unproved("a salt"))?,
                    given.value.as_slice(),
                ))
            })
            .collect()
    };
    let entry = &proved.entry;
    let mut commitments = Vec::new();
    let named = [
        (
            Field::Grant,
            pb::CommittedField::Grant,
            entry.grant_commit,
            values.handle.as_deref(),
        ),
        (
            Field::Dossier,
            pb::CommittedField::Dossier,
            entry.dossier_commit,
            values.dossier.as_deref(),
        ),
        (Field::Actor, pb::CommittedField::Actor, entry.actor_commit, None),
    ];
    for (field, name, commit, value) in named {
        let Some(commit) = commit else { continue };
        let given = of(name)?;
        let opens = |value: &[u8]| given.iter().any(|(salt, _)| salt.commit(field, value) == commit);
        let stands = match (given.is_empty(), value) {
            (true, _) if erased => Openness::Erased,
            (true, _) => Openness::DoesNotOpen,
            (false, None) => Openness::NoValue,
            (false, Some(value)) if opens(value) => Openness::Opens,
            (false, Some(_)) => Openness::DoesNotOpen,
        };
        commitments.push((field, stands));
    }
    if entry.content_commit.is_some() {
        commitments.push((Field::Content, Openness::Elsewhere));
    }
    let mut evidence = None;
    if let Some(commit) = entry.evidence_commit {
        let given = of(pb::CommittedField::Evidence)?;
        let opened = given
            .iter()
            .find(|(salt, body)| salt.commit(Field::Evidence, body) == commit);
        evidence = opened.map(|(_, body)| body.to_vec());
        let stands = match (given.is_empty(), &evidence) {
            (_, Some(_)) => Openness::Opens,
            (true, None) if erased => Openness::Erased,
            (_, None) => Openness::DoesNotOpen,
        };
        commitments.push((Field::Evidence, stands));
    }
    Ok(DisclosedEntry {
        proved,
        commitments,
        evidence,
    })
}

#[cfg(test)]
mod tests {
    use unefois_core::{Event, Micros};

    use super::*;

    fn given(field: pb::CommittedField, salt: &Salt, value: &[u8]) -> pb::DisclosedSalt {
        pb::DisclosedSalt {
            field: field.into(),
            salt: salt.as_bytes().to_vec(),
            value: value.to_vec(),
        }
    }

    #[test]
    fn a_commitment_opens_with_its_own_salt_and_value_or_not_at_all() {
        let exchange: ExchangeId = "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap();
        let (secret, salt) = (GrantSecret::from_bytes([7; 32]), Salt::from_bytes([8; 32]));
        let entry = Entry {
            exchange_id: Some(exchange),
            grant_commit: Some(secret.commit(&exchange, Field::Grant, b"handle")),
            dossier_commit: Some(secret.commit(&exchange, Field::Dossier, b"2026-0412")),
            content_commit: Some(salt.commit(Field::Content, b"content")),
            evidence_commit: Some(salt.commit(Field::Evidence, b"why")),
            ..Entry::new(Event::Refused, Micros::new(0))
        };
        let proved = ProvedEntry {
            origin: "log".to_owned(),
            index: 0,
            entry,
        };
        let (grant, dossier) = (
            secret.salt(&exchange, Field::Grant),
            secret.salt(&exchange, Field::Dossier),
        );
        let judge = |salts: &[pb::DisclosedSalt], erased, values: &Values| {
            let judged = judge(proved.clone(), salts, erased, values).unwrap();
            judged
                .commitments
                .into_iter()
                .map(|(_, stands)| stands)
                .collect::<Vec<_>>()
        };
        use Openness::{DoesNotOpen, Elsewhere, Erased, NoValue, Opens};
        use pb::CommittedField as Name;
        let values = |dossier: &str| Values {
            handle: Some(b"handle".to_vec()),
            dossier: Some(dossier.as_bytes().to_vec()),
        };
        let all = [
            given(Name::Grant, &grant, b""),
            given(Name::Dossier, &dossier, b""),
            given(Name::Evidence, &salt, b"why"),
        ];
        assert_eq!(
            judge(&[], true, &values("2026-0412")),
            [Erased, Erased, Elsewhere, Erased]
        );
        assert_eq!(
            judge(&[], false, &Values::default()),
            [DoesNotOpen, DoesNotOpen, Elsewhere, DoesNotOpen]
        );
        assert_eq!(
            judge(&all, false, &values("2026-0413")),
            [Opens, DoesNotOpen, Elsewhere, Opens]
        );
        let crossed = [
            given(Name::Grant, &dossier, b""),
            given(Name::Dossier, &grant, b""),
            given(Name::Evidence, &salt, b"why not"),
        ];
        assert_eq!(
            judge(&crossed, false, &values("2026-0412")),
            [DoesNotOpen, DoesNotOpen, Elsewhere, DoesNotOpen]
        );
        assert_eq!(
            judge(&all, false, &Values::default()),
            [NoValue, NoValue, Elsewhere, Opens]
        );
        assert_eq!(
            judge(&all, false, &values("2026-0412")),
            [Opens, Opens, Elsewhere, Opens]
        );
        let short = pb::DisclosedSalt {
            salt: vec![1; 31],
            ..all[0].clone()
        };
        assert!(super::judge(proved.clone(), &[short], false, &Values::default()).is_err());
    }
}
