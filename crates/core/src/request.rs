use crate::{DatatypeRev, DemarcheId, DossierRef, ExchangeId, Handle, Period, Sha256, UnitName};

/// The part of a Fetch that names what is asked for: what both ledgers bind by hash. Token, pivot, trace context and
/// offset stay outside, so that a retry with a fresh token is the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchCore {
    /// The exchange's name at both ends.
    pub request_id: ExchangeId,
    /// Under which element of the grant.
    pub handle: Handle,
    /// What.
    pub datatype: DatatypeRev,
    /// Which parts of it, sorted, each once.
    pub units: Vec<UnitName>,
    /// About which period; `None` for the datatype's default.
    pub period: Option<Period>,
    /// For which démarche.
    pub demarche: DemarcheId,
    /// For which file.
    pub dossier: DossierRef,
    /// Drawn once a request by the consumer and repeated on retry, so that the hash tells nobody what was asked.
    pub nonce: [u8; 32],
}

impl FetchCore {
    /// SHA-256 over `"unefois/request/v1"` and each field as one length byte and its bytes, the units preceded by
    /// their number.
    pub fn hash(&self) -> Sha256 {
        let mut bytes = b"unefois/request/v1".to_vec();
        let mut put = |part: &[u8]| {
            bytes.push(u8::try_from(part.len()).expect("identifiers are shorter than 256 bytes"));
            bytes.extend_from_slice(part);
        };
        put(self.request_id.as_bytes());
        put(self.handle.as_bytes());
        put(self.datatype.to_string().as_bytes());
        put(&[u8::try_from(self.units.len()).unwrap_or(u8::MAX)]);
        for unit in &self.units {
            put(unit.as_str().as_bytes());
        }
        put(self.period.map(|p| p.to_string()).unwrap_or_default().as_bytes());
        put(self.demarche.as_str().as_bytes());
        put(self.dossier.as_str().as_bytes());
        put(&self.nonce);
        Sha256::of(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch() -> FetchCore {
        FetchCore {
            request_id: "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap(),
            handle: Handle::from_bytes([1; 16]),
            datatype: "cnaf/quotient-familial@1".parse().unwrap(),
            units: vec!["composition".parse().unwrap(), "valeur".parse().unwrap()],
            period: None,
            demarche: "cantine".parse().unwrap(),
            dossier: "2026-0412".parse().unwrap(),
            nonce: [9; 32],
        }
    }

    #[test]
    fn every_field_changes_the_hash() {
        let others = [
            FetchCore {
                handle: Handle::from_bytes([2; 16]),
                ..fetch()
            },
            FetchCore {
                request_id: "0190163d-8694-739b-aea5-966c26f8ad92".parse().unwrap(),
                ..fetch()
            },
            FetchCore {
                datatype: "cnaf/quotient-familial@2".parse().unwrap(),
                ..fetch()
            },
            FetchCore {
                units: vec!["valeur".parse().unwrap()],
                ..fetch()
            },
            FetchCore {
                period: Some(Period::Year(2026)),
                ..fetch()
            },
            FetchCore {
                demarche: "bourse".parse().unwrap(),
                ..fetch()
            },
            FetchCore {
                dossier: "2026-0413".parse().unwrap(),
                ..fetch()
            },
            FetchCore {
                nonce: [8; 32],
                ..fetch()
            },
        ];
        let mut hashes: Vec<_> = others
            .iter()
            .map(FetchCore::hash)
            .chain([fetch().hash()])
            .collect();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), 9);
    }
}
