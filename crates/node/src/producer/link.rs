//! Whether a child is the asker's, and still a child: before any source is asked about it.

use unefois_core::catalogue::{Attestation, Datatype, LinkProof};
use unefois_core::commitment::AnswerForm;
use unefois_core::decision::Refusal;
use unefois_core::{
    AccessTokenClaims, Capacity, Micros, NamedPerson, Period, Pivot, Reason, SealedSubject, SubjectKind,
};
use unefois_mesh::Edition;
use unefois_proto::LinkAttestation;

use super::source::Failure;
use crate::Error;
use crate::consumer::evidence::Attested;

const DAY_MS: i64 = 86_400_000;
/// How far ahead of ours the clock of whoever signed may be.
const AHEAD_MS: i64 = 60_000;

/// Whom a source is asked about, once the link needs no more proof than it gives itself.
pub(super) struct Linked {
    pub(super) asked: SealedSubject,
    /// The adults whom the proof names.
    pub(super) adults: Vec<NamedPerson>,
}

/// What a link is judged by.
#[derive(Clone, Copy)]
pub(super) struct Judgement<'a> {
    pub(super) edition: &'a Edition,
    pub(super) claims: &'a AccessTokenClaims,
    pub(super) datatype: &'a Datatype,
    pub(super) now: Micros,
}

impl Judgement<'_> {
    /// Judges the link of a child to the asker, by the rule of the datatype; others need none.
    ///
    /// # Errors
    /// LEGAL_BLOCK for a child that is of age; SUBJECT_NOT_RESOLVED for a link that is not proved, whatever is wrong with
    /// it, as for a child that nobody knows.
    pub(super) fn link(
        self,
        subject: &SealedSubject,
        shown: Option<&LinkAttestation>,
    ) -> Result<Linked, Error> {
        let SealedSubject::Child { child, asker } = subject else {
            return Ok(Linked {
                asked: subject.clone(),
                adults: Vec::new(),
            });
        };
        if child.birthdate.may_be_of_age(self.now) {
            return Err(Error::Decision(Refusal {
                reason: Reason::LegalBlock,
                field: "pivot_jwe".to_owned(),
            }));
        }
        let unproved = |what: &str| {
            tracing::info!(datatype = %self.datatype.rev(), what, "a child's link to the asker is not proved");
            Error::Source(Failure::NotResolved)
        };
        let rule = self.datatype.sheet().subject(SubjectKind::Child);
        match rule.and_then(|rule| rule.link.as_ref()) {
            // The source is asked about both.
            Some(LinkProof::Holder) => Ok(Linked {
                asked: subject.clone(),
                adults: Vec::new(),
            }),
            Some(LinkProof::Declared) if self.claims.capacity == Capacity::Agent => Ok(Linked {
                asked: SealedSubject::Person(child.clone()),
                adults: Vec::new(),
            }),
            Some(LinkProof::Attestation(proof)) => {
                let shown = shown.ok_or_else(|| unproved("nothing was shown"))?;
                let adults = self.attested(proof, shown, (child, asker)).map_err(unproved)?;
                Ok(Linked {
                    asked: SealedSubject::Person(child.clone()),
                    adults,
                })
            }
            Some(LinkProof::Declared) | None => Err(unproved("nothing proves it")),
        }
    }

    /// The adults of an attestation that proves the link; otherwise what is wrong with it, in a word.
    fn attested(
        self,
        proof: &Attestation,
        shown: &LinkAttestation,
        (child, asker): (&Pivot, &Pivot),
    ) -> Result<Vec<NamedPerson>, &'static str> {
        let Self {
            edition, claims, now, ..
        } = self;
        let limit = LinkAttestation::MAX_BYTES;
        let attested = Attested::verify_presented(shown.as_str(), limit, &edition.directory);
        let attested = attested.map_err(|_| "signature")?;
        let datatype = edition.catalogue.datatype(attested.datatype()).ok_or("vct")?;
        let oldest = now.plus_ms(-i64::from(proof.max_age_days) * DAY_MS);
        let month = now.month().ordinal();
        for (claim, holds) in [
            ("vct", *attested.datatype().id() == proof.datatype),
            ("iss", attested.issuer() == datatype.operator()),
            // Made for this very consumer: another's family is nobody's to show.
            ("aud", *attested.audience() == claims.client_id),
            ("outcome", attested.form() == AnswerForm::Document),
            ("exp", attested.expires_at() > now),
            ("iat", attested.issued_at() <= now.plus_ms(AHEAD_MS)),
            (
                "computed_at",
                (oldest..=now.plus_ms(AHEAD_MS)).contains(&attested.computed_at()),
            ),
            (
                "period",
                attested.period().is_none_or(|period| match period {
                    Period::Month { year, month: m } => {
                        month - (i32::from(year) * 12 + i32::from(m) - 1) <= 1
                    }
                    Period::Year(_) | Period::SchoolYear(_) => false,
                }),
            ),
        ] {
            if !holds {
                return Err(claim);
            }
        }
        attested.check_units(&edition.catalogue).map_err(|_| "units")?;
        let unit = attested.units().iter().find(|(name, _)| *name == proof.unit);
        let (_, family) = unit.ok_or("unit")?;
        let named = datatype.sheet().named(family);
        let once = |is_child: bool, whom: &Pivot| {
            let same = named
                .iter()
                .filter(|one| one.child == is_child && one.agrees_with(whom));
            same.count() == 1
        };
        if !once(false, asker) {
            return Err("asker");
        }
        if !once(true, child) {
            return Err("child");
        }
        Ok(named.into_iter().filter(|one| !one.child).collect())
    }
}
