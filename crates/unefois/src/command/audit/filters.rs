//! Which entries a command asks for, as they are typed.

use std::collections::BTreeSet;

use clap::Args;
use unefois_core::catalogue::UnitSet;
use unefois_core::{
    Acr, Capacity, DatatypeFilter, DemarcheId, EntryFilter, Event, ExchangeId, HabilitationId, HolderId,
    LegalBasis, Outcome, ParticipantId, PeerMatch, Reason, UnitName,
};
use unefois_mesh::Edition;

use super::period::Period;
use crate::failure::{Failure, Kind};

/// Conditions, all of which an entry meets.
#[derive(Clone, Debug, Default, Args)]
pub struct Filters {
    #[command(flatten)]
    period: Period,
    /// Who asked: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(long, value_name = "PARTICIPANT", value_parser = participant)]
    requester: Option<ParticipantId>,
    /// Who answers.
    #[arg(long, value_name = "PARTICIPANT", value_parser = participant)]
    provider: Option<ParticipantId>,
    /// Who asked or answers.
    #[arg(long, value_name = "PARTICIPANT", value_parser = participant)]
    party: Option<ParticipantId>,
    /// Whose data it is: the catalogue's short name, such as msa.
    #[arg(long, value_name = "HOLDER")]
    holder: Option<HolderId>,
    /// Who hosts the requester.
    #[arg(long, value_name = "PARTICIPANT", value_parser = participant)]
    publisher: Option<ParticipantId>,
    /// A datatype in one revision, producer/name@1, or in any, producer/name.
    #[arg(long, value_name = "DATATYPE")]
    datatype: Option<DatatypeFilter>,
    /// The démarche.
    #[arg(long, value_name = "DEMARCHE")]
    demarche: Option<DemarcheId>,
    /// The habilitation's number.
    #[arg(long, value_name = "NUMBER")]
    habilitation: Option<HabilitationId>,
    /// CRPA-L114-8-I, CRPA-L114-8-II, RGPD-6-1-a or TEXTE:id.
    #[arg(long, value_name = "BASIS")]
    legal_basis: Option<LegalBasis>,
    /// self, child, entity, helper, agent or automatic.
    #[arg(long, value_name = "CAPACITY")]
    capacity: Option<Capacity>,
    /// eidas1, eidas2 or eidas3.
    #[arg(long, value_name = "LEVEL")]
    acr: Option<Acr>,
    /// A unit of the datatype, whose revision must be given; several: one of them.
    #[arg(long = "unit", value_name = "UNIT", requires = "datatype")]
    units: Vec<UnitName>,
    /// Of several units, all of them.
    #[arg(long, requires = "units")]
    all_units: bool,
    /// released, refused, received …; several: one of them.
    #[arg(long = "event", value_name = "EVENT")]
    events: Vec<Event>,
    /// answered, later or refused.
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<Outcome>,
    /// A reason such as TOKEN_CONSUMED.
    #[arg(long, value_name = "REASON")]
    reason: Option<Reason>,
    /// The exchange's identifier.
    #[arg(long, value_name = "UUID")]
    exchange: Option<ExchangeId>,
    /// From this place of the log on.
    #[arg(long, value_name = "INDEX")]
    first: Option<u64>,
    /// Before this place of the log.
    #[arg(long, value_name = "INDEX")]
    end: Option<u64>,
    /// confirmed or unconfirmed: whether the log's owner knows that a release arrived. Nothing proves it.
    #[arg(long, value_name = "WHICH")]
    peer: Option<PeerMatch>,
}

impl Filters {
    /// The filter, its units by the catalogue of `edition`.
    ///
    /// # Errors
    /// The catalogue has no such revision, or it no such unit.
    pub fn filter(&self, edition: &Edition) -> Result<EntryFilter, Failure> {
        let units = self.mask(edition)?;
        Ok(EntryFilter {
            from: self.period.from,
            to: self.period.to,
            requester: self.requester,
            provider: self.provider,
            party: self.party,
            holder: self.holder.clone(),
            publisher: self.publisher,
            datatype: self.datatype.clone(),
            demarche: self.demarche.clone(),
            habilitation: self.habilitation.clone(),
            legal_basis: self.legal_basis.clone(),
            capacity: self.capacity,
            acr: self.acr,
            units_any: units.filter(|_| !self.all_units),
            units_all: units.filter(|_| self.all_units),
            events: self.events.iter().copied().collect::<BTreeSet<_>>(),
            outcome: self.outcome,
            reason: self.reason,
            exchange_id: self.exchange,
            first: self.first,
            end: self.end,
            peer: self.peer,
        })
    }

    fn mask(&self, edition: &Edition) -> Result<Option<u64>, Failure> {
        if self.units.is_empty() {
            return Ok(None);
        }
        let Some(DatatypeFilter::Revision(revision)) = &self.datatype else {
            return Err(Failure::new(
                Kind::Usage,
                "--unit demande une révision : --datatype producteur/nom@1",
            ));
        };
        let unknown = |what: String| Failure::new(Kind::Data, what).next("tapez : unefois catalogue check");
        let datatype = edition.catalogue.datatype(revision);
        let datatype = datatype.ok_or_else(|| unknown(format!("le catalogue n'a pas {revision}")))?;
        let mut mask = UnitSet::EMPTY;
        for name in &self.units {
            let unit = datatype.unit(name);
            mask = mask | unit.ok_or_else(|| unknown(format!("{revision} n'a pas d'élément {name}")))?;
        }
        Ok(Some(mask.bits()))
    }
}

/// A participant by its name, or by its SIRET alone.
pub(crate) fn participant(text: &str) -> Result<ParticipantId, String> {
    let siret = text.parse().map(ParticipantId::new);
    siret
        .or_else(|_| text.parse())
        .map_err(|e| format!("{e}, or a SIRET alone"))
}
