//! The demonstration's world on disk: certificates, keys, directory, catalogue and one folder a process, laid out as
//! `deploy/` lays out real ones.

pub mod crowd;
mod ports;
pub mod spares;

pub use ports::{Member, Ports};

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unefois_core::catalogue::Catalogue;
use unefois_core::directory::{
    Auditor, AuthorityRow, Bilingual, DirectoryDocument, IdentityProvider, Jwk, KeyStatus, LogRow,
    ParticipantKind, ParticipantRow, Quota, TlsKey,
};
use unefois_core::{
    Acr, Habilitation, HabilitationRow, HabilitationSignatures, Micros, OfficerAssurance, ParticipantId,
    Sha256, SignerRole,
};
use unefois_jose::{Pkcs8, SigningKey, Thumbprint, directory};
use unefois_mesh::{Peer, PeerId, SystemRandom};

use self::crowd::Crowd;
use super::idp::IdpKind;
use crate::ca::folder::write_private;
use crate::ca::{Ca, LeafRequest, Profile, Validity};
use crate::command::catalogue::load;
use crate::command::habilitation::{described, sign};
use crate::command::key::{KeyKind, generate_key, read_signing_key};
use crate::failure::{Failure, Kind};

/// The authority's participant.
pub const AUTHORITY: &str = "urn:unefois:participant:13002526500013";
/// The producer of « quotient familial », behind an HTTP API.
pub const CNAF: &str = "urn:unefois:participant:18003506500010";
/// The producer of « statut étudiant », from a folder of cases.
pub const MESR: &str = "urn:unefois:participant:11004401300016";
/// The producer of « revenu fiscal de référence », from a folder of cases.
pub const DGFIP: &str = "urn:unefois:participant:13000495500014";
/// The producer of « attestation de vigilance », about companies, from a folder of cases.
pub const URSSAF: &str = "urn:unefois:participant:90000002700012";
/// The commune that asks.
pub const CLAMART: &str = "urn:unefois:participant:21920023500014";
/// A consumer whose software is not ours.
pub const LYON: &str = "urn:unefois:participant:21690123100011";
/// Where the foreign consumer's browser comes back to.
pub const LYON_BACK: &str = "http://127.0.0.1:9/retour";
/// Where the commune's browser comes back to.
pub const CLAMART_BACK: &str = "http://127.0.0.1:9/dossiers/retour";

const DAY_MS: i64 = 86_400_000;
/// The world, written.
#[derive(Clone, Debug)]
pub struct World {
    /// The folder that holds all of it.
    pub root: PathBuf,
    /// Where everything listens.
    pub ports: Ports,
    /// Keeps them from other worlds.
    _guard: Arc<TcpListener>,
    /// Thumbprint of the key that signs the directory.
    pub pin: Thumbprint,
    /// The identity providers that the authority is registered with, by [`IdpKind`].
    pub idps: [Registered; 3],
    /// Whether the tax authority takes part.
    pub has_dgfip: bool,
    /// The keys that cosign, by [`Member`].
    pub witness_keys: [String; 5],
    /// Thumbprints of the keys that sign habilitations, by [`Member`].
    pub habilitation_keys: [String; 5],
}

/// An identity provider, as the authority is registered with it.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Its issuer URL.
    pub issuer: String,
    /// The secret that the authority shares with it.
    pub secret: String,
}

/// What a world is made for.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The identity providers that are not the world's own, by [`IdpKind`].
    pub issuers: [Option<String>; 3],
    /// Whether the tax authority takes part.
    pub has_dgfip: bool,
    /// Whether the social contributions office takes part, at this port: no process of the demonstration serves it.
    pub urssaf: Option<u16>,
    /// How long a producer releases on one answer of the authority, 200 to 60,000 ms.
    pub lease_ms: u32,
    /// Producers beside those of the demonstration.
    pub crowd: Crowd,
    /// Whether every key has the one that is to follow it beside it (`seal.next.key`), and the directory's document and
    /// its keys lie in `ca/`: what a rotation needs.
    pub spares: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            issuers: [None, None, None],
            has_dgfip: true,
            urssaf: None,
            lease_ms: 1_000,
            crowd: Crowd::default(),
            spares: false,
        }
    }
}

/// One participant as it is made.
struct Made {
    row: ParticipantRow,
}

