use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use unefois_core::{Acr, OfficerAssurance, UnknownWord};

use crate::portal::Audience;

/// Which of three an identity provider is. The kind fixes what it is asked and how it answers; nothing is negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ProviderKind {
    /// FranceConnect: people, `eidas1` alone. Signed answers, no PKCE: its `/authorize` refuses every parameter off its
    /// list, so that code injection is stopped by the nonce and by client authentication.
    #[default]
    #[serde(rename = "franceconnect")]
    FranceConnect,
    /// FranceConnect+: people, `eidas2` and `eidas3`. As FranceConnect, with answers that are signed, then encrypted.
    #[serde(rename = "franceconnect+")]
    FranceConnectPlus,
    /// ProConnect: officers, whose SIRET it gives and no identity. Signed answers, PKCE.
    #[serde(rename = "proconnect")]
    ProConnect,
}

/// `[[login]]`: one identity provider that this authority is registered with. Nothing is negotiated: what stands here
/// was agreed beforehand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Its short name here; the redirect URI is `<issuer>/<name>/retour`.
    pub name: String,
    /// Which of the three it is.
    #[serde(default)]
    pub kind: ProviderKind,
    /// Its name for people.
    pub label: String,
    /// Its issuer URL; everything else is discovered there.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// File of our secret there.
    pub client_secret: PathBuf,
    /// File of the certificate authorities (PEM) that its HTTPS rests on; none for HTTP on loopback.
    #[serde(default)]
    pub authorities: Option<PathBuf>,
    /// Of a provider of people: the `acr` values that count when it asserts them, and the level that each stands for.
    #[serde(default)]
    pub levels: BTreeMap<String, Acr>,
    /// Of ProConnect: the `acr` values that count when it asserts them, and what each says of an officer.
    #[serde(default)]
    pub officers: BTreeMap<String, OfficerAssurance>,
    /// Of FranceConnect+: files of the keys (PKCS#8, P-256) that it encrypts to, the present one first. Their public
    /// halves are at `<issuer>/<name>/jwks`.
    #[serde(default)]
    pub decryption: Vec<PathBuf>,
    /// The scopes asked for, where they are not those of the kind.
    #[serde(default)]
    pub scope: Option<String>,
    /// What files of before `kind` say: whether those it logs in are people. It may agree with the kind, and decides nothing.
    #[serde(default)]
    pub people: Option<bool>,
}

impl ProviderKind {
    /// The levels that it may be entitled to, whatever the configuration says.
    const fn levels(self) -> &'static [Acr] {
        match self {
            Self::FranceConnect => &[Acr::Eidas1],
            Self::FranceConnectPlus => &[Acr::Eidas2, Acr::Eidas3],
            Self::ProConnect => &[],
        }
    }

    const fn scope(self) -> &'static str {
        match self {
            Self::FranceConnect | Self::FranceConnectPlus => {
                "openid given_name family_name preferred_username birthdate gender birthplace birthcountry"
            }
            Self::ProConnect => "openid given_name usual_name siret organizational_unit",
        }
    }

    /// Whether codes are bound by PKCE (RFC 7636).
    pub(super) const fn has_pkce(self) -> bool {
        matches!(self, Self::ProConnect)
    }

    /// Whether its answers are encrypted to us.
    pub(super) const fn encrypts(self) -> bool {
        matches!(self, Self::FranceConnectPlus)
    }

    /// As pages tell it.
    pub(super) const fn audience(self) -> Audience {
        match self {
            Self::FranceConnect => Audience::Everybody,
            Self::FranceConnectPlus => Audience::Verified,
            Self::ProConnect => Audience::Officers,
        }
    }

    /// Whether it logs officers in, and not people.
    pub(crate) const fn is_professional(self) -> bool {
        matches!(self, Self::ProConnect)
    }
}

