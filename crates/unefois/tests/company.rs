//! A company's justificatif, from end to end: whoever runs it gives a mandate, its holder answers for it, and the commune
//! fetches from the producer what was granted, by SIREN.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "../../../tests/kit/port.rs"]
pub mod port;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use unefois::demo::asker::Asker;
use unefois::demo::browser::{Browser, Page};
use unefois::demo::script::Script;
use unefois::demo::stage::{Roles, Stage};
use unefois::demo::world::{CLAMART_BACK, Member, Setting, URSSAF, World};
use unefois_core::{Clock as _, Event};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_proto::pb::backoffice::v1::subject_binding::Binding;
use unefois_proto::pb::backoffice::v1::{
    Capacity, CompleteAuthorizationRequest, ElementRequest, FetchRequest, Grant, Need,
    RequestAuthorizationRequest, SubjectBinding, SubjectKind, UnitRequest, Way,
};

use port::free_port;

/// The company that the test officer runs, and another one.
const SIREN: &str = "900000100";
const OTHER: &str = "130025265";

#[tokio::test(flavor = "multi_thread")]
async fn a_company_s_certificate_is_fetched_under_a_mandate_and_no_more_once_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let setting = Setting {
        urssaf: Some(port),
        has_dgfip: false,
        ..Setting::default()
    };
    let world = World::create(folder.path(), setting, SystemClock.now(), &SystemRandom::new()).unwrap();
    let script = Arc::new(Script::default());
    let stage = Stage::raise(&world, &script, Roles::Here).await.unwrap();
    let urssaf = Urssaf::start(&world, port).await;
    let portal = format!("http://localhost:{}", world.ports.portal);

    let mut boss = Browser::default();
    let at = format!("{portal}/pro/connexion?suite=%2Fmandats&niveau=certified");
    let mandates = logged_in(&mut boss, &at, "dominique").await;
    let invitation = given(&mut boss, &mandates).await;
    let mut asker = Asker::new(&world, Arc::clone(&script), Browser::default());
    asker
        .browser
        .open(&format!("{portal}{invitation}"), "")
        .await
        .unwrap();
    let at = format!("{portal}/fc/connexion?suite=%2Fmandats%2Finvitation&niveau=eidas1");
    let page = logged_in(&mut asker.browser, &at, "angela").await;
    assert!(!page.body.contains("Dominique"), "{}", page.body);
    let [csrf, read] = ["csrf", "lue"].map(|name| page.hidden(name).unwrap());
    let form = [("csrf", csrf.as_str()), ("lue", &read)];
    asker
        .browser
        .submit(&page, "/mandats/invitation", &form, "")
        .await
        .unwrap();
    let asked = boss.open(&format!("{portal}/mandats"), "").await.unwrap();
    assert!(
        asked.body.contains("Angela Claire Louise DUBOIS"),
        "{}",
        asked.body
    );
    let (before, _) = asked.body.split_once("/accepter\"").unwrap();
    let accept = format!("/mandats/{}/accepter", before.rsplit('/').next().unwrap());
    let csrf = asked.hidden("csrf").unwrap();
    boss.submit(&asked, &accept, &[("csrf", &csrf)], "")
        .await
        .unwrap();
    let held = asker
        .browser
        .open(&format!("{portal}/mandats"), "")
        .await
        .unwrap();
    assert!(held.body.contains("Dominique EXEMPLE"), "{}", held.body);

    // Another company's file: the mandate is not for it.
    let page = opened(&mut asker, OTHER, "2026-MP-1").await;
    assert!(
        page.body.contains("Aucun mandat ne vous permet de répondre"),
        "{}",
        page.body
    );

    let grant = granted(&mut asker, "2026-MP-2").await.unwrap();
    let handle = grant.elements[0].handle.clone();
    assert_eq!(grant.elements[0].producer, URSSAF);
    let request = FetchRequest {
        handle,
        ..FetchRequest::default()
    };
    let answer = asker.backoffice.fetch(request).await.unwrap().into_inner();
    let status: Value = serde_json::from_str(&answer.units["statut"]).unwrap();
    assert!(status.to_string().contains("\"ok\""), "{status}");
    assert!(answer.units["attestation"].contains("EXEMPLE0000"));
    let entry = unefois_core::Entry::decode(&answer.producer_entry).unwrap();
    assert_eq!(
        (entry.event, entry.capacity),
        (Event::Released, Some(unefois_core::Capacity::Entity))
    );

    // Both names stand in what the person takes home, which anybody verifies by the directory.
    let receipt = format!("{portal}/autorisations/{}/recu.json", grant.grant_id);
    let receipt: Value = serde_json::from_str(&asker.browser.open(&receipt, "").await.unwrap().body).unwrap();
    assert_eq!(
        receipt["receipt"]["representation"],
        serde_json::json!({"siren": SIREN, "acted_by": "Angela DUBOIS", "mandated_by": "Dominique EXEMPLE"})
    );
    is_verified(&world, &receipt);
    // The mandate ends, and a code from before it gives nothing.
    let complete = answered(&mut asker, "2026-MP-3").await;
    let list = boss.open(&format!("{portal}/mandats"), "").await.unwrap();
    let (_, rest) = list.body.split_once("action=\"/mandats/").unwrap();
    let end = format!("/mandats/{}", rest.split('"').next().unwrap());
    let csrf = list.hidden("csrf").unwrap();
    boss.submit(&list, &end, &[("csrf", &csrf)], "").await.unwrap();
    let refused = asker
        .backoffice
        .complete_authorization(complete)
        .await
        .unwrap_err();
    assert!(format!("{refused:?}").contains("GRANT_REVOKED"), "{refused:?}");
    let page = opened(&mut asker, SIREN, "2026-MP-4").await;
    assert!(page.body.contains("Aucun mandat ne vous permet de répondre"));
    drop(urssaf);
    stage.lower().await.unwrap();
}

