//! Signed notes and keys. PeterNeumann and EnochRoot are the example of the Go package
//! golang.org/x/mod/sumdb/note (`note.go`, `note_test.go`), which C2SP signed-note describes.

use unefois_tlog::{
    Cosigner, CosignerKey, Error, MAX_NOTE_BYTES, MAX_SIGNATURES, Note, SignerKey, VerifierKey,
};

const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";

const TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const PETER_LINE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH_LINE: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

fn peter() -> VerifierKey {
    PETER.parse().unwrap()
}

fn enoch() -> VerifierKey {
    ENOCH.parse().unwrap()
}

fn note(lines: &[&str]) -> String {
    format!("{TEXT}\n{}", lines.concat())
}

fn open(note: &str, key: &VerifierKey) -> Result<String, Error> {
    Note::parse(note.as_bytes())?.verify(key).map(str::to_owned)
}

fn not_signed_by(key: &VerifierKey) -> Error {
    Error::NotSignedBy {
        name: key.name().clone(),
        id: key.id(),
    }
}

fn invalid(key: &VerifierKey) -> Error {
    Error::SignatureInvalid {
        name: key.name().clone(),
        id: key.id(),
    }
}

#[test]
fn malformed_notes_are_refused_each_for_its_reason() {
    let signed = note(&[PETER_LINE]);
    for (wrong, why) in [
        (String::new(), Error::NoteUnterminated),
        (TEXT.to_owned(), Error::NoteSeparator),
        (format!("{TEXT}\n"), Error::NoteUnsigned),
        (format!("{TEXT}{PETER_LINE}"), Error::NoteSeparator),
        (signed.trim_end().to_owned(), Error::NoteUnterminated),
        (format!("\u{1}{signed}"), Error::NoteControlCharacter),
        (signed.replace('\n', "\r\n"), Error::NoteControlCharacter),
        (format!("{signed}Unexpected line.\n"), Error::SignatureLine),
        (signed.replace('—', "-"), Error::SignatureLine),
        (
            signed.replace("PeterNeumann ", "PeterNeumann"),
            Error::SignatureLine,
        ),
        (
            signed.replace("PeterNeumann", "Peter Neumann"),
            Error::SignatureLine,
        ),
        (signed.replace("PeterNeumann", "Peter+Neumann"), Error::KeyName),
        (
            signed.replace("PeterNeumann", "Peter\u{a0}Neumann"),
            Error::KeyName,
        ),
        (signed.replace("PeterNeumann", ""), Error::KeyName),
        (signed.replace("nAM=", "nAM"), Error::SignatureLine),
        (signed.replace("nAM=", "nAN="), Error::SignatureLine),
        (format!("{TEXT}\n— PeterNeumann x08gow==\n"), Error::SignatureLine),
        (format!("{TEXT}\n— PeterNeumann \n"), Error::SignatureLine),
        (note(&[PETER_LINE; MAX_SIGNATURES + 1]), Error::TooManySignatures),
    ] {
        assert_eq!(open(&wrong, &peter()), Err(why), "{wrong}");
    }
    assert_eq!(
        Note::parse(&[b"\xff", signed.as_bytes()].concat()).unwrap_err(),
        Error::NoteNotUtf8
    );
    let large = "a".repeat(MAX_NOTE_BYTES) + &signed;
    assert_eq!(open(&large, &peter()), Err(Error::NoteTooLarge(large.len())));
}

#[test]
fn a_note_cut_anywhere_is_refused() {
    let signed = note(&[PETER_LINE]);
    for end in 0..signed.len() {
        let cut = Note::parse(&signed.as_bytes()[..end]).and_then(|note| note.verify(&peter()).map(drop));
        assert!(cut.is_err(), "cut at {end}");
    }
}

