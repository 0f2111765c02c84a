//! Receipts.

use unefois_tlog::{
    Checkpoint, Error, Hash, MAX_EXTRA_BYTES, MAX_RECEIPT_BYTES, Receipt, SignerKey, Tiles, Tree, VerifierKey,
};

use crate::reference::leaf_hashes;

const ORIGIN: &str = "urn:unefois:participant:12000101100010/1";
const SIZE: u64 = 333;

fn key() -> SignerKey {
    SignerKey::new(ORIGIN.parse().unwrap(), &[1; 32])
}

fn receipt(index: u64) -> Receipt {
    let mut tree = Tree::new();
    tree.append(&leaf_hashes(SIZE)).unwrap();
    let checkpoint = Checkpoint::new(ORIGIN.parse().unwrap(), SIZE, tree.root())
        .unwrap()
        .sign(&key())
        .unwrap();
    Receipt::new(
        index,
        tree.inclusion_proof(index, SIZE, &Tiles::new()).unwrap(),
        checkpoint,
    )
    .unwrap()
}

fn verify(file: &str, leaf: &Hash, key: &VerifierKey) -> Result<u64, Error> {
    let receipt: Receipt = file.parse()?;
    receipt.verify(leaf, key).map(|checkpoint| checkpoint.size)
}

#[test]
fn malformed_receipts_are_refused_each_for_its_reason() {
    let file = receipt(3).to_string();
    for (wrong, why) in [
        (String::new(), Error::ReceiptHeader),
        (file.replace("@v1", "@v2"), Error::ReceiptHeader),
        (file.replace("@v1\n", "@v1 \n"), Error::ReceiptHeader),
        (file.replace('\n', "\r\n"), Error::ReceiptHeader),
        (file.replace("index 3\n", ""), Error::ReceiptIndex),
        (file.replace("index 3", "index 03"), Error::ReceiptIndex),
        (file.replace("index 3", "index -3"), Error::ReceiptIndex),
        (file.replace("index 3", "index  3"), Error::ReceiptIndex),
        (file.replace("index 3", "Index 3"), Error::ReceiptIndex),
        (
            file.replace("index 3", "index 18446744073709551616"),
            Error::ReceiptIndex,
        ),
        (
            file.replace("index 3", "extra ====\nindex 3"),
            Error::ReceiptExtra,
        ),
        (
            file.replace("index 3", "extra AAA=\nextra AAA=\nindex 3"),
            Error::ReceiptIndex,
        ),
        (file.replace("index 3", "index 3\nextra AAA="), Error::HashText),
        (file.replace("index 3\n", "index 3\nAAAA\n"), Error::HashText),
        (file.replace("\n\nurn", "\nurn"), Error::HashText),
        (file.replace("\n\n", "\n"), Error::ReceiptSeparator),
        (file.replace("\n\nurn", "\n\n\nurn"), Error::Origin),
        (
            file.split_once("\n\n").unwrap().0.to_owned() + "\n\n",
            Error::NoteUnterminated,
        ),
        (
            file.replace(
                "index 3\n",
                &format!("index 3\n{}", format!("{}\n", Hash::EMPTY).repeat(80)),
            ),
            Error::ProofTooLong(65),
        ),
        (
            file.clone() + &"a".repeat(MAX_RECEIPT_BYTES),
            Error::ReceiptTooLarge(file.len() + MAX_RECEIPT_BYTES),
        ),
    ] {
        assert_eq!(wrong.parse::<Receipt>().unwrap_err(), why, "{wrong}");
    }
    assert_eq!(
        receipt(3).with_extra(vec![0; MAX_EXTRA_BYTES + 1]).unwrap_err(),
        Error::ReceiptExtra
    );
}

