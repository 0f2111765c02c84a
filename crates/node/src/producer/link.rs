//! Whether a child is the asker's, and still a child: before any source is asked about it.

use unefois_core::catalogue::{Attestation, Datatype, LinkProof};
use unefois_core::commitment::AnswerForm;
use unefois_core::decision::Refusal;
use unefois_core::{
    AccessTokenClaims, BirthDate, Capacity, Micros, NamedPerson, Period, Pivot, Reason, SealedSubject,
    SubjectKind,
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
    /// Whom the exchange is about: a child as the proof names it, where one does.
    pub(super) subject: SealedSubject,
    /// Whether the link holds by now; where the source judges it, it does once that has answered.
    pub(super) holds: bool,
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
                subject: subject.clone(),
                holds: true,
                adults: Vec::new(),
            });
        };
        let under_age = |birthdate: &BirthDate| match birthdate.may_be_of_age(self.now) {
            true => Err(Error::Decision(Refusal {
                reason: Reason::LegalBlock,
                field: "pivot_jwe".to_owned(),
            })),
            false => Ok(()),
        };
        under_age(&child.birthdate)?;
        let unproved = |what: &str| {
            tracing::info!(datatype = %self.datatype.rev(), what, "a child's link to the asker is not proved");
            Error::Source(Failure::NotResolved)
        };
        let rule = self.datatype.sheet().subject(SubjectKind::Child);
        match rule.and_then(|rule| rule.link.as_ref()) {
            // The source is asked about both.
            Some(LinkProof::Holder) => Ok(Linked {
                asked: subject.clone(),
                subject: subject.clone(),
                holds: false,
                adults: Vec::new(),
            }),
            Some(LinkProof::Declared) if self.claims.capacity == Capacity::Agent => Ok(Linked {
                asked: SealedSubject::Person(child.clone()),
                subject: subject.clone(),
                holds: true,
                adults: Vec::new(),
            }),
            Some(LinkProof::Attestation(proof)) => {
                let shown = shown.ok_or_else(|| unproved("nothing was shown"))?;
                let family = self.attested(proof, shown, (child, asker)).map_err(unproved)?;
                // Less may have been typed than tells one child from another; or more, which would choose one of several.
                under_age(&family.child.birthdate)?;
                let child = family.child.attested();
                Ok(Linked {
                    asked: SealedSubject::Person(child.clone()),
                    subject: SealedSubject::Child {
                        child,
                        asker: asker.clone(),
                    },
                    holds: true,
                    adults: family.adults,
                })
            }
            Some(LinkProof::Declared) | None => Err(unproved("nothing proves it")),
        }
    }

    /// The family of an attestation that proves the link; otherwise what is wrong with it, in a word.
    fn attested(
        self,
        proof: &Attestation,
        shown: &LinkAttestation,
        (child, asker): (&Pivot, &Pivot),
    ) -> Result<Family, &'static str> {
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
            let mut same = named
                .iter()
                .filter(|one| one.child == is_child && one.agrees_with(whom));
            same.next().filter(|_| same.next().is_none())
        };
        once(false, asker).ok_or("asker")?;
        let child = once(true, child).ok_or("child")?.clone();
        Ok(Family {
            child,
            adults: named.into_iter().filter(|one| !one.child).collect(),
        })
    }
}

/// Whom the proof of a link names.
struct Family {
    child: NamedPerson,
    adults: Vec<NamedPerson>,
}