/// That `receipt verify` takes the receipt of a mandate's grant and tells both names, and refuses it with another word of it.
fn is_verified(world: &World, receipt: &Value) {
    let folder = world.folder("urssaf");
    let file = folder.join("recu-autorisation.json");
    let verify = |receipt: &Value| {
        std::fs::write(&file, receipt.to_string()).unwrap();
        let verified = Command::new(Path::new(env!("CARGO_BIN_EXE_unefois")))
            .args(["receipt", "verify"])
            .arg(&file)
            .arg("--directory")
            .arg(folder.join("directory.jws"))
            .arg(format!("--pin={}", world.pin))
            .output()
            .unwrap();
        (
            verified.status.code(),
            String::from_utf8(verified.stdout).unwrap(),
        )
    };
    let (code, told) = verify(receipt);
    assert_eq!(code, Some(0), "{told}");
    for words in [
        "a agi : Angela DUBOIS, pour l'entreprise de SIREN 900000100, par un mandat de Dominique EXEMPLE",
        "vérifié : signé par l'autorité de cet annuaire",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    for (member, other) in [
        ("acted_by", "Camille EXEMPLE".into()),
        ("mandated_by", "Camille EXEMPLE".into()),
        ("siren", OTHER.into()),
        ("mandated_by", Value::Null),
    ] {
        let mut changed = receipt.clone();
        changed["receipt"]["representation"][member] = other;
        let (code, told) = verify(&changed);
        assert_eq!(code, Some(1), "{member}: {told}");
    }
    let mut nobody = receipt.clone();
    nobody["receipt"]
        .as_object_mut()
        .unwrap()
        .remove("representation");
    assert_eq!(verify(&nobody).0, Some(1));
}

/// Through the demonstration's provider, as this test identity.
async fn logged_in(browser: &mut Browser, at: &str, key: &str) -> Page {
    let provider = browser.open(at, "").await.unwrap();
    let query = provider.hidden("query").unwrap();
    let action = provider.url.path().replace("/authorize", "/login");
    browser
        .submit(&provider, &action, &[("query", &query), ("persona", key)], "")
        .await
        .unwrap()
}

/// Gives a mandate until tomorrow; the address at which it is taken up.
async fn given(browser: &mut Browser, page: &Page) -> String {
    let tomorrow = SystemClock.now().plus_ms(86_400_000).to_rfc3339();
    let csrf = page.hidden("csrf").unwrap();
    let fields = [
        ("csrf", csrf.as_str()),
        ("p.marche-public", "1"),
        ("fin", &tomorrow[..10]),
    ];
    let shown = browser.submit(page, "/mandats", &fields, "").await.unwrap();
    let (_, rest) = shown.body.split_once("/mandats/invitation/").unwrap();
    let secret: String = rest
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    format!("/mandats/invitation/{secret}")
}

/// The page that the commune's request about a company leads to.
async fn opened(asker: &mut Asker, siren: &str, dossier: &str) -> Page {
    let unit = |unit: &str| UnitRequest {
        unit: unit.to_owned(),
        need: Need::Required.into(),
    };
    let request = RequestAuthorizationRequest {
        way: Way::Present.into(),
        demarche: "marche-public".to_owned(),
        dossier_ref: dossier.to_owned(),
        elements: vec![ElementRequest {
            datatype: "urssaf/attestation-de-vigilance@1".to_owned(),
            units: vec![unit("statut"), unit("attestation")],
            period: String::new(),
        }],
        subject: SubjectKind::Entity.into(),
        capacity: Capacity::Entity.into(),
        binding: Some(SubjectBinding {
            binding: Some(Binding::Siren(siren.to_owned())),
        }),
        redirect_uri: CLAMART_BACK.to_owned(),
        session: "session-of-the-company".to_owned(),
        ..Default::default()
    };
    let asked = asker.backoffice.request_authorization(request).await.unwrap();
    asker
        .browser
        .open(&asked.into_inner().url, CLAMART_BACK)
        .await
        .unwrap()
}

/// The holder of the mandate says yes; what the commune completes with.
async fn answered(asker: &mut Asker, dossier: &str) -> CompleteAuthorizationRequest {
    let page = opened(asker, SIREN, dossier).await;
    assert!(
        page.body.contains("mandat de <bdi>Dominique EXEMPLE</bdi>"),
        "{}",
        page.body
    );
    let csrf = page.hidden("csrf").unwrap();
    let fields = [("csrf", csrf.as_str()), ("choix", "recuperer")];
    let path = page.url.path().to_owned();
    let back = asker
        .browser
        .submit(&page, &path, &fields, CLAMART_BACK)
        .await
        .unwrap();
    CompleteAuthorizationRequest {
        code: back.parameter("code").expect("a code"),
        state: back.parameter("state").unwrap(),
        iss: back.parameter("iss").unwrap(),
        error: String::new(),
        session: "session-of-the-company".to_owned(),
    }
}

async fn granted(asker: &mut Asker, dossier: &str) -> Option<Grant> {
    let complete = answered(asker, dossier).await;
    let completed = asker.backoffice.complete_authorization(complete).await.unwrap();
    completed.into_inner().grant
}

/// The producer's node, which the demonstration has no process for.
struct Urssaf(Child);

impl Urssaf {
    async fn start(world: &World, port: u16) -> Self {
        let folder = world.folder("urssaf");
        let signs = std::fs::read_to_string(folder.join("directory.jws")).unwrap();
        let directory = unefois_jose::directory::verify(&signs, &world.pin).unwrap();
        let row = directory.participant(&URSSAF.parse().unwrap()).unwrap();
        let text = std::fs::read_to_string(world.file(Member::Dgfip)).unwrap();
        let mut config: toml::Table = text.parse().unwrap();
        let admin = free_port();
        for (section, key, value) in [
            ("node", "participant", URSSAF.to_owned()),
            ("listen", "mesh", format!("127.0.0.1:{port}")),
            ("public", "listen", format!("127.0.0.1:{}", free_port())),
            ("admin", "listen", format!("127.0.0.1:{admin}")),
        ] {
            config[section][key] = value.into();
        }
        config["producer"]["habilitation_keys"] =
            toml::Value::Array(vec![row.habilitation_keys[0].kid().into()]);
        config["producer"]["produce"][0]["datatype"] = "urssaf/attestation-de-vigilance@1".into();
        config.remove("witness");
        let file = folder.join("node.toml");
        std::fs::write(&file, config.to_string()).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let node = Command::new(Path::new(env!("CARGO_BIN_EXE_unefois")))
            .args(["serve", "node", "--config"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let node = Self(node);
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let ready = async {
            while !is_ready(admin).await {
                look.tick().await;
            }
        };
        let within = tokio::time::timeout(Duration::from_secs(30), ready).await;
        let log = std::fs::read_to_string(folder.join("log")).unwrap();
        within.unwrap_or_else(|_| unreachable!("the producer does not start: {log}"));
        node
    }
}

impl Drop for Urssaf {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn is_ready(admin: u16) -> bool {
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", admin)).await?;
        let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    ask.await.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200 "))
}
