//! From a permit to the durable decision: ask, minimise, sign, claim, record.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;
use unefois_core::commitment::{Field, Salt};
use unefois_core::directory::Jwk;
use unefois_core::{Outcome, Random, Sha256};
use unefois_jose::SigningKey;
use unefois_ledger::{Attempt, DurableReceipt, Release, ReleaseDraft};
use unefois_mesh::{Edition, spans};

use super::attest::{Statement, attest};
use super::authorize::{Authorized, VerifiedCall};
use super::concerned::Keys;
use super::minimise::{Minimised, minimise};
use super::resolve::{is_strict_enough, resolve};
use super::source::{Failure, Question};
use super::trail::Trail;
use super::{Inner, concerned};
use crate::Error;

/// A signed answer that nothing has recorded yet: it cannot be sent.
pub(super) struct Signed {
    sd_jwt: String,
    minimised: Minimised,
    /// What the answer was cut by.
    pub(super) sheet: Sha256,
    /// Under what everybody is found whom it concerns.
    concerned: Keys,
    attempt: Attempt,
    pub(super) quota_left: u32,
}

/// A signed answer whose release is durable (I1): what the guard may let out.
pub(super) struct Released {
    pub(super) sd_jwt: String,
    pub(super) form: unefois_core::commitment::AnswerForm,
    pub(super) content_salt: Salt,
    pub(super) receipt: DurableReceipt,
    /// Kept registered while the answer is on its way, so that a second attempt waits.
    pub(super) attempt: Attempt,
    pub(super) quota_left: u32,
}

/// How a release ended, when the ledger could be written.
pub(super) enum Decision {
    /// The bytes may leave.
    Released(Box<Released>),
    /// They may not, and the entry says so.
    Refused(unefois_core::Reason, Box<DurableReceipt>),
}

impl Inner {
    /// Asks the source, minimises and signs.
    pub(super) async fn prepare(
        &self,
        verified: &VerifiedCall,
        authorized: Authorized<'_>,
        edition: &Edition,
        within: Duration,
    ) -> Result<Signed, Error> {
        let Authorized {
            permit,
            attempt,
            linked,
            quota_left,
        } = authorized;
        let datatype = permit.datatype();
        let source = self.sources.get(datatype.rev()).ok_or(Error::NotServed)?;
        let producer = edition.catalogue.producer(&datatype.sheet().operator);
        let answers = producer
            .and_then(|p| p.answers.as_ref())
            .ok_or(Error::NotServed)?;
        let question = Question {
            sheet: datatype.sheet(),
            answers,
            subject: &linked.asked,
            period: verified.core.period,
            within: within.min(Duration::from_millis(datatype.sheet().timeout_ms.into())),
        };
        if !is_strict_enough(
            &linked.subject,
            datatype.sheet(),
            verified.token.claims().capacity,
        ) {
            return Err(Error::Source(Failure::NotResolved));
        }
        let asked = self.clock.boottime();
        let answer = resolve(&**source, &question)
            .instrument(tracing::info_span!(spans::SUBJECT_MATCH))
            .await;
        self.exchanges.stage(spans::SOURCE_CALL, asked, &*self.clock);
        let answer = answer?;

        let computed_at = self.clock.now();
        let minimised = minimise(datatype, permit.units(), answer).map_err(|violation| {
            tracing::error!(datatype = %datatype.rev(), at = violation.at, keyword = violation.keyword, "the source broke its schema");
            Error::Source(Failure::Schema)
        })?;
        let claims = verified.token.claims();
        let statement = Statement {
            issuer: &self.operator.participant,
            audience: &claims.client_id,
            datatype: datatype.rev(),
            period: verified.core.period,
            exchange: &verified.core.request_id,
            request_hash: &verified.core.hash(),
            computed_at,
            issued_at: self.clock.now(),
            data_life_days: claims.authorization_details[0].data_life_days,
        };
        let row = edition.directory.participant(&self.operator.participant);
        let seal = seal(&self.seals, row.map_or(&[], |row| &row.seal_keys))?;
        let sd_jwt = attest(seal, &statement, &minimised, &self.random).map_err(Error::Seal)?;
        Ok(Signed {
            sd_jwt,
            concerned: concerned::everybody(
                (&linked.subject, claims.capacity),
                minimised.ids(),
                minimised.named().iter().chain(&linked.adults),
            ),
            minimised,
            sheet: *datatype.sheet_sha256(),
            attempt,
            quota_left,
        })
    }

    /// One durable write: the claim and its entry. The guard is asked when the leaf is built.
    pub(super) async fn release(
        self: &Arc<Self>,
        verified: &VerifiedCall,
        signed: Signed,
        trail: Trail,
    ) -> Result<Decision, Error> {
        let Signed {
            sd_jwt,
            minimised,
            sheet: _,
            concerned,
            attempt,
            quota_left,
        } = signed;
        let content = minimised.digest();
        let content_salt = Salt::draw(&self.random as &dyn Random);
        let draft = trail.released(concerned, |entry| {
            entry.outcome = Some(Outcome::Answered);
            entry.holder = minimised.holder().cloned();
            entry.content_commit = Some(content_salt.commit(Field::Content, content.as_bytes()));
        });
        let draft = ReleaseDraft {
            draft,
            payload: content,
            gate: self
                .lease
                .gate(verified.token.claims().clone(), verified.token.kid()),
        };
        let since = self.clock.boottime();
        let release = self
            .ledger
            .release(&attempt, draft)
            .instrument(tracing::info_span!(spans::LEDGER_APPEND))
            .await;
        self.exchanges.stage(spans::LEDGER_APPEND, since, &*self.clock);
        Ok(match release? {
            Release::Claimed(receipt) | Release::Again(receipt) => Decision::Released(Box::new(Released {
                sd_jwt,
                form: minimised.form(),
                content_salt,
                receipt,
                attempt,
                quota_left,
            })),
            Release::Refused(reason, receipt) => Decision::Refused(reason, Box::new(receipt)),
        })
    }
}

/// The first of the keys `listed` that is held: so a directory that changes the order changes the key, without a restart.
fn seal<'k>(held: &'k [SigningKey], listed: &[Jwk]) -> Result<&'k SigningKey, Error> {
    let first = listed
        .iter()
        .map(Jwk::kid)
        .find_map(|kid| held.iter().find(|key| key.thumbprint().to_string() == kid));
    first.ok_or(Error::Seal(unefois_jose::Error::UnknownKey))
}
