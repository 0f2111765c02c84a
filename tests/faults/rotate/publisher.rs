//! Who signs the directory of the run, and hands out keys.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use unefois::demo::world::spares::Spares;
use unefois::demo::world::{AUTHORITY, CLAMART, CNAF, Member, World};
use unefois_core::directory::{DirectoryDocument, Jwk, KeyStatus, ParticipantRow, TlsKey};
use unefois_core::{ParticipantId, Sha256, SignerRole};
use unefois_jose::{Pkcs8, SigningKey, directory, habilitation};
use unefois_mesh::SystemRandom;
use zeroize::Zeroizing;

/// How long a directory may take to every node.
const PUSHED_WITHIN: Duration = Duration::from_secs(120);
/// Fetches a minute of the commune: more than it makes.
const PER_MINUTE: u32 = 100_000;

/// The directory's own operator.
pub(super) struct Publisher {
    root: PathBuf,
    document: DirectoryDocument,
    key: SigningKey,
    random: SystemRandom,
}

/// What a new version of the directory changes.
pub(super) struct Which(fn(&mut Publisher) -> anyhow::Result<()>);

impl Which {
    /// Every next key stands behind the present one.
    pub(super) fn announced() -> Self {
        Self(Publisher::announce)
    }

    /// The producer's next seal key comes first.
    pub(super) fn seals_next() -> Self {
        Self(|publisher| {
            publisher.row(CNAF)?.seal_keys.reverse();
            Ok(())
        })
    }

    /// Identities are sealed to the producer's next key.
    pub(super) fn pivots_next() -> Self {
        Self(|publisher| {
            publisher.row(CNAF)?.pivot_keys.reverse();
            Ok(())
        })
    }

    /// The authority's next key signs tokens.
    pub(super) fn tokens_next() -> Self {
        Self(|publisher| {
            publisher.document.authority.token_keys.reverse();
            Ok(())
        })
    }

    /// The authority's next key signs withdrawals.
    pub(super) fn withdrawals_next() -> Self {
        Self(|publisher| {
            publisher.document.authority.withdrawal_keys.reverse();
            Ok(())
        })
    }

    /// Every habilitation is signed again, by the next keys of those who have one.
    pub(super) fn habilitations_next() -> Self {
        Self(Publisher::sign_habilitations)
    }

    /// No further key of directories is announced.
    pub(super) fn nothing_announced() -> Self {
        Self(|publisher| {
            publisher.document.next_directory_key = None;
            Ok(())
        })
    }

    /// Only the next keys are left; of tokens, both.
    pub(super) fn old_dropped() -> Self {
        Self(Publisher::drop_old)
    }
}

impl Publisher {
    /// Of a world with spare keys.
    pub(super) fn of(world: &World) -> anyhow::Result<Self> {
        let document = std::fs::read(world.root.join("ca/directory.json"))?;
        let random = SystemRandom::new();
        Ok(Self {
            root: world.root.clone(),
            document: serde_json::from_slice(&document)?,
            key: read_key(&world.root.join("ca/directory.key"), &random)?,
            random,
        })
    }

    /// Signs and publishes the next version, and waits until every node has taken it up.
    pub(super) async fn change(&mut self, which: Which) -> anyhow::Result<()> {
        self.document.prev = Some(Sha256::of(&serde_json::to_vec(&self.document)?));
        self.document.version += 1;
        (which.0)(self)?;
        let signed = directory::sign(&self.document, &self.key)?;
        let place = self.root.join("authority/directory.jws");
        put(&place, signed.as_bytes())?;
        let held = |member: &str| {
            let file = std::fs::read(self.root.join(member).join("directory.jws"));
            file.is_ok_and(|file| file == signed.as_bytes())
        };
        let pushed = async {
            let mut look = tokio::time::interval(Duration::from_millis(10));
            while !(held("cnaf") && held("clamart")) {
                look.tick().await;
            }
        };
        let pushed = tokio::time::timeout(PUSHED_WITHIN, pushed).await;
        pushed.with_context(|| format!("version {} is not taken up", self.document.version))
    }

    /// Puts a member's next certificate and key where its process reads them.
    pub(super) fn replace_certificate(&self, member: Member) -> anyhow::Result<()> {
        let folder = self.root.join(member.name());
        for (next, place) in [("tls.next.key", "tls.key"), ("tls.next.pem", "tls.pem")] {
            put(&folder.join(place), &std::fs::read(folder.join(next))?)?;
        }
        Ok(())
    }

    /// From now on the announced key signs directories.
    pub(super) fn sign_with_next(&mut self) -> anyhow::Result<()> {
        let next = read_key(&self.root.join("ca/directory.next.key"), &self.random)?;
        // As its operator does before a restart, or a command, finds the next key's signature.
        let config = self.root.join("authority/authority.toml");
        let text = std::fs::read_to_string(&config)?;
        let text = text.replace(&self.key.thumbprint().to_string(), &next.thumbprint().to_string());
        put(&config, text.as_bytes())?;
        self.key = next;
        Ok(())
    }

