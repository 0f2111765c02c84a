//! The directory follower: what it refuses, and what it keeps on disk.

use std::path::PathBuf;

use unefois_core::catalogue::{Catalogue, CatalogueError};
use unefois_core::directory::{
    AuthorityRow, Bilingual, DirectoryDocument, DirectoryError, Jwk, KeyStatus, ParticipantKind,
    ParticipantRow, TlsKey,
};
use unefois_core::{Clock as _, Micros, ParticipantId, Sha256};
use unefois_jose::{SigningKey, directory};
use unefois_mesh::{
    DirectoryConfig, DirectoryFollower, FollowError, Peer, PeerId, PeerRefusal, Serial, SystemClock,
    SystemRandom, admit,
};

const DAY_MS: i64 = 86_400_000;

fn authority() -> ParticipantId {
    "urn:unefois:participant:13002526500013"
        .parse()
        .expect("a participant")
}

struct Scene {
    folder: tempfile::TempDir,
    key: SigningKey,
    document: DirectoryDocument,
    catalogue: Catalogue,
}

impl Scene {
    fn new() -> Self {
        let key = SigningKey::generate(SystemRandom::new().ring()).expect("a key");
        let catalogue = Catalogue::load(&[]).expect("an empty catalogue");
        let jwk = Jwk::from_sec1(key.verifying_key().public().point()).expect("a point");
        let now = SystemClock.now();
        let row = ParticipantRow {
            id: authority(),
            name: Bilingual {
                fr: "Essai".into(),
                en: "Test".into(),
            },
            kind: ParticipantKind::Administration,
            mesh: vec!["127.0.0.1:1".into()],
            public_url: None,
            dpo: "mailto:dpo@example.org".into(),
            redirect_uris: vec![],
            tls: vec![TlsKey {
                spki_sha256: Sha256::of(b"key"),
                status: KeyStatus::Current,
            }],
            seal_keys: vec![],
            pivot_keys: vec![],
            logs: vec![],
            publishers: vec![],
        };
        let document = DirectoryDocument {
            version: 1,
            prev: None,
            issued_at: now,
            next_update: now.plus_ms(DAY_MS),
            expires: now.plus_ms(2 * DAY_MS),
            lease_ms: 1_000,
            catalogue_hash: catalogue.hash(),
            participants: vec![row],
            authority: AuthorityRow {
                participant: authority(),
                issuer: "https://autorite.example".into(),
                portal: "https://autorite.example".into(),
                token_keys: vec![jwk.clone()],
                withdrawal_keys: vec![jwk],
                subject_keys: vec![],
                identity_providers: vec![],
            },
            auditors: vec![],
            habilitations: vec![],
            quotas: vec![],
            closed_windows: vec![],
        };
        let scene = Self {
            folder: tempfile::tempdir().expect("a folder"),
            key,
            document,
            catalogue,
        };
        std::fs::write(scene.path("directory.jws"), scene.sign()).expect("a file");
        std::fs::write(scene.path("catalogue.json"), scene.catalogue.to_bytes()).expect("a file");
        scene
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn sign(&self) -> String {
        directory::sign(&self.document, &self.key).expect("a sound directory")
    }

    /// The next version.
    fn next(&mut self, lease_ms: u32) -> String {
        self.document.prev = Some(Sha256::of(&serde_json::to_vec(&self.document).expect("JSON")));
        self.document.version += 1;
        self.document.lease_ms = lease_ms;
        self.sign()
    }

    fn load(&self) -> Result<DirectoryFollower, FollowError> {
        DirectoryFollower::load(DirectoryConfig {
            file: self.path("directory.jws"),
            catalogue: self.path("catalogue.json"),
            key: self.key.thumbprint().to_string(),
        })
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut scene = Scene::new();
    let first = scene.sign();
    let follower = scene.load().expect("the files are good");
    let second = scene.next(2_000);
    assert!(
        follower
            .offer(&second, scene.catalogue.to_bytes())
            .expect("newer")
    );

    let offer = |jws: &str, catalogue: &[u8]| follower.offer(jws, catalogue).expect_err("a refusal");
    let whole = &scene.catalogue.to_bytes().to_vec();
    assert!(matches!(
        offer(&first, whole),
        FollowError::Succession(DirectoryError::Rollback { held: 2, offered: 1 })
    ));
    let mut fork = DirectoryDocument {
        lease_ms: 3_000,
        ..scene.document.clone()
    };
    let fork_text = directory::sign(&fork, &scene.key).expect("a directory");
    assert!(matches!(
        offer(&fork_text, whole),
        FollowError::Succession(DirectoryError::Fork(2))
    ));
    fork.version = 3;
    let unchained = directory::sign(&fork, &scene.key).expect("a directory");
    assert!(matches!(
        offer(&unchained, whole),
        FollowError::Succession(DirectoryError::BrokenChain(3))
    ));
    let stranger = SigningKey::generate(SystemRandom::new().ring()).expect("a key");
    let forged = directory::sign(&fork, &stranger).expect("a directory");
    assert!(matches!(offer(&forged, whole), FollowError::Refused(_)));
    assert!(matches!(offer("{}", whole), FollowError::Refused(_)));
    let third = scene.next(4_000);
    assert!(matches!(
        offer(&third, b"{}"),
        FollowError::Catalogue(CatalogueError::OtherBytes)
    ));

    assert_eq!(follower.edition().directory.lease_ms(), 2_000);
    assert!(!follower.offer(&second, whole).expect("the very same"));
    assert_eq!(
        scene
            .load()
            .expect("what is kept is good")
            .edition()
            .directory
            .lease_ms(),
        2_000
    );
}

#[test]
fn a_stop_between_the_two_files_loses_nothing() {
    let mut scene = Scene::new();
    let follower = scene.load().expect("the files are good");
    let second = scene.next(2_000);
    follower
        .offer(&second, scene.catalogue.to_bytes())
        .expect("newer");
    // As if the process had stopped after the directory's replacement and before the catalogue's.
    std::fs::write(scene.path("catalogue.json.next"), scene.catalogue.to_bytes()).expect("a file");
    std::fs::write(scene.path("catalogue.json"), b"the one before").expect("a file");
    assert_eq!(
        scene
            .load()
            .expect("both are there")
            .edition()
            .directory
            .version(),
        2
    );
    std::fs::remove_file(scene.path("catalogue.json.next")).expect("the file was there");
    assert!(scene.load().is_err());
}

#[test]
fn only_a_listed_key_of_a_listed_name_is_let_in_and_nobody_once_expired() {
    let scene = Scene::new();
    let follower = scene.load().expect("the files are good");
    let directory = &follower.edition().directory;
    let now = scene.document.issued_at;
    let peer = |id: PeerId, key: &[u8]| Peer {
        id,
        serial: Serial::from_bytes(&[1]),
        spki_sha256: Sha256::of(key),
        cert_sha256: Sha256::of(b"certificate"),
        not_after: Micros::new(i64::MAX),
    };
    let known = || PeerId::Participant(authority());
    let unknown = PeerId::Participant(
        "urn:unefois:participant:13000495500014"
            .parse()
            .expect("a participant"),
    );
    let auditor = PeerId::Auditor("cnil".to_owned());
    assert_eq!(
        admit(directory, &peer(known(), b"other"), now),
        Err(PeerRefusal::KeyNotInDirectory)
    );
    assert_eq!(
        admit(directory, &peer(unknown, b"key"), now),
        Err(PeerRefusal::NotInDirectory)
    );
    assert_eq!(
        admit(directory, &peer(auditor, b"key"), now),
        Err(PeerRefusal::NotInDirectory)
    );
    assert_eq!(admit(directory, &peer(known(), b"key"), now), Ok(()));
    let expired = now.plus_ms(2 * DAY_MS);
    assert_eq!(
        admit(directory, &peer(known(), b"key"), expired),
        Err(PeerRefusal::StaleDirectory)
    );
}