impl World {
    /// Writes a new world into `root`, an empty folder.
    ///
    /// # Errors
    /// A file cannot be written, or the catalogue is not found in order.
    pub fn create(
        root: &Path,
        setting: Setting,
        now: Micros,
        random: &SystemRandom,
    ) -> Result<Self, Failure> {
        let (ports, guard) = Ports::free()
            .map_err(|e| Failure::new(Kind::CannotWrite, "aucun port n'est libre").because(e))?;
        let mut maker = Maker {
            root,
            now,
            random,
            ca: new_ca(now, random)?,
            members: BTreeMap::new(),
        };
        let catalogue = always_open(&built_in_catalogue()?)?;

        let mut authority = maker.member(
            AUTHORITY,
            "authority",
            Profile::Authority,
            ("Autorité de démonstration", "Demonstration authority"),
        )?;
        authority.row.mesh = vec![format!("localhost:{}", ports.authority)];
        let token_keys = vec![maker.jwk("authority", "token")?];
        let withdrawal_keys = vec![maker.jwk("authority", "withdrawal")?];
        let subject_keys = vec![maker.jwk("authority", "pivot")?];
        for secret in ["subject", "storage"] {
            maker.key("authority", secret, KeyKind::Secret, None)?;
        }
        maker.key(
            "authority",
            IdpKind::FranceConnectPlus.name(),
            KeyKind::Pivot,
            None,
        )?;
        let idps = maker.registrations(setting.issuers.clone(), ports.idp)?;

        let mut cnaf = maker.producer(
            CNAF,
            "cnaf",
            (
                "Caisse nationale des allocations familiales",
                "National family allowance fund",
            ),
        )?;
        cnaf.row.mesh = vec![format!("localhost:{}", ports.cnaf)];
        let mut mesr = maker.producer(
            MESR,
            "mesr",
            (
                "Ministère de l'Enseignement supérieur",
                "Ministry of higher education",
            ),
        )?;
        mesr.row.mesh = vec![format!("localhost:{}", ports.mesr)];
        let mut dgfip = maker.producer(
            DGFIP,
            "dgfip",
            (
                "Direction générale des finances publiques",
                "Directorate General of Public Finances",
            ),
        )?;
        dgfip.row.mesh = vec![format!("localhost:{}", ports.dgfip)];
        let mut clamart = maker.member(
            CLAMART,
            "clamart",
            Profile::Node,
            ("Mairie de Clamart", "Clamart town hall"),
        )?;
        clamart.row.mesh = vec![format!("localhost:{}", ports.clamart)];
        clamart.row.kind = ParticipantKind::Collectivite;
        clamart.row.redirect_uris = vec![CLAMART_BACK.to_owned()];
        maker.key("clamart", "storage", KeyKind::Secret, None)?;
        maker.certificate("clamart", "backoffice", Profile::Client, CLAMART)?;
        let mut lyon = maker.member(LYON, "lyon", Profile::Node, ("Mairie de Lyon", "Lyon town hall"))?;
        lyon.row.kind = ParticipantKind::Collectivite;
        lyon.row.redirect_uris = vec![LYON_BACK.to_owned()];
        let auditor = maker.certificate(
            "auditor",
            "tls",
            Profile::Auditor,
            "urn:unefois:auditor:demonstration",
        )?;

        let mut witness_keys = <[String; 5]>::default();
        let mut habilitation_keys = <[String; 5]>::default();
        let signs = |row: &ParticipantRow| row.habilitation_keys.first().map(Jwk::kid).unwrap_or_default();
        for (member, made) in [
            (Member::Authority, &authority),
            (Member::Cnaf, &cnaf),
            (Member::Mesr, &mesr),
            (Member::Dgfip, &dgfip),
            (Member::Clamart, &clamart),
        ] {
            habilitation_keys[member as usize] = signs(&made.row);
        }
        for member in Member::ALL {
            let name = format!("{}/witness", member.participant());
            witness_keys[member as usize] =
                maker.key(member.name(), "witness", KeyKind::Witness, Some(&name))?;
        }

        let issuer = format!("http://localhost:{}", ports.portal);
        let mut participants = vec![authority.row, cnaf.row, mesr.row, clamart.row, lyon.row];
        if setting.has_dgfip {
            participants.push(dgfip.row);
        }
        if let Some(port) = setting.urssaf {
            let name = ("Urssaf Caisse nationale", "National social contributions office");
            let mut urssaf = maker.producer(URSSAF, "urssaf", name)?;
            urssaf.row.mesh = vec![format!("localhost:{port}")];
            participants.push(urssaf.row);
        }
        participants.extend(maker.crowd(&setting.crowd)?);
        let document = DirectoryDocument {
            version: 1,
            prev: None,
            issued_at: now,
            next_update: now.plus_ms(DAY_MS),
            expires: now.plus_ms(7 * DAY_MS),
            next_directory_key: None,
            lease_ms: setting.lease_ms,
            catalogue_hash: catalogue.hash(),
            authority: AuthorityRow {
                participant: participants[0].id,
                issuer: issuer.clone(),
                portal: issuer.clone(),
                token_keys,
                withdrawal_keys,
                subject_keys,
                identity_providers: IdpKind::ALL
                    .map(|kind| entitled(kind, &idps[kind as usize]))
                    .into_iter()
                    // Whom a file names without a login, the authority itself answers for.
                    .chain([IdentityProvider {
                        issuer: issuer.clone(),
                        acr: vec![Acr::Eidas1],
                        officers: Vec::new(),
                    }])
                    .collect(),
            },
            auditors: vec![Auditor {
                name: "demonstration".to_owned(),
                spki_sha256: auditor,
            }],
            habilitations: maker.signed(habilitations(now, &setting, &catalogue)?)?,
            quotas: quotas(),
            closed_windows: Vec::new(),
            participants,
        };
        let no_key = |e| Failure::new(Kind::Bug, "la clé de l'annuaire n'est pas générée").because(e);
        let directory_key_file = Pkcs8::generate(random.ring()).map_err(no_key)?;
        let directory_key = SigningKey::from_pkcs8(&directory_key_file, random.ring()).map_err(no_key)?;
        let signed = directory::sign(&document, &directory_key)
            .map_err(|e| Failure::new(Kind::Bug, "l'annuaire n'est pas signé").because(e))?;
        let urssaf = setting.urssaf.map(|_| "urssaf");
        for member in ["authority", "cnaf", "mesr", "dgfip", "clamart", "lyon", "auditor"]
            .into_iter()
            .chain(urssaf)
        {
            maker.file(&format!("{member}/directory.jws"), signed.as_bytes())?;
            maker.file(&format!("{member}/catalogue.bin"), catalogue.to_bytes())?;
        }
        if setting.spares {
            maker.spares(&document, &directory_key_file)?;
        }
        maker.detours(&setting.crowd, ports.authority, &document, &directory_key)?;
        maker.file("ca/ca.pem", maker.ca.cert_pem().as_bytes())?;
        let crl = maker.ca.crl(now, now.plus_ms(7 * DAY_MS)).map_err(cannot_write)?;
        maker.file("ca/ca.crl", crl.as_bytes())?;
        for (name, text) in super::MESR_CASES {
            maker.file(&format!("mesr/cases/{name}"), text.as_bytes())?;
        }
        if let Some(folder) = urssaf {
            let (name, text) = super::URSSAF_CASE;
            maker.file(&format!("{folder}/cases/{name}"), text.as_bytes())?;
        }
        for (name, text) in super::DGFIP_CASES {
            maker.file(&format!("dgfip/cases/{name}"), text.as_bytes())?;
        }
        let world = Self {
            root: root.to_owned(),
            ports,
            _guard: Arc::new(guard),
            pin: *directory_key.thumbprint(),
            idps,
            has_dgfip: setting.has_dgfip,
            witness_keys,
            habilitation_keys,
        };
        for (member, text) in super::roles::files(&world)? {
            let name = format!("{}/{}.toml", member.name(), member.role());
            maker.file(&name, text.as_bytes())?;
        }
        Ok(world)
    }