    /// The directory as it was last signed.
    pub(super) fn document(&self) -> &DirectoryDocument {
        &self.document
    }

    /// The key that signs tokens since it followed the first one.
    pub(super) fn token_key(&self) -> anyhow::Result<SigningKey> {
        read_key(&self.root.join("authority/token.next.key"), &self.random)
    }

    /// The name of the key that signs tokens at present.
    pub(super) fn token_kid(&self) -> anyhow::Result<String> {
        let first = self.document.authority.token_keys.first();
        Ok(first.context("the authority signs tokens")?.kid())
    }

    /// The thumbprints by which a producer knows its habilitations, as its configuration takes them.
    pub(super) fn pins(&self, member: Member) -> String {
        let own: Option<ParticipantId> = member.participant().parse().ok();
        let row = self.document.participants.iter().find(|row| Some(row.id) == own);
        let present = row
            .into_iter()
            .flat_map(|row| row.habilitation_keys.iter().map(Jwk::kid));
        let next = self
            .spares(member.name())
            .ok()
            .and_then(|mut spares| spares.keys.remove("habilitation"));
        let all: Vec<String> = present
            .chain(next.map(|key| key.kid()))
            .map(|kid| format!("\"{kid}\""))
            .collect();
        format!("[{}]", all.join(", "))
    }

    fn spares(&self, member: &str) -> anyhow::Result<Spares> {
        let text = std::fs::read(self.root.join(member).join("spares.json"))?;
        Ok(serde_json::from_slice(&text)?)
    }

    fn row(&mut self, id: &str) -> anyhow::Result<&mut ParticipantRow> {
        let id: ParticipantId = id.parse()?;
        let row = self.document.participants.iter_mut().find(|row| row.id == id);
        row.context("a participant has no row")
    }

    fn announce(&mut self) -> anyhow::Result<()> {
        // On a fast machine the commune fetches more in a minute than the demonstration's quota, which has nothing to do
        // with keys.
        for quota in &mut self.document.quotas {
            quota.per_minute = PER_MINUTE;
        }
        for (id, member) in [(AUTHORITY, "authority"), (CNAF, "cnaf"), (CLAMART, "clamart")] {
            let mut spares = self.spares(member)?;
            let mut next = |name: &str| spares.keys.remove(name);
            let (token, withdrawal) = (next("token"), next("withdrawal"));
            let (seal, pivot, signs) = (next("seal"), next("pivot"), next("habilitation"));
            self.document.authority.token_keys.extend(token);
            self.document.authority.withdrawal_keys.extend(withdrawal);
            let tls = TlsKey {
                spki_sha256: spares.tls.parse()?,
                status: KeyStatus::Next,
            };
            let row = self.row(id)?;
            row.seal_keys.extend(seal);
            row.pivot_keys.extend(pivot);
            row.habilitation_keys.extend(signs);
            row.tls.push(tls);
        }
        let next = read_key(&self.root.join("ca/directory.next.key"), &self.random)?;
        self.document.next_directory_key = Some(next.thumbprint().to_string());
        Ok(())
    }

    fn sign_habilitations(&mut self) -> anyhow::Result<()> {
        let mut keys = Vec::new();
        for (id, member) in [(AUTHORITY, "authority"), (CNAF, "cnaf"), (CLAMART, "clamart")] {
            let id: ParticipantId = id.parse()?;
            keys.push((
                id,
                read_key(
                    &self.root.join(member).join("habilitation.next.key"),
                    &self.random,
                )?,
            ));
        }
        for row in &mut self.document.habilitations {
            for role in SignerRole::ALL {
                let signer = row.habilitation.party(role);
                if let Some((_, key)) = keys.iter().find(|(id, _)| *id == signer) {
                    row.signatures
                        .set(role, habilitation::sign(&row.habilitation, role, key)?);
                }
            }
        }
        Ok(())
    }

    fn drop_old(&mut self) -> anyhow::Result<()> {
        self.document.authority.withdrawal_keys.truncate(1);
        for id in [AUTHORITY, CNAF, CLAMART] {
            let row = self.row(id)?;
            row.seal_keys.truncate(1);
            row.pivot_keys.truncate(1);
            row.habilitation_keys.remove(0);
            let mut next = row.tls.pop().context("a participant has a key")?;
            next.status = KeyStatus::Current;
            row.tls = vec![next];
        }
        Ok(())
    }
}

/// Replaces a file, whole or not at all.
fn put(place: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let next = place.with_extension("put");
    std::fs::write(&next, bytes)?;
    std::fs::rename(next, place)?;
    Ok(())
}

fn read_key(path: &Path, random: &SystemRandom) -> anyhow::Result<SigningKey> {
    let pkcs8 = Pkcs8::from_file(Zeroizing::new(std::fs::read(path)?))?;
    Ok(SigningKey::from_pkcs8(&pkcs8, random.ring())?)
}
