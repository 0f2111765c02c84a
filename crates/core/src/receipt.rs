//! The receipt of a grant, which its person takes home: who may fetch what of whom, for what, on which ground and for how
//! long, the words that were shown before the choice, and what has happened since.
//!
//! Its members are those of a consent receipt of ISO/IEC TS 27560 where that knows them. The authority signs it as a JWS of
//! type [`TYP`], with a key that the directory lists for withdrawals.

use serde::{Deserialize, Serialize};

use crate::authorization::{ModeKind, Use};
use crate::directory::rfc3339;
use crate::{
    Capacity, DatatypeRev, DemarcheId, DossierRef, HabilitationId, LegalBasis, Micros, ParticipantId, Period,
    Sha256, Siren, UnitName,
};

/// The header's `typ`.
pub const TYP: &str = "unefois-grant-receipt+jwt";
/// The only form that is read.
pub const SCHEMA: &str = "urn:unefois:grant-receipt:1";

/// A receipt. It names no person, save whoever acted for another: whoever holds it knows whose grant it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantReceipt {
    /// Always [`SCHEMA`].
    pub schema_version: String,
    /// The receipt's own name; another one each time that it is taken.
    pub receipt_id: String,
    /// The grant's number.
    pub record_id: String,
    /// The person, as the asker's tokens name them and nobody else's; `None` in the receipt of whoever gave the mandate that the
    /// grant rests on: how another is named there is not theirs to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pii_principal_id: Option<String>,
    /// In what capacity the person granted.
    pub capacity: Capacity,
    /// Who acted for whom; `None` where the person acted for themselves or their child, or did not act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub representation: Option<Representation>,
    /// The authority.
    pub iss: String,
    /// When it was signed.
    #[serde(with = "rfc3339")]
    pub issued_at: Micros,
    /// The language of its texts (BCP 47).
    pub language: String,
    /// What was shown before the choice; `None` where neither the person nor whoever acts for them chose at a page of the
    /// authority's.
    pub privacy_notice: Option<Notice>,
    /// Whether somebody chose at such a page whose words were not kept, as at first they were not: then `None` does not say
    /// that nothing was shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub privacy_notice_unknown: bool,
    /// Who asked in the person's place, where the person was not asked; `None` where they, or whoever acts for them, chose. On
    /// which legal ground, [`Purpose::lawful_basis`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_without_person: Option<AskedWithoutPerson>,
    /// Everybody whom it names.
    pub party_identification: Vec<Party>,
    /// One an element of the grant, as it stands.
    pub purposes: Vec<Purpose>,
    /// What has happened, in order.
    pub events: Vec<GrantEvent>,
}

/// Who acted for a company or for somebody they help, by the names that identity providers gave at that moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Representation {
    /// The company; `None` for somebody who is helped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub siren: Option<Siren>,
    /// Who acted.
    pub acted_by: String,
    /// Who had given the mandate: an officer of the company, or whoever is helped. `None` for whoever runs the company.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandated_by: Option<String>,
}

/// Who asked without the person, who read no notice before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedWithoutPerson {
    /// Whether an officer asked, or nobody did and the asker's program was let to.
    pub decided_by: DecidedBy,
    /// In whose name: the one that asks, and answers for it.
    pub party_id: ParticipantId,
    /// Why the officer asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motive: Option<String>,
    /// The words that the officer read, without those that named the person; `None` where they were not kept, as at first they
    /// were not, or there was no officer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_to_officer: Option<Notice>,
}

/// Who decided, where the person was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// An officer of the one that asks, or of its publisher, logged in by name; the name is the asker's to tell.
    Officer,
    /// Nobody: the law lets the asker fetch it with nobody present.
    Nobody,
}

/// The words of the page on which somebody chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Their language (BCP 47).
    pub language: String,
    /// SHA-256 of the text.
    #[serde(with = "crate::digest::hex")]
    pub sha256: Sha256,
    /// The text.
    pub text: String,
}

/// Somebody who has a part in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// The participant.
    pub party_id: ParticipantId,
    /// Its name in the directory.
    pub party_name: String,
    /// Its part.
    pub party_role: PartyRole,
    /// How to reach its data protection officer; empty where the directory no longer says.
    pub party_contact: String,
}

/// The part of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartyRole {
    /// Asks, and answers for what it does with the data.
    PiiController,
    /// Hosts the one that asks.
    PiiProcessor,
    /// Answers, from its own data or for their holders.
    PiiSource,
    /// Keeps the grant.
    AuthorityParty,
}