    /// The configuration file of one process.
    pub fn file(&self, member: Member) -> PathBuf {
        self.folder(member.name()).join(format!("{}.toml", member.role()))
    }

    /// The folder of one process.
    pub fn folder(&self, member: &str) -> PathBuf {
        self.root.join(member)
    }
}

struct Maker<'a> {
    root: &'a Path,
    now: Micros,
    random: &'a SystemRandom,
    ca: Ca,
    /// The folder of each participant.
    members: BTreeMap<ParticipantId, String>,
}

impl Maker<'_> {
    fn file(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(self.root);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, bytes))
            .map_err(cannot_write)
    }

    fn key(&self, member: &str, name: &str, kind: KeyKind, origin: Option<&str>) -> Result<String, Failure> {
        let path = self.root.join(member).join(format!("{name}.key"));
        Ok(generate_key(kind, &path, origin, self.random)?
            .public
            .unwrap_or_default())
    }

    /// Draws a secret for each identity provider, and leaves it where the authority's file names it.
    fn registrations(&self, issuers: [Option<String>; 3], port: u16) -> Result<[Registered; 3], Failure> {
        let registered = |kind: IdpKind| -> Result<Registered, Failure> {
            let random: &dyn unefois_core::Random = self.random;
            let secret = Sha256::from_bytes(random.bytes()).to_string();
            let path = self.root.join(format!("authority/{}.secret", kind.name()));
            write_private(&path, &secret).map_err(cannot_write)?;
            let own = || format!("http://127.0.0.1:{port}{}", kind.path());
            Ok(Registered {
                issuer: issuers[kind as usize].clone().unwrap_or_else(own),
                secret,
            })
        };
        let [fc, fcp, pro] = IdpKind::ALL;
        Ok([registered(fc)?, registered(fcp)?, registered(pro)?])
    }

    fn jwk(&self, member: &str, name: &str) -> Result<Jwk, Failure> {
        let kind = if name == "pivot" {
            KeyKind::Pivot
        } else {
            KeyKind::Signing
        };
        let public = self.key(member, name, kind, None)?;
        serde_json::from_str(&public)
            .map_err(|e| Failure::new(Kind::Bug, "une clé publique n'est pas relue").because(e))
    }

    /// Issues a certificate into `member/name.pem`; its key's digest, as the directory lists it.
    fn certificate(
        &mut self,
        member: &str,
        name: &str,
        profile: Profile,
        identity: &str,
    ) -> Result<Sha256, Failure> {
        let named = matches!(profile, Profile::Node | Profile::Authority);
        let request = LeafRequest {
            profile,
            identity: identity.parse::<PeerId>().ok(),
            common_name: member.to_owned(),
            names: if named {
                vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
            } else {
                Vec::new()
            },
            validity: Validity::days(self.now, 30),
        };
        let issued = self.ca.issue(&request, self.random).map_err(cannot_write)?;
        self.file(&format!("{member}/{name}.pem"), issued.cert_pem.as_bytes())?;
        write_private(
            &self.root.join(member).join(format!("{name}.key")),
            &issued.key_pem,
        )
        .map_err(cannot_write)?;
        let peer = Peer::from_der(&issued.cert_der);
        peer.map(|peer| peer.spki_sha256)
            .map_err(|e| Failure::new(Kind::Bug, "un certificat n'est pas relu").because(e))
    }

    fn member(
        &mut self,
        id: &str,
        member: &str,
        profile: Profile,
        (fr, en): (&str, &str),
    ) -> Result<Made, Failure> {
        std::fs::create_dir_all(self.root.join(member)).map_err(cannot_write)?;
        let spki_sha256 = self.certificate(member, "tls", profile, id)?;
        let origin = format!("{id}/1");
        let vkey = self.key(member, "ledger", KeyKind::Ledger, Some(&origin))?;
        self.key(member, "node", KeyKind::Secret, None)?;
        let habilitation_key = self.jwk(member, "habilitation")?;
        let id: ParticipantId = id
            .parse()
            .map_err(|e| Failure::new(Kind::Bug, "un participant est mal nommé").because(e))?;
        self.members.insert(id, member.to_owned());
        Ok(Made {
            row: ParticipantRow {
                id,
                name: Bilingual {
                    fr: fr.to_owned(),
                    en: en.to_owned(),
                },
                kind: ParticipantKind::Administration,
                mesh: Vec::new(),
                public_url: None,
                dpo: format!("dpo@{member}.example"),
                redirect_uris: Vec::new(),
                tls: vec![TlsKey {
                    spki_sha256,
                    status: KeyStatus::Current,
                }],
                seal_keys: Vec::new(),
                pivot_keys: Vec::new(),
                logs: vec![LogRow { origin, vkey }],
                habilitation_keys: vec![habilitation_key],
                publishers: Vec::new(),
            },
        })
    }

    /// Has all three sign each habilitation, each with the key in its folder.
    fn signed(&self, habilitations: Vec<Habilitation>) -> Result<Vec<HabilitationRow>, Failure> {
        let mut rows = Vec::new();
        for habilitation in habilitations {
            let mut row = HabilitationRow {
                habilitation,
                signatures: HabilitationSignatures::default(),
            };
            for role in SignerRole::ALL {
                let signer = row.habilitation.party(role);
                let member = self.members.get(&signer).map_or("", String::as_str);
                let key = read_signing_key(&self.root.join(member).join("habilitation.key"), self.random)?;
                sign(&mut row, role, &key)?;
            }
            rows.push(row);
        }
        Ok(rows)
    }

    fn producer(&mut self, id: &str, member: &str, name: (&str, &str)) -> Result<Made, Failure> {
        let mut made = self.member(id, member, Profile::Node, name)?;
        made.row.seal_keys = vec![self.jwk(member, "seal")?];
        made.row.pivot_keys = vec![self.jwk(member, "pivot")?];
        Ok(made)
    }
}