#[test]
fn a_note_with_any_byte_changed_is_refused() {
    let signed = note(&[PETER_LINE]);
    for at in 0..signed.len() {
        let mut changed = signed.clone().into_bytes();
        changed[at] ^= 1;
        let opened = Note::parse(&changed).and_then(|note| note.verify(&peter()).map(drop));
        assert!(opened.is_err(), "byte {at}");
    }
}

#[test]
fn a_note_counts_only_if_the_key_asked_for_signed_it() {
    assert_eq!(open(&note(&[PETER_LINE]), &enoch()), Err(not_signed_by(&enoch())));
    // The same name with another key, and the same key under another name.
    let other = SignerKey::new(peter().name().clone(), &[1; 32]);
    assert_eq!(
        open(&note(&[PETER_LINE]), other.verifier()),
        Err(not_signed_by(other.verifier()))
    );
    let renamed = VerifierKey::new("Peter".parse().unwrap(), *peter().as_bytes());
    assert_eq!(open(&note(&[PETER_LINE]), &renamed), Err(not_signed_by(&renamed)));
}

#[test]
fn one_wrong_signature_of_the_key_spoils_the_note_beside_a_right_one() {
    let wrong = PETER_LINE.replace("FFYC2pZ", "FFYC2pY");
    assert_eq!(open(&note(&[&wrong]), &peter()), Err(invalid(&peter())));
    assert_eq!(
        open(&note(&[PETER_LINE, &wrong]), &peter()),
        Err(invalid(&peter()))
    );
    assert_eq!(
        open(&note(&[&wrong, PETER_LINE]), &peter()),
        Err(invalid(&peter()))
    );
    // To who asks for another key it is an unknown signature.
    assert_eq!(open(&note(&[&wrong, ENOCH_LINE]), &enoch()).as_deref(), Ok(TEXT));
}

#[test]
fn known_notes_verify_and_unknown_signatures_are_ignored() {
    let both = note(&[PETER_LINE, ENOCH_LINE]);
    for key in [peter(), enoch()] {
        assert_eq!(open(&both, &key).as_deref(), Ok(TEXT));
    }
    assert_eq!(Note::parse(both.as_bytes()).unwrap().to_string(), both);

    let unknown: Vec<_> = (0..MAX_SIGNATURES - 1)
        .map(|n| format!("— w{n}.example AAAAAAEC\n"))
        .collect();
    let lines: Vec<_> = unknown.iter().map(String::as_str).chain([PETER_LINE]).collect();
    assert_eq!(open(&note(&lines), &peter()).as_deref(), Ok(TEXT));
}

/// The head of Go's checksum database that C2SP tlog-checkpoint shows under another name, with the database's
/// public key.
#[test]
fn a_note_of_a_public_log_verifies() {
    let key: VerifierKey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
        .parse()
        .unwrap();
    let head = "go.sum database tree\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— sum.golang.org Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
    assert!(
        open(head, &key)
            .unwrap()
            .starts_with("go.sum database tree\n20852163\n")
    );
}

#[test]
fn the_last_empty_line_ends_the_text() {
    let key = SignerKey::new("example.com/log".parse().unwrap(), &[1; 32]);
    for text in ["\n", "a\n\nb\n", "a\n\n", "\n\n\n", "— x y\n\n— z\n"] {
        let signed = Note::sign(text, &key).unwrap().to_string();
        assert_eq!(open(&signed, key.verifier()).as_deref(), Ok(text));
    }
}

#[test]
fn a_text_that_no_verifier_would_read_is_not_signed() {
    let key = SignerKey::from_text(PETER_SECRET).unwrap();
    assert_eq!(Note::sign("", &key), Err(Error::NoteUnterminated));
    assert_eq!(Note::sign("abc", &key), Err(Error::NoteUnterminated));
    assert_eq!(Note::sign("a\tb\n", &key), Err(Error::NoteControlCharacter));
    assert!(matches!(
        Note::sign(&("a".repeat(MAX_NOTE_BYTES) + "\n"), &key),
        Err(Error::NoteTooLarge(_))
    ));

    let mut full = Note::parse(note(&[PETER_LINE; MAX_SIGNATURES]).as_bytes()).unwrap();
    let (before, line) = (full.to_string(), full.signatures()[0].clone());
    assert_eq!(full.add(line), Err(Error::TooManySignatures));
    assert_eq!(full.to_string(), before);
}