/// One element: some units of one datatype, for one démarche.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// The démarche, in words.
    pub purpose: String,
    /// The démarche.
    pub service: DemarcheId,
    /// The asker's file.
    pub dossier_ref: DossierRef,
    /// The right to ask.
    pub habilitation: HabilitationId,
    /// On which legal ground.
    pub lawful_basis: LegalBasis,
    /// Who asks.
    pub pii_controllers: [ParticipantId; 1],
    /// Who answers.
    pub pii_source: ParticipantId,
    /// The datatype.
    pub pii_type: DatatypeRev,
    /// The datatype, in words.
    pub pii_type_name: String,
    /// The period; the datatype's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// What may be fetched.
    pub pii_information: Vec<Attribute>,
    /// What was asked for, or granted once, and may not be fetched.
    pub pii_left_out: Vec<Attribute>,
    /// Whether it is kept.
    pub processing_method: Use,
    /// For how long, in days.
    pub retention_days: u16,
    /// Once or standing.
    pub collection: ModeKind,
    /// Until when it may be fetched, unless it is withdrawn before.
    #[serde(with = "rfc3339")]
    pub valid_until: Micros,
    /// Where the person withdraws it.
    pub withdrawal_method: String,
    /// Where it stands.
    pub state: PurposeState,
}

/// One unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    /// Its name in the datatype.
    pub pii_attribute: UnitName,
    /// In words.
    pub name: String,
    /// Whether the démarche can do without it.
    pub pii_optional: bool,
}

/// Where an element stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PurposeState {
    /// It may serve.
    Active,
    /// Its time is over.
    Expired,
    /// It was withdrawn.
    Withdrawn,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantEvent {
    /// When.
    #[serde(with = "rfc3339")]
    pub event_time: Micros,
    /// What: `granted`, or how an element was withdrawn, or `effective` where that was proved to hold.
    pub event_type: String,
    /// The element that it is of, by its datatype; `None` for the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pii_type: Option<DatatypeRev>,
}

/// A receipt contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReceipt {
    /// Another form.
    #[error("the receipt is not of form {SCHEMA}")]
    Schema,
    /// It says that the person was asked and that they were not, or by whom in another way than in what capacity.
    #[error("the receipt says otherwise who asked without the person than in what capacity")]
    AskedWithoutPerson,
    /// The text is not the one of its hash, or it is said to be unknown.
    #[error("the text of the notice is not the one of its hash, or is said to be unknown")]
    Notice,
    /// It does not say for whom somebody acted, or says it of whoever acted for nobody.
    #[error("the receipt says otherwise for whom somebody acted than in what capacity")]
    Representation,
    /// A party is not identified, or events are not in order.
    #[error("the receipt names a party that it does not identify, or tells its events out of order")]
    Incomplete,
}

impl Notice {
    /// The words of a page.
    pub fn new(language: &str, text: String) -> Self {
        Self {
            language: language.to_owned(),
            sha256: Sha256::of(text.as_bytes()),
            text,
        }
    }
}

impl AskedWithoutPerson {
    /// Whether this is said of a grant in that capacity, of which the person read a page or not.
    fn fits(&self, capacity: Capacity, page_was_read: bool) -> bool {
        let told = self.motive.is_some();
        let decided = match (self.decided_by, capacity) {
            (DecidedBy::Officer, Capacity::Agent) => told,
            (DecidedBy::Nobody, Capacity::Automatic) => !told && self.shown_to_officer.is_none(),
            (DecidedBy::Officer | DecidedBy::Nobody, _) => false,
        };
        decided && !page_was_read
    }
}