fn new_ca(now: Micros, random: &SystemRandom) -> Result<Ca, Failure> {
    Ca::new(
        "Autorité de certification de démonstration",
        Validity::days(now, 365),
        random,
    )
    .map_err(cannot_write)
}

fn cannot_write(error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::CannotWrite, "le monde de démonstration n'est pas écrit").because(error)
}

/// The catalogue of this repository, compiled into the program.
///
/// # Errors
/// A file of it is wrong; a test keeps that from happening.
pub fn built_in_catalogue() -> Result<Catalogue, Failure> {
    let files: Vec<(String, String)> = super::CATALOGUE
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    load(&files).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        Failure::new(Kind::Data, "le catalogue est invalide").because(first)
    })
}

/// The same catalogue without the hours at which sources are closed: a demonstration is told at any hour.
fn always_open(catalogue: &Catalogue) -> Result<Catalogue, Failure> {
    let invalid =
        |e: &dyn std::fmt::Display| Failure::new(Kind::Data, "le catalogue est invalide").because(e);
    let mut compiled: serde_json::Value =
        serde_json::from_slice(catalogue.to_bytes()).map_err(|e| invalid(&e))?;
    let datatypes = compiled["datatypes"].as_array_mut();
    for datatype in datatypes.into_iter().flatten() {
        datatype["closed_windows"] = serde_json::json!([]);
    }
    let bytes = serde_json::to_vec(&compiled).map_err(|e| invalid(&e))?;
    Catalogue::from_bytes(&bytes, &Sha256::of(&bytes)).map_err(|e| invalid(&e))
}

