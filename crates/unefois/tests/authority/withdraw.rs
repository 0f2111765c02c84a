//! `withdraw` as it is typed, before and beside an authority that runs.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use unefois::demo::process::Process;
use unefois::demo::world::{AUTHORITY, CLAMART, Member, World};

use crate::{PROGRAM, READY_WITHIN, said, unefois, world};

const REASON: &str = "clé perdue, décision 2026-0412";
/// A participant that the directory has never named.
const STRANGER: &str = "urn:unefois:participant:13000495500014";

async fn authority(world: &World) -> Process {
    let program = Path::new(PROGRAM);
    let mut authority = Process::start(program, world, Member::Authority, &[]).unwrap();
    authority.ready(READY_WITHIN).await.unwrap();
    authority
}

/// Types `withdraw` for this reason and these last words.
fn withdraw(world: &World, before: &[&str], reason: &str, what: &[&str]) -> (i32, String, String) {
    let config = world.file(Member::Authority).display().to_string();
    let args = [
        before,
        &["withdraw", "--config", &config, "--reason", reason],
        what,
    ]
    .concat();
    said(&unefois(&[], &args))
}

fn at(value: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(value.as_str().expect("an instant"), &Rfc3339).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_is_named_for_a_reason_by_the_operator_and_takes_effect() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path(), 200);
    let config = world.file(Member::Authority).display().to_string();
    let digest = format!("{}-8", &"-_aA".repeat(11)[..41]);

    // What is typed wrongly asks nobody.
    for wrong in [
        &["withdraw", "--config", &config, "all"][..],
        &["withdraw", "all", "--config", &config],
        &["withdraw", "--reason", REASON, "all"],
        &["withdraw", "--config", &config, "--reason", REASON],
        &["withdraw", "--config", &config, "--reason", REASON, "all", "now"],
    ] {
        assert_eq!(said(&unefois(&[], wrong)).0, 64, "{wrong:?}");
    }
    for wrong in ["", "  ", "deux\nlignes", &"x".repeat(513)] {
        assert_eq!(withdraw(&world, &[], wrong, &["all"]).0, 64, "{wrong:?}");
    }
    for wrong in [
        &["client"][..],
        &["client", "mairie"],
        &["client", "urn:unefois:participant:21920023500015"],
        &["certificate", &digest[..42]],
        &["certificate", &digest.replace("-8", "-9")],
        &["certificate", &format!("{}=", &digest[..42])],
        &["certificate", &"0a".repeat(31)],
        &["signing-key", &"0a".repeat(32)],
        &["signing-key", &"é".repeat(21)],
        &["grant", &digest],
    ] {
        assert_eq!(withdraw(&world, &[], REASON, wrong).0, 64, "{wrong:?}");
    }
    let nowhere = ["withdraw", "--config", "/nowhere", "--reason", REASON, "all"];
    assert_eq!(said(&unefois(&[], &nowhere)).0, 66);

    let (code, out, err) = withdraw(&world, &[], REASON, &["all"]);
    assert_eq!((code, out.as_str()), (69, ""), "{err}");
    assert!(err.contains("l'autorité ne répond pas"), "{err}");

    let authority = authority(&world).await;
    let (code, out, err) = withdraw(&world, &[], REASON, &["client", STRANGER]);
    assert_eq!((code, out.as_str()), (77, ""), "{err}");
    assert!(err.contains("directory"), "{err}");
    let (cnaf, all) = (world.folder("cnaf"), ["--reason", REASON, "all"]);
    let another = [
        ("UNEFOIS__TLS__CHAIN", cnaf.join("tls.pem").display().to_string()),
        ("UNEFOIS__TLS__KEY", cnaf.join("tls.key").display().to_string()),
    ];
    let args = [&["--json", "withdraw", "--config", &config], &all[..]].concat();
    let (code, out, err) = said(&unefois(&another, &args));
    assert_eq!((code, out.as_str()), (77, ""), "{err}");
    let refusal: Value = serde_json::from_str(&err).unwrap();
    assert_eq!(refusal["error"]["code"], "UF-0077");

    // A key that signs nothing, pasted by mistake, would leave the lost one signing.
    let (code, _, err) = withdraw(&world, &[], REASON, &["signing-key", &digest]);
    assert_eq!(code, 77, "{err}");
    assert!(err.contains("--unlisted"), "{err}");

    // Nothing of that was recorded; what was withdrawn before is withdrawn again.
    for (seq, what) in (1..).zip([
        &["client", CLAMART][..],
        &["client", AUTHORITY],
        &["certificate", &digest],
        &["certificate", &"0a".repeat(32)],
        &["certificate", &["0A"; 32].join(":")],
        &["signing-key", "--unlisted", &digest],
        &["all"],
        &["client", CLAMART],
        &["all"],
    ]) {
        let (code, out, err) = withdraw(&world, &["--json"], REASON, what);
        assert_eq!((code, err.as_str()), (0, ""), "{what:?}");
        let told: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (&told["epoch"], &told["seq"]),
            (&1.into(), &seq.into()),
            "{what:?}"
        );
        assert!(at(&told["effective_at"]) >= at(&told["recorded_at"]), "{told}");
    }
    // The options may stand after what is withdrawn.
    let after = [
        "withdraw", "client", CLAMART, "--reason", REASON, "--config", &config,
    ];
    let (code, _, err) = said(&unefois(&[], &after));
    assert_eq!(code, 0, "{err}");
    for (lang, recorded, effective) in [
        ("fr", "retrait enregistré à 20", "retrait effectif à 20"),
        ("en", "withdrawal recorded at 20", "withdrawal effective at 20"),
    ] {
        let (code, out, err) = withdraw(&world, &["--lang", lang], REASON, &["all"]);
        assert_eq!(code, 0, "{err}");
        assert!(err.starts_with(recorded) && err.lines().count() == 1, "{err}");
        assert!(out.starts_with(effective) && out.ends_with(" ms)\n"), "{out}");
    }
    authority.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_a_withdrawal_that_nobody_proves_any_more_is_told_as_recorded_not_as_effective() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path(), 60_000);
    // After a start, nothing takes effect before the leases of the one before are over.
    authority(&world).await.stop().await.unwrap();
    let authority = authority(&world).await;
    let mut asking = Command::new(PROGRAM)
        .args(["withdraw", "--reason", REASON, "--config"])
        .arg(world.file(Member::Authority))
        .arg("all")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(asking.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    assert!(line.starts_with("retrait enregistré à 20"), "{line}");

    authority.kill().unwrap();
    let mut rest = String::new();
    errors.read_to_string(&mut rest).unwrap();
    let ended = asking.wait_with_output().unwrap();
    assert_eq!(
        (ended.status.code(), ended.stdout),
        (Some(69), Vec::new()),
        "{rest}"
    );
    assert!(rest.contains("le retrait 1 est enregistré"), "{rest}");
}