impl GrantReceipt {
    /// Checks what a reader can check without anybody's help.
    ///
    /// # Errors
    /// [`InvalidReceipt`].
    pub fn check(&self) -> Result<(), InvalidReceipt> {
        if self.schema_version != SCHEMA {
            return Err(InvalidReceipt::Schema);
        }
        let notice = self.privacy_notice.as_ref();
        if notice.is_some() && self.privacy_notice_unknown {
            return Err(InvalidReceipt::Notice);
        }
        let without_person = self.asked_without_person.as_ref();
        let shown_to_officer = without_person.and_then(|asked| asked.shown_to_officer.as_ref());
        let mut notices = notice.into_iter().chain(shown_to_officer);
        if notices.any(|notice| notice.sha256 != Sha256::of(notice.text.as_bytes())) {
            return Err(InvalidReceipt::Notice);
        }
        if let Some(asked) = without_person
            && !asked.fits(self.capacity, notice.is_some() || self.privacy_notice_unknown)
        {
            return Err(InvalidReceipt::AskedWithoutPerson);
        }
        let represented = self.representation.as_ref();
        let fits = match self.capacity {
            Capacity::Entity => represented.is_some_and(|by| by.siren.is_some()),
            Capacity::Helper => represented.is_some_and(|by| by.siren.is_none() && by.mandated_by.is_some()),
            Capacity::SelfPerson | Capacity::Child | Capacity::Agent | Capacity::Automatic => {
                represented.is_none()
            }
        };
        if !fits {
            return Err(InvalidReceipt::Representation);
        }
        let known = |id: &ParticipantId| {
            self.party_identification
                .iter()
                .any(|party| party.party_id == *id)
        };
        let named = |purpose: &Purpose| known(&purpose.pii_source) && known(&purpose.pii_controllers[0]);
        let asker = without_person.is_none_or(|asked| known(&asked.party_id));
        let ordered = self.events.is_sorted_by_key(|event| event.event_time);
        let begun = self
            .events
            .first()
            .is_some_and(|event| event.event_type == "granted");
        match !self.purposes.is_empty() && self.purposes.iter().all(named) && asker && ordered && begun {
            true => Ok(()),
            false => Err(InvalidReceipt::Incomplete),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "urn:unefois:participant:18003506500010";
    const ASKER: &str = "urn:unefois:participant:21920023500014";

    fn receipt() -> GrantReceipt {
        let party = |id: &str, party_role| Party {
            party_id: id.parse().unwrap(),
            party_name: "Essai".to_owned(),
            party_role,
            party_contact: String::new(),
        };
        let at = Micros::from_secs(1_795_512_305);
        GrantReceipt {
            schema_version: SCHEMA.to_owned(),
            receipt_id: "r".to_owned(),
            record_id: "g".to_owned(),
            pii_principal_id: Some("p".to_owned()),
            capacity: Capacity::SelfPerson,
            representation: None,
            iss: "https://autorite.example".to_owned(),
            issued_at: at,
            language: "fr".to_owned(),
            privacy_notice: Some(Notice::new("fr", "La mairie demande…".to_owned())),
            privacy_notice_unknown: false,
            asked_without_person: None,
            party_identification: vec![
                party(ASKER, PartyRole::PiiController),
                party(SOURCE, PartyRole::PiiSource),
            ],
            purposes: vec![Purpose {
                purpose: "Cantine".to_owned(),
                service: "cantine".parse().unwrap(),
                dossier_ref: "2026-0412".parse().unwrap(),
                habilitation: "DP-1".parse().unwrap(),
                lawful_basis: LegalBasis::Request,
                pii_controllers: [ASKER.parse().unwrap()],
                pii_source: SOURCE.parse().unwrap(),
                pii_type: "cnaf/quotient-familial@1".parse().unwrap(),
                pii_type_name: "Quotient familial".to_owned(),
                period: None,
                pii_information: vec![Attribute {
                    pii_attribute: "valeur".parse().unwrap(),
                    name: "Votre quotient".to_owned(),
                    pii_optional: false,
                }],
                pii_left_out: Vec::new(),
                processing_method: Use::Store,
                retention_days: 365,
                collection: ModeKind::Once,
                valid_until: at,
                withdrawal_method: "https://autorite.example/autorisations/g/arreter".to_owned(),
                state: PurposeState::Active,
            }],
            events: vec![GrantEvent {
                event_time: at,
                event_type: "granted".to_owned(),
                pii_type: None,
            }],
        }
    }

    fn by_officer() -> GrantReceipt {
        GrantReceipt {
            capacity: Capacity::Agent,
            privacy_notice: None,
            asked_without_person: Some(AskedWithoutPerson {
                decided_by: DecidedBy::Officer,
                party_id: ASKER.parse().unwrap(),
                motive: Some("demande faite au guichet".to_owned()),
                shown_to_officer: Some(Notice::new("fr", "La personne verra cet échange…".to_owned())),
            }),
            ..receipt()
        }
    }

    #[test]
    fn who_asked_without_the_person_is_told_as_the_capacity_says() {
        let asked = |receipt: &mut GrantReceipt, change: fn(&mut AskedWithoutPerson)| {
            change(receipt.asked_without_person.as_mut().unwrap());
        };
        let refused = |change: &dyn Fn(&mut GrantReceipt)| {
            let mut receipt = by_officer();
            change(&mut receipt);
            receipt.check().unwrap_err()
        };
        let otherwise = InvalidReceipt::AskedWithoutPerson;
        assert_eq!(refused(&|r| r.capacity = Capacity::Automatic), otherwise);
        assert_eq!(refused(&|r| r.capacity = Capacity::SelfPerson), otherwise);
        assert_eq!(
            refused(&|r| r.privacy_notice = receipt().privacy_notice),
            otherwise
        );
        assert_eq!(refused(&|r| r.privacy_notice_unknown = true), otherwise);
        assert_eq!(refused(&|r| asked(r, |by| by.motive = None)), otherwise);
        assert_eq!(
            refused(&|r| asked(r, |by| by.decided_by = DecidedBy::Nobody)),
            otherwise
        );
        let reworded = refused(&|r| asked(r, |by| by.shown_to_officer.as_mut().unwrap().text.push('.')));
        assert_eq!(reworded, InvalidReceipt::Notice);
        let unknown = refused(&|r| {
            asked(r, |by| {
                by.party_id = "urn:unefois:participant:13000495500014".parse().unwrap()
            })
        });
        assert_eq!(unknown, InvalidReceipt::Incomplete);

        assert_eq!(by_officer().check(), Ok(()));
        let mut nobody = by_officer();
        nobody.capacity = Capacity::Automatic;
        nobody.asked_without_person = Some(AskedWithoutPerson {
            decided_by: DecidedBy::Nobody,
            motive: None,
            shown_to_officer: None,
            ..nobody.asked_without_person.unwrap()
        });
        assert_eq!(nobody.check(), Ok(()));
        // As receipts were signed before this was told.
        let earlier = GrantReceipt {
            asked_without_person: None,
            ..by_officer()
        };
        assert_eq!(earlier.check(), Ok(()));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let refused = |change: fn(&mut GrantReceipt)| {
            let mut receipt = receipt();
            change(&mut receipt);
            receipt.check().unwrap_err()
        };
        assert_eq!(refused(|r| r.schema_version.push('1')), InvalidReceipt::Schema);
        let reworded = refused(|r| r.privacy_notice.as_mut().unwrap().text.push('.'));
        assert_eq!(reworded, InvalidReceipt::Notice);
        assert_eq!(
            refused(|r| r.privacy_notice_unknown = true),
            InvalidReceipt::Notice
        );
        for change in [
            (|r| r.capacity = Capacity::Entity) as fn(&mut GrantReceipt),
            |r| r.capacity = Capacity::Helper,
            |r| r.representation = Some(by_mandate(None)),
            |r| {
                r.capacity = Capacity::Helper;
                r.representation = Some(by_mandate(Some("130025265")));
            },
            |r| {
                r.capacity = Capacity::Entity;
                r.representation = Some(by_mandate(None));
            },
            |r| {
                r.capacity = Capacity::Helper;
                r.representation = Some(Representation {
                    mandated_by: None,
                    ..by_mandate(None)
                });
            },
        ] {
            assert_eq!(refused(change), InvalidReceipt::Representation);
        }
        for change in [
            (|r| r.purposes.clear()) as fn(&mut GrantReceipt),
            |r| r.events.clear(),
            |r| drop(r.party_identification.pop()),
            |r| r.events[0].event_type = "person".to_owned(),
            |r| {
                let before = GrantEvent {
                    event_time: Micros::new(0),
                    ..r.events[0].clone()
                };
                r.events.push(before);
            },
        ] {
            assert_eq!(refused(change), InvalidReceipt::Incomplete);
        }
    }

    fn by_mandate(siren: Option<&str>) -> Representation {
        Representation {
            siren: siren.map(|siren| siren.parse().unwrap()),
            acted_by: "Angela DUBOIS".to_owned(),
            mandated_by: Some("Camille EXEMPLE".to_owned()),
        }
    }

    #[test]
    fn a_receipt_of_a_mandate_reads_back() {
        for (capacity, siren) in [(Capacity::Entity, Some("130025265")), (Capacity::Helper, None)] {
            let receipt = GrantReceipt {
                capacity,
                representation: Some(by_mandate(siren)),
                ..receipt()
            };
            let text = serde_json::to_string(&receipt).unwrap();
            assert_eq!(serde_json::from_str::<GrantReceipt>(&text).unwrap(), receipt);
            assert_eq!(receipt.check(), Ok(()));
        }
    }

    #[test]
    fn a_receipt_reads_back() {
        let receipt = receipt();
        let text = serde_json::to_string(&receipt).unwrap();
        assert!(text.contains(r#""issued_at":"2026-11-24T09:25:05"#), "{text}");
        assert_eq!(serde_json::from_str::<GrantReceipt>(&text).unwrap(), receipt);
        assert_eq!(receipt.check(), Ok(()));
    }
}