/// What the directory lets an identity provider of this kind assert.
fn entitled(kind: IdpKind, registered: &Registered) -> IdentityProvider {
    let (acr, officers) = match kind {
        IdpKind::FranceConnect => (vec![Acr::Eidas1], Vec::new()),
        IdpKind::FranceConnectPlus => (vec![Acr::Eidas2, Acr::Eidas3], Vec::new()),
        IdpKind::ProConnect => (Vec::new(), OfficerAssurance::ALL.to_vec()),
    };
    IdentityProvider {
        issuer: registered.issuer.clone(),
        acr,
        officers,
    }
}

fn habilitations(
    now: Micros,
    setting: &Setting,
    catalogue: &Catalogue,
) -> Result<Vec<Habilitation>, Failure> {
    let bounds = (
        now.plus_ms(-DAY_MS).to_rfc3339(),
        now.plus_ms(365 * DAY_MS).to_rfc3339(),
    );
    let mut rows = Vec::new();
    for (consumer, place) in [(CLAMART, "clamart"), (LYON, "lyon")] {
        rows.push(serde_json::json!({
            "id": format!("DEMO-{place}-qf"), "consumer": consumer, "producer": CNAF, "demarche": "cantine",
            "datatypes": [{ "datatype": "cnaf/quotient-familial@1", "units": ["valeur", "composition"] }],
            "legal_bases": ["CRPA-L114-8-I"], "not_before": bounds.0, "not_after": bounds.1,
        }));
        rows.push(serde_json::json!({
            "id": format!("DEMO-{place}-etudiant"), "consumer": consumer, "producer": MESR, "demarche": "cantine",
            "datatypes": [{ "datatype": "mesr/statut-etudiant@1", "units": ["inscription", "etablissement"] }],
            "legal_bases": ["CRPA-L114-8-I"], "not_before": bounds.0, "not_after": bounds.1,
        }));
        if setting.has_dgfip {
            rows.push(serde_json::json!({
                "id": format!("DEMO-{place}-rfr"), "consumer": consumer, "producer": DGFIP, "demarche": "cantine",
                "datatypes": [{ "datatype": "dgfip/revenu-fiscal-de-reference@1", "units": ["revenu", "foyer"] }],
                "legal_bases": ["CRPA-L114-8-I"], "not_before": bounds.0, "not_after": bounds.1,
            }));
        }
    }
    rows.push(serde_json::json!({
        "id": "DEMO-clamart-information", "consumer": CLAMART, "producer": CNAF, "demarche": "transports-information",
        "datatypes": [{ "datatype": "cnaf/quotient-familial@1", "units": ["valeur"] }],
        "legal_bases": ["CRPA-L114-8-II"], "not_before": bounds.0, "not_after": bounds.1,
    }));
    if setting.urssaf.is_some() {
        rows.push(serde_json::json!({
            "id": "DEMO-clamart-vigilance", "consumer": CLAMART, "producer": URSSAF, "demarche": "marche-public",
            "datatypes": [{
                "datatype": "urssaf/attestation-de-vigilance@1", "units": ["statut", "attestation"],
            }],
            "legal_bases": ["CRPA-L114-8-I"], "not_before": bounds.0, "not_after": bounds.1,
        }));
    }
    let mut rows: Vec<serde_json::Map<_, _>> = serde_json::from_value(rows.into()).map_err(badly_written)?;
    for row in &mut rows {
        row.insert("authority".to_owned(), AUTHORITY.into());
    }
    rows.into_iter()
        .map(|members| described(members, catalogue).map_err(badly_written))
        .collect()
}

