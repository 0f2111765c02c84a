//! The kinds of certificate, read from `certs/profiles.toml`.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use rcgen::ExtendedKeyUsagePurpose;
use serde::Deserialize;
use unefois_mesh::PeerId;

use super::{Error, LeafRequest};

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A participant's node, both ends of connections.
    Node,
    /// The authority.
    Authority,
    /// A back-office system of a participant, towards its own node.
    Client,
    /// A reader of ledgers.
    Auditor,
    /// The portal, towards browsers.
    Web,
}

/// The text is not the name of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a profile is one of node, authority, client, auditor, web")]
pub struct UnknownProfile;

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 5] = [
        Self::Node,
        Self::Authority,
        Self::Client,
        Self::Auditor,
        Self::Web,
    ];

    /// Its name in `certs/profiles.toml` and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Authority => "authority",
            Self::Client => "client",
            Self::Auditor => "auditor",
            Self::Web => "web",
        }
    }

    /// What `certs/profiles.toml` says of it.
    pub fn spec(self) -> &'static Spec {
        static SPECS: LazyLock<Specs> = LazyLock::new(|| {
            let text = include_str!("../../../../certs/profiles.toml");
            toml::from_str(text).expect("a test reads the file that is compiled in")
        });
        match self {
            Self::Node => &SPECS.node,
            Self::Authority => &SPECS.authority,
            Self::Client => &SPECS.client,
            Self::Auditor => &SPECS.auditor,
            Self::Web => &SPECS.web,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(s: &str) -> Result<Self, UnknownProfile> {
        Self::ALL
            .into_iter()
            .find(|p| p.as_str() == s)
            .ok_or(UnknownProfile)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Specs {
    node: Spec,
    authority: Spec,
    client: Spec,
    auditor: Spec,
    web: Spec,
}

/// One profile of `certs/profiles.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    usage: Vec<Usage>,
    identity: Identity,
    names: Names,
    /// Days of validity where none are asked for.
    pub days: u32,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Usage {
    #[serde(rename = "serverAuth")]
    ServerAuth,
    #[serde(rename = "clientAuth")]
    ClientAuth,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Identity {
    Participant,
    Auditor,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Names {
    Required,
    None,
}

impl Spec {
    pub(super) fn usages(&self) -> Vec<ExtendedKeyUsagePurpose> {
        let purpose = |usage: &Usage| match usage {
            Usage::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
        };
        self.usage.iter().map(purpose).collect()
    }

    pub(super) fn check(&self, request: &LeafRequest) -> Result<(), Error> {
        let profile = request.profile;
        let wrong_identity = |wanted| Err(Error::WrongIdentity { profile, wanted });
        match (self.identity, &request.identity) {
            (Identity::Participant, Some(PeerId::Participant(_)))
            | (Identity::Auditor, Some(PeerId::Auditor(_)))
            | (Identity::None, None) => {}
            (Identity::Participant, _) => return wrong_identity("a participant by its SIRET"),
            (Identity::Auditor, _) => return wrong_identity("an auditor"),
            (Identity::None, Some(_)) => return wrong_identity("nobody"),
        }
        match (self.names, request.names.is_empty()) {
            (Names::Required, true) => Err(Error::WrongNames {
                profile,
                rule: "needs",
            }),
            (Names::None, false) => Err(Error::WrongNames {
                profile,
                rule: "holds no",
            }),
            (Names::Required, false) | (Names::None, true) => Ok(()),
        }
    }
}