#[test]
fn a_receipt_changed_or_cut_anywhere_is_refused() {
    let (file, leaf, key) = (receipt(300).to_string(), Hash::of_leaf(b"300"), key());
    assert_eq!(verify(&file, &leaf, key.verifier()), Ok(SIZE));
    for at in 0..file.len() {
        let mut changed = file.clone().into_bytes();
        changed[at] ^= 1;
        if let Ok(changed) = String::from_utf8(changed) {
            assert!(verify(&changed, &leaf, key.verifier()).is_err(), "byte {at}");
        }
        if let Some(cut) = file.get(..at) {
            assert!(verify(cut, &leaf, key.verifier()).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn a_receipt_proves_its_leaf_at_its_index_in_its_log_only() {
    let (file, third, own) = (receipt(3).to_string(), Hash::of_leaf(b"3"), key());
    assert_eq!(verify(&file, &third, own.verifier()), Ok(SIZE));
    assert_eq!(
        verify(&file, &Hash::of_leaf(b"4"), own.verifier()),
        Err(Error::RootMismatch)
    );
    for index in (0..SIZE).filter(|index| *index != 3) {
        let moved = file.replace("index 3\n", &format!("index {index}\n"));
        assert!(verify(&moved, &third, own.verifier()).is_err(), "index {index}");
    }
    let outside = Error::IndexOutsideTree {
        index: SIZE,
        size: SIZE,
    };
    assert_eq!(
        verify(&file.replace("index 3\n", "index 333\n"), &third, own.verifier()),
        Err(outside)
    );
    // The size is the signature's: another one is not even looked at.
    for size in [3, 4, 256, 332, 334, 666] {
        let resized = file.replace("\n333\n", &format!("\n{size}\n"));
        let refused = verify(&resized, &third, own.verifier());
        assert!(
            matches!(refused, Err(Error::SignatureInvalid { .. })),
            "size {size}"
        );
    }

    let lines: Vec<_> = file.lines().collect();
    for line in 2..11 {
        let without = [&lines[..line], &lines[line + 1..], &[""]].concat().join("\n");
        assert_eq!(verify(&without, &third, own.verifier()), Err(Error::ProofLength));
        let twice = [&lines[..=line], &lines[line..], &[""]].concat().join("\n");
        assert_eq!(verify(&twice, &third, own.verifier()), Err(Error::ProofLength));
    }

    let other = SignerKey::new(ORIGIN.parse().unwrap(), &[2; 32]);
    assert!(matches!(
        verify(&file, &third, other.verifier()),
        Err(Error::NotSignedBy { .. })
    ));
    let foreign = SignerKey::new("example.com/log".parse().unwrap(), &[1; 32]);
    assert!(matches!(
        verify(&file, &third, foreign.verifier()),
        Err(Error::OriginMismatch(_))
    ));
}

#[test]
fn a_receipt_of_the_only_leaf_has_no_hashes() {
    let only = Hash::of_leaf(b"0");
    let checkpoint = Checkpoint::new(ORIGIN.parse().unwrap(), 1, only)
        .unwrap()
        .sign(&key())
        .unwrap();
    let file = Receipt::new(0, vec![], checkpoint.clone()).unwrap().to_string();
    assert_eq!(file, format!("c2sp.org/tlog-proof@v1\nindex 0\n\n{checkpoint}"));
    assert_eq!(verify(&file, &only, key().verifier()), Ok(1));
}

#[test]
fn extra_data_travels_and_proves_nothing() {
    let with = receipt(3).with_extra(b"the entry".to_vec()).unwrap();
    let file = with.to_string();
    assert!(file.starts_with("c2sp.org/tlog-proof@v1\nextra dGhlIGVudHJ5\nindex 3\n"));
    let read: Receipt = file.parse().unwrap();
    assert_eq!(read, with);
    assert_eq!(read.unauthenticated_extra(), Some(&b"the entry"[..]));
    assert_eq!(read.index(), 3);
    let other = file.replace("extra dGhlIGVudHJ5", "extra ");
    assert_eq!(verify(&other, &Hash::of_leaf(b"3"), key().verifier()), Ok(SIZE));
    assert_eq!(
        other.parse::<Receipt>().unwrap().unauthenticated_extra(),
        Some(&b""[..])
    );
    assert_eq!(receipt(3).unauthenticated_extra(), None);
}