fn badly_written(error: serde_json::Error) -> Failure {
    Failure::new(Kind::Bug, "une habilitation est mal écrite").because(error)
}

fn quotas() -> Vec<Quota> {
    let mut rows = Vec::new();
    for consumer in [CLAMART, LYON] {
        for datatype in [
            "cnaf/quotient-familial@1",
            "mesr/statut-etudiant@1",
            "dgfip/revenu-fiscal-de-reference@1",
            "urssaf/attestation-de-vigilance@1",
        ] {
            if let (Ok(consumer), Ok(datatype)) = (consumer.parse(), datatype.parse()) {
                rows.push(Quota {
                    consumer,
                    datatype,
                    per_minute: 2_000,
                });
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::catalogue::read_folder;

    #[test]
    fn the_catalogue_compiled_in_is_the_folder_s() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalogue");
        let files = read_folder(&folder).unwrap();
        let compiled: Vec<(String, String)> = super::super::CATALOGUE
            .iter()
            .map(|(p, t)| ((*p).to_owned(), (*t).to_owned()))
            .collect();
        assert_eq!(compiled, files);
        let built_in = built_in_catalogue().unwrap();
        let closes = |catalogue: &Catalogue| {
            let mut datatypes = catalogue.datatypes();
            datatypes.any(|datatype| !datatype.sheet().closed_windows.is_empty())
        };
        assert!(closes(&built_in) && !closes(&always_open(&built_in).unwrap()));
    }

    #[test]
    fn the_world_is_written_and_its_directory_verifies() {
        let folder = tempfile::tempdir().unwrap();
        let now = Micros::from_secs(1_795_512_305);
        let world = World::create(folder.path(), Setting::default(), now, &SystemRandom::new()).unwrap();
        let text = std::fs::read_to_string(world.folder("cnaf").join("directory.jws")).unwrap();
        let directory = directory::verify(&text, &world.pin).unwrap();
        assert!(directory.participant(&CNAF.parse().unwrap()).is_some());
        assert!(directory.participant(&LYON.parse().unwrap()).is_some());
    }
}