impl ProviderConfig {
    /// What the kind forbids, or asks for and does not find.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self
            .people
            .is_some_and(|people| people == self.kind.is_professional())
        {
            return Err(
                "login.people contradicts login.kind: kind = \"proconnect\" logs officers in, the other two people",
            );
        }
        let own = self.kind.levels();
        if !self.levels.values().all(|level| own.contains(level)) {
            return Err(match self.kind {
                ProviderKind::FranceConnect => {
                    "login.levels: FranceConnect asserts eidas1 alone; kind = \"franceconnect+\" has the others"
                }
                ProviderKind::FranceConnectPlus => {
                    "login.levels: FranceConnect+ asserts eidas2 and eidas3 alone"
                }
                ProviderKind::ProConnect => "login.levels: ProConnect asserts no level of people's",
            });
        }
        if !self.kind.is_professional() && self.levels.is_empty() {
            return Err("login.levels names no level");
        }
        if self.kind.is_professional() == self.officers.is_empty() {
            return Err(
                "login.officers names what counts of officers at ProConnect, and stands nowhere else",
            );
        }
        if self.kind.encrypts() == self.decryption.is_empty() {
            return Err(
                "login.decryption names the keys that FranceConnect+ encrypts to, and stands nowhere else",
            );
        }
        Ok(())
    }

    pub(super) fn scope(&self) -> &str {
        self.scope.as_deref().unwrap_or(self.kind.scope())
    }

    /// The `acr_values` to ask for; `None` where this provider asserts nothing of the kind. Of people the weakest that is
    /// enough, since FranceConnect takes one; of officers all that are.
    pub(crate) fn acr_values(&self, wanted: Wanted) -> Option<String> {
        match wanted {
            Wanted::Person(least) => {
                let enough = self.levels.iter().filter(|(_, level)| **level >= least);
                enough
                    .min_by_key(|(_, level)| **level)
                    .map(|(value, _)| value.clone())
            }
            Wanted::Officer(least) => {
                let enough = self.officers.iter().filter(|(_, assurance)| **assurance >= least);
                let mut enough: Vec<_> = enough.collect();
                enough.sort_by_key(|(_, assurance)| **assurance);
                let values: Vec<&str> = enough.into_iter().map(|(value, _)| value.as_str()).collect();
                (!values.is_empty()).then(|| values.join(" "))
            }
        }
    }

    /// The least that it logs anybody in for.
    pub(crate) const fn least(&self) -> Wanted {
        match self.kind {
            ProviderKind::FranceConnect | ProviderKind::FranceConnectPlus => Wanted::Person(Acr::Eidas1),
            ProviderKind::ProConnect => Wanted::Officer(OfficerAssurance::Identified),
        }
    }
}

/// Whom a login is begun for, and how sure it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A person, at this level or above.
    Person(Acr),
    /// An officer, of this assurance or above.
    Officer(OfficerAssurance),
}

impl Wanted {
    /// The word in addresses and in the database; the two lists share none.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Person(acr) => acr.as_str(),
            Self::Officer(assurance) => assurance.as_str(),
        }
    }
}

impl FromStr for Wanted {
    type Err = UnknownWord;

    fn from_str(s: &str) -> Result<Self, UnknownWord> {
        let person = s.parse().map(Self::Person);
        person.or_else(|_| s.parse().map(Self::Officer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> ProviderConfig {
        let text = format!(
            r#"{{"name": "n", "label": "l", "issuer": "https://i", "client_id": "c", "client_secret": "s", {more}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn i10_a_kind_asserts_its_own_levels_alone() {
        for wrong in [
            r#""levels": {}"#,
            r#""levels": {"eidas1": "eidas1", "eidas2": "eidas2"}"#,
            r#""levels": {"eidas1": "eidas2"}"#,
            r#""levels": {"eidas1": "eidas1"}, "officers": {"a": "identified"}"#,
            r#""levels": {"eidas1": "eidas1"}, "decryption": ["k"]"#,
            r#""kind": "franceconnect+", "levels": {"eidas1": "eidas1"}, "decryption": ["k"]"#,
            r#""kind": "franceconnect+", "levels": {"eidas2": "eidas2"}"#,
            r#""kind": "proconnect", "levels": {"eidas1": "eidas1"}, "officers": {"a": "identified"}"#,
            r#""kind": "proconnect""#,
            r#""levels": {"eidas1": "eidas1"}, "people": false"#,
            r#""kind": "proconnect", "officers": {"a": "identified"}, "people": true"#,
        ] {
            assert!(config(wrong).check().is_err(), "{wrong}");
        }
        for right in [
            r#""levels": {"eidas1": "eidas1"}"#,
            r#""levels": {"eidas1": "eidas1"}, "people": true"#,
            r#""kind": "franceconnect+", "levels": {"eidas2": "eidas2", "eidas3": "eidas3"}, "decryption": ["k"]"#,
            r#""kind": "proconnect", "officers": {"a": "identified", "b": "certified"}"#,
        ] {
            assert_eq!(config(right).check(), Ok(()), "{right}");
        }
    }

    #[test]
    fn the_least_that_is_enough_is_asked_for() {
        let plus = config(r#""kind": "franceconnect+", "levels": {"eidas3": "eidas3", "eidas2": "eidas2"}"#);
        let asked = |wanted: &str| plus.acr_values(wanted.parse().unwrap());
        assert_eq!(asked("eidas1").as_deref(), Some("eidas2"));
        assert_eq!(asked("eidas3").as_deref(), Some("eidas3"));
        assert_eq!(asked("identified"), None, "no officer");
        let pro = config(r#""kind": "proconnect", "officers": {"a": "certified", "b": "identified"}"#);
        let asked = |wanted: &str| pro.acr_values(wanted.parse().unwrap());
        assert_eq!(asked("identified").as_deref(), Some("b a"));
        assert_eq!(asked("certified").as_deref(), Some("a"));
        assert_eq!(asked("eidas1"), None, "no person");
        assert!("eidas4".parse::<Wanted>().is_err());
    }
}