#[test]
fn the_known_key_signs_the_known_note() {
    let key = SignerKey::from_text(PETER_SECRET).unwrap();
    assert_eq!(key.verifier().to_string(), PETER);
    let mut signed = Note::sign(TEXT, &key).unwrap();
    assert_eq!(signed.to_string(), note(&[PETER_LINE]));

    let enoch = Note::parse(note(&[ENOCH_LINE]).as_bytes()).unwrap().signatures()[0].clone();
    signed.add(enoch).unwrap();
    assert_eq!(signed.to_string(), note(&[PETER_LINE, ENOCH_LINE]));
}

#[test]
fn mangled_keys_are_refused() {
    assert_eq!(enoch().to_string(), ENOCH);
    for (start, end) in (0..PETER.len()).flat_map(|start| (start..=PETER.len()).map(move |end| (start, end)))
    {
        if (start, end) != (0, PETER.len()) {
            assert!(
                PETER[start..end].parse::<VerifierKey>().is_err(),
                "{start}..{end}"
            );
        }
    }
    for at in 0..PETER.len() {
        let mut key = PETER.to_owned().into_bytes();
        key[at] += 1;
        assert!(
            String::from_utf8(key).unwrap().parse::<VerifierKey>().is_err(),
            "byte {at}"
        );
    }
    for at in 0..PETER_SECRET.len() {
        let mut key = PETER_SECRET.to_owned().into_bytes();
        key[at] += 1;
        assert!(
            SignerKey::from_text(std::str::from_utf8(&key).unwrap()).is_err(),
            "byte {at}"
        );
        assert!(SignerKey::from_text(&PETER_SECRET[..at]).is_err(), "cut at {at}");
    }
    for (wrong, why) in [
        ("", Error::KeyText),
        (PETER_SECRET, Error::KeyText),
        (
            "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            Error::KeyName,
        ),
        (
            "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            Error::KeyIdMismatch(peter().name().clone()),
        ),
        // As in note_test.go: a key too long and an unknown type, each with the id of what it is.
        (
            "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
            Error::KeyText,
        ),
        (
            "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            Error::KeyType {
                expected: 1,
                found: 0x65,
            },
        ),
    ] {
        assert_eq!(wrong.parse::<VerifierKey>(), Err(why), "{wrong}");
    }
}

#[test]
fn a_key_of_one_type_is_not_taken_for_the_other() {
    // A witness of the public network, as in `note/note_cosigv1_test.go` of github.com/transparency-dev/formats.
    let witness = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";
    assert_eq!(
        witness.parse::<VerifierKey>(),
        Err(Error::KeyType {
            expected: 1,
            found: 4
        })
    );
    assert_eq!(
        PETER.parse::<CosignerKey>(),
        Err(Error::KeyType {
            expected: 4,
            found: 1
        })
    );
    assert_eq!(
        Cosigner::from_text(PETER_SECRET).unwrap_err(),
        Error::KeyType {
            expected: 4,
            found: 1
        }
    );
    assert_eq!(witness.parse::<CosignerKey>().unwrap().to_string(), witness);
}

#[test]
fn a_private_key_is_read_back_and_not_shown() {
    let name = "urn:unefois:participant:12000101100010/1"
        .parse::<unefois_tlog::KeyName>()
        .unwrap();
    let text = SignerKey::to_text(name.clone(), &[9; 32]);
    let key = SignerKey::from_text(&text).unwrap();
    assert_eq!(key.verifier(), SignerKey::new(name, &[9; 32]).verifier());
    assert!(!format!("{key:?}").contains("9, 9, 9"));
}
