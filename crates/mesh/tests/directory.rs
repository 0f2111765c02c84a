//! The directory follower: what it refuses, and what it keeps on disk.

use std::path::PathBuf;

use unefois_core::catalogue::{Catalogue, CatalogueError};
use unefois_core::directory::{
    AuthorityRow, Bilingual, DirectoryDocument, DirectoryError, Jwk, KeyStatus, ParticipantKind,
    ParticipantRow, TlsKey,
};
use unefois_core::{Clock as _, Micros, ParticipantId, Sha256};
use unefois_jose::{SignedDocument, SigningKey, directory};
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
            habilitation_keys: vec![],
            publishers: vec![],
        };
        let document = DirectoryDocument {
            version: 1,
            prev: None,
            issued_at: now,
            next_update: now.plus_ms(DAY_MS),
            expires: now.plus_ms(2 * DAY_MS),
            next_directory_key: None,
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
        self.load_with(None)
    }

    fn load_with(&self, next: Option<&SigningKey>) -> Result<DirectoryFollower, FollowError> {
        DirectoryFollower::load(DirectoryConfig {
            file: self.path("directory.jws"),
            catalogue: self.path("catalogue.json"),
            key: self.key.thumbprint().to_string(),
            next_key: next.map(|key| key.thumbprint().to_string()),
        })
    }

    /// The next version, signed by another key, which announces a further one or none.
    fn next_by(&mut self, key: &SigningKey, announces: Option<&SigningKey>) -> String {
        self.next(1_000);
        self.document.next_directory_key = announces.map(|key| key.thumbprint().to_string());
        directory::sign(&self.document, key).expect("a sound directory")
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
fn a_directory_key_is_followed_by_the_one_that_it_announced_and_by_no_other() {
    let mut scene = Scene::new();
    let key = || SigningKey::generate(SystemRandom::new().ring()).expect("a key");
    let (second, third) = (key(), key());
    let follower = scene.load().expect("the files are good");
    let whole = scene.catalogue.to_bytes().to_vec();
    let refused = |follower: &DirectoryFollower, jws: &str| {
        let refused = follower.offer(jws, &whole).expect_err("a refusal");
        assert!(matches!(refused, FollowError::Refused(_)), "{refused:?}");
    };

    let before = scene.document.clone();
    let unannounced = scene.next_by(&second, None);
    refused(&follower, &unannounced);
    scene.document = before;

    scene.next(1_000);
    scene.document.next_directory_key = Some(second.thumbprint().to_string());
    let announcing = scene.sign();
    assert!(follower.offer(&announcing, &whole).expect("newer"));
    let announced = scene.document.clone();
    let stranger = scene.next_by(&third, None);
    refused(&follower, &stranger);
    refused(
        &follower,
        &directory::sign(&scene.document, &key()).expect("a directory"),
    );
    scene.document = announced;
    let handed_over = scene.next_by(&second, None);
    assert!(follower.offer(&handed_over, &whole).expect("newer"));

    // A start whose configuration names the first key alone finds why the second is believed.
    let started = scene.load().expect("the announcement is kept");
    assert_eq!(started.edition().directory.version(), 3);
    let again = scene.next_by(&second, Some(&third));
    assert!(started.offer(&again, &whole).expect("it goes on signing"));
    let further = scene.next_by(&third, None);
    assert!(started.offer(&further, &whole).expect("newer"));
    assert_eq!(
        scene.load().expect("both are kept").edition().directory.version(),
        5
    );
    assert!(scene.load_with(Some(&second)).is_ok());
    // The configuration follows one of the two changes: what the first key announced says nothing any more.
    let configured = std::mem::replace(&mut scene.key, second);
    scene.load().expect("the second announced the third");
    scene.key = configured;
    // Whoever has the first key by now signs nothing more.
    let mut by_the_first = scene.document.clone();
    by_the_first.version += 2;
    let by_the_first = directory::sign(&by_the_first, &scene.key).expect("a directory");
    refused(&started, &by_the_first);
    // Nobody announces a key to a file.
    let place = scene.path("directory.jws.announced");
    let kept = std::fs::read(&place).expect("the file is there");
    let forged = SignedDocument::sign(&third, directory::TYP, b"{}").expect("a signature");
    let forged = serde_json::to_vec(&[forged.to_json().expect("JSON")]).expect("JSON");
    std::fs::write(&place, forged).expect("a file");
    assert!(scene.load().is_err());
    std::fs::write(&place, kept).expect("a file");
    scene.load().expect("as it was");
    std::fs::remove_file(scene.path("directory.jws.announced")).expect("the file is there");
    assert!(scene.load().is_err());
    scene.load_with(Some(&third)).expect("it is named");
}

#[test]
fn a_configured_key_is_believed_no_more_once_the_configured_next_one_has_signed() {
    let mut scene = Scene::new();
    let second = SigningKey::generate(SystemRandom::new().ring()).expect("a key");
    let follower = scene.load_with(Some(&second)).expect("the files are good");
    let whole = scene.catalogue.to_bytes().to_vec();
    scene.next(1_000);
    scene.document.next_directory_key = Some(second.thumbprint().to_string());
    assert!(follower.offer(&scene.sign(), &whole).expect("newer"));
    let by_the_second = scene.next_by(&second, None);
    assert!(follower.offer(&by_the_second, &whole).expect("newer"));

    let started = scene.load_with(Some(&second)).expect("it is named");
    let last = scene.document.clone();
    scene.next(9_000);
    // Whoever has the first key by now signs nothing more, neither for who saw the change nor for who starts after it.
    for follower in [&follower, &started] {
        let refused = follower.offer(&scene.sign(), &whole).expect_err("a refusal");
        assert!(matches!(refused, FollowError::Refused(_)), "{refused:?}");
    }
    scene.document = last;
    let further = scene.next_by(&second, None);
    for follower in [&follower, &started] {
        assert!(follower.offer(&further, &whole).expect("newer"));
    }
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
