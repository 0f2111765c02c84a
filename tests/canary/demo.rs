//! The whole demonstration, told of a person of whom every field is searched for afterwards, in every signal and file.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod doors;
mod participant;
mod person;
mod traces;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kit::canary::Canaries;
use kit::capture::Captured;
use tokio::runtime::Runtime;
use unefois::demo::browser::Browser;
use unefois::demo::persona::Persona;
use unefois::demo::stage::Roles;
use unefois::demo::story::Story;
use unefois::demo::world::{LYON, MESR, Setting, World};
use unefois_core::{Clock as _, ExchangeId, Micros, Reason};
use unefois_mesh::status::Refusal;
use unefois_mesh::{SystemClock, SystemRandom};

use doors::{Places, Source, Told};
use participant::Participant;
use person::{Numbers, Person};

/// Telemetry is one a process, so that these tests share it and the runtime that exports.
static PROCESS: LazyLock<(Runtime, Captured)> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let captured = runtime.block_on(Captured::start()).unwrap();
    (runtime, captured)
});

fn run<F: Future>(test: impl FnOnce(&'static Captured) -> F) -> F::Output {
    let (runtime, captured) = &*PROCESS;
    runtime.block_on(test(captured))
}

#[test]
fn what_leaks_is_found_wherever_it_leaks() {
    run(async |captured| {
        let mut canaries = Canaries::default();
        let line = canaries.plant("a line");
        tracing::trace!(target: "unefois_tests", "{line}");
        let span = canaries.plant("a span");
        tracing::info_span!(target: "unefois_tests", "control", span).in_scope(|| ());
        let label = canaries.plant("a label");
        let counter = opentelemetry::global::meter("unefois")
            .u64_counter("control")
            .build();
        counter.add(1, &[opentelemetry::KeyValue::new("label", label)]);
        let mut told = Told::default();
        told.answer("a door", http::StatusCode::NOT_FOUND, &canaries.plant("a body"));
        let refusal = Refusal::new(Reason::InvalidRequest, canaries.plant("a message"));
        let refusal = refusal.field("a", canaries.plant("a detail"));
        told.status("a door", Err::<(), _>(refusal.into()));
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("cnaf")).unwrap();
        for n in 0..9 {
            let file = folder.path().join(format!("cnaf/{n}.db"));
            std::fs::write(
                file,
                [&[0xff, 0][..], canaries.plant("a file").as_bytes(), &[0]].concat(),
            )
            .unwrap();
        }

        let mut signals = captured.signals().await.unwrap();
        signals.push(told.signal(2));
        signals.extend(traces::files(folder.path(), &["mesr"]));
        let hits = canaries.hits(&signals);
        let found: Vec<(&str, &str)> = hits
            .iter()
            .map(|hit| (hit.signal.as_str(), hit.field.as_str()))
            .collect();
        let expected = [
            ("/metrics", "a label"),
            ("cnaf/0.db", "a file"),
            ("cnaf/8.db", "a file"),
            ("logs", "a line"),
            ("spans and metrics over OTLP", "a label"),
            ("spans and metrics over OTLP", "a span"),
            ("what refusals tell", "a body"),
            ("what refusals tell", "a detail"),
            ("what refusals tell", "a message"),
        ];
        for pair in expected {
            assert!(found.contains(&pair), "{pair:?} is not in {found:?}");
        }
    });
}

/// What a file holds in clear as long as a grant is kept, and why.
const KEPT: &[(&str, &str)] = &[
    // `grant_element.details`: the portal shows the person what they granted, for which file.
    ("authority/authority.db", "a dossier"),
    // `revocation_record.record_key`: what is told to every producer.
    ("authority/authority.db", "a handle"),
    // `person_identity.sub`: how the person is known again.
    ("authority/authority.db", "sub"),
];

/// What it holds for minutes, and what SQLite leaves of it in pages that it has not used again.
const PASSING: &[(&str, &str)] = &[
    // `login_attempt.next` and `.nonce`: a page of the portal, and what the ID token has to repeat.
    ("authority/authority.db", "a page's name"),
    ("authority/authority.db", "the browser's suite"),
    ("authority/authority.db", "the browser's nonce"),
    // `pushed_request.body`: the consumer's own state, which is given back to it.
    ("authority/authority.db", "the browser's state"),
];

/// A world in `root` whose students' service and tax authority know `person`.
fn world(root: &std::path::Path, person: &Person) -> World {
    let setting = Setting {
        // The machine may stand still for longer than the demonstration's lease lasts; the story waits for a withdrawal,
        // and the first may take as long as a lease to be effective.
        lease_ms: 10_000,
        ..Setting::default()
    };
    let world = World::create(root, setting, SystemClock.now(), &SystemRandom::new()).unwrap();
    let case = world.folder("mesr").join("cases/etudiant_dubois.yaml");
    let text = std::fs::read_to_string(&case).unwrap();
    std::fs::write(&case, person.student(&text)).unwrap();
    let case = world.folder("dgfip").join("cases/revenu_dubois.yaml");
    let text = std::fs::read_to_string(&case).unwrap();
    std::fs::write(&case, person.taxpayer(&text)).unwrap();
    world
}

#[test]
fn the_story_leaves_nothing_personal_behind() {
    run(async |captured| {
        let (began, mut canaries) = (SystemClock.now(), Canaries::default());
        let person = Person::planted(
            &mut canaries,
            &Numbers {
                born: "1907-10-29",
                birthplace: "98397",
                birthcountry: "99100",
                phone: "+33639987654",
                child_born: "1913-12-30",
                quotient: "7310942",
                uai: "7310947Q",
                income: "7310984",
            },
        );
        let folder = tempfile::tempdir().unwrap();
        let world = world(folder.path(), &person);
        let mut story = Story::begin(world, person.script(), Roles::Here).await.unwrap();
        let mut broken = String::new();
        let held = story
            .tell(|step| {
                if !step.ok {
                    broken = format!("{}: {}", step.step, step.seen);
                }
            })
            .await;
        assert!(held, "{broken}");
        seen(&story, &mut canaries);
        let first: ExchangeId = story.answers()[0].request_id.parse().unwrap();
        story.end().await.unwrap();

        let signals = captured.signals().await.unwrap();
        assert_eq!(canaries.hits(&signals), []);
        assert_eq!(unseen(began).hits(&signals), []);
        let ledgers = traces::ledgers(folder.path()).await;
        assert_eq!(canaries.hits(&ledgers), []);
        // Names of exchanges are in the ledgers by design, so that the search is seen to read them.
        let mut exchange = Canaries::default();
        exchange.watch("the exchange", first.as_bytes());
        let found: Vec<String> = exchange
            .hits(&ledgers)
            .into_iter()
            .map(|hit| hit.signal)
            .collect();
        assert_eq!(found, ["clamart's ledger", "cnaf's ledger"]);
        let files = traces::files(folder.path(), &["mesr/cases", "dgfip/cases"]);
        assert_eq!(traces::unexpected(&canaries, &files, KEPT, PASSING), []);
    });
}

#[test]
fn refusals_tell_nothing_personal_and_neither_does_what_they_leave_behind() {
    run(async |captured| {
        let (began, mut canaries) = (SystemClock.now(), Canaries::default());
        let person = Person::planted(
            &mut canaries,
            &Numbers {
                born: "1908-12-31",
                birthplace: "",
                birthcountry: "99897",
                phone: "+33639981234",
                child_born: "1914-10-30",
                quotient: "7319842",
                uai: "7319847R",
                income: "7319884",
            },
        );
        let other = Person::planted(
            &mut canaries,
            &Numbers {
                born: "1909-11-28",
                birthplace: "98398",
                birthcountry: "99100",
                phone: "+33639985678",
                child_born: "1915-12-29",
                quotient: "7329842",
                uai: "7329847S",
                income: "7329884",
            },
        );
        let spoilt = spoilt(&other.persona, &mut canaries);
        let folder = tempfile::tempdir().unwrap();
        let source = Source::start().await;
        let world = world(folder.path(), &person);
        let config = world.folder("cnaf").join("node.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let (ours, theirs) = (
            format!("127.0.0.1:{}/", source.port),
            format!("127.0.0.1:{}/", world.ports.backend),
        );
        assert!(text.contains(&theirs), "{text}");
        std::fs::write(&config, text.replace(&theirs, &ours)).unwrap();
        let (lyon, clamart) = (
            Participant::new(&world, "lyon"),
            Participant::new(&world, "clamart"),
        );
        let places = Places::of(&world);
        let socket = world.folder("clamart").join("backoffice.sock");

        let mut script = person.script();
        script.people.push(other.persona.clone());
        script.people.extend(spoilt.clone());
        let mut story = Story::begin(world, script, Roles::Here).await.unwrap();
        let mut told = Told::default();
        source.answers(200, ("x-none", String::new()), person.spoilt(&mut canaries));
        let mut last = (true, "");
        let held = story
            .tell(|step| {
                last = (step.ok, step.step);
                if !step.ok {
                    told.page(&step.seen);
                }
            })
            .await;
        assert_eq!((held, last), (false, (false, "fetch-http")));
        let handles: Vec<String> = story.grants()[0]
            .elements
            .iter()
            .map(|e| e.handle.clone())
            .collect();
        doors::backoffice(socket, &person.persona, &handles, &mut canaries, &mut told).await;

        let mut browser = Browser::default();
        doors::log_in(&mut browser, &places, &person.persona).await;
        let dossier = canaries.plant("a dossier");
        let (element, code) = doors::grant(
            &lyon,
            &mut browser,
            &places,
            &person.persona,
            &dossier,
            &mut canaries,
        )
        .await;
        doors::malformed(&lyon, &clamart, &element, &mut canaries, &mut told).await;
        doors::source_fails(&lyon, &source, &person, &element, &mut canaries, &mut told).await;
        let refresh = [
            ("client_id", LYON),
            ("grant_type", "refresh_token"),
            ("refresh_token", &element.refresh_token),
            ("resource", MESR),
        ];
        let student = lyon.token(&refresh).await;
        student.watch(&mut canaries);
        doors::consumed(&lyon, &student, &mut canaries, &mut told).await;
        doors::back_channel(&lyon, &person.persona, &mut canaries, &mut told).await;

        doors::pages(&mut browser, &places, &mut canaries, &mut told).await;
        doors::callback(&places, &spoilt, &mut canaries, &mut told).await;
        doors::others(
            &lyon,
            &places,
            &person,
            &other,
            &element,
            &mut canaries,
            &mut told,
        )
        .await;
        doors::withdrawn(&lyon, &mut browser, &places, &element, &code, &mut told).await;
        watch_browser(&browser, &mut canaries);
        seen(&story, &mut canaries);
        story.end().await.unwrap();

        let mut signals = captured.signals().await.unwrap();
        signals.push(told.signal(100));
        assert_eq!(canaries.hits(&signals), []);
        assert_eq!(unseen(began).hits(&signals), []);
        assert_eq!(canaries.hits(&traces::ledgers(folder.path()).await), []);
        let files = traces::files(folder.path(), &["mesr/cases", "dgfip/cases"]);
        assert_eq!(traces::unexpected(&canaries, &files, KEPT, PASSING), []);
    });
}

/// People whom the authority cannot take, each with one claim that is not what it should be.
fn spoilt(persona: &Persona, canaries: &mut Canaries) -> Vec<Persona> {
    let mut canary = |field: &str| &*canaries.plant(field).leak();
    let born = Persona {
        key: "born",
        birthdate: canary("a spoilt birthdate"),
        ..persona.clone()
    };
    let gender = Persona {
        key: "gender",
        gender: canary("a spoilt gender"),
        ..persona.clone()
    };
    let place = Persona {
        key: "place",
        birthplace: canary("a spoilt birthplace"),
        ..persona.clone()
    };
    let country = Persona {
        key: "country",
        birthcountry: canary("a spoilt birthcountry"),
        ..persona.clone()
    };
    let long = Persona {
        key: "long",
        family_name: canary("a long name").repeat(99).leak(),
        ..persona.clone()
    };
    vec![born, gender, place, country, long]
}

/// What came into being while the story was told.
fn seen(story: &Story, canaries: &mut Canaries) {
    watch_browser(story.browser(), canaries);
    for grant in story.grants() {
        canaries.watch("a grant's name", &grant.grant_id);
        for element in &grant.elements {
            canaries.watch("a handle", &element.handle);
        }
    }
    for answer in story.answers() {
        canaries.watch("an exchange's name", &answer.request_id);
        canaries.watch("the content's salt", &answer.content_salt);
        for part in answer.sd_jwt.split(['.', '~']).filter(|part| part.len() >= 20) {
            canaries.watch("the attestation", part);
        }
    }
}

/// What nobody here sees and what still begins in a known way: tokens of the nodes' own, exchanges that were refused.
/// For signals only: ledgers name exchanges, and files hold signed things.
fn unseen(since: Micros) -> Canaries {
    let mut canaries = Canaries::default();
    for member in ["alg", "typ", "kid", "enc", "epk", "iss"] {
        let start = URL_SAFE_NO_PAD.encode(format!("{{\"{member}\""));
        canaries.watch("a token of any kind", &start);
    }
    // A name of an exchange begins with its instant: 48 bits of milliseconds, 32 of which change each minute.
    for minute in (since.get() / 1_000) >> 16..=(SystemClock.now().get() / 1_000) >> 16 {
        canaries.watch("an exchange's name", format!("{minute:08x}"));
    }
    canaries
}

/// Where a browser was sent and what it was given to keep.
fn watch_browser(browser: &Browser, canaries: &mut Canaries) {
    for cookie in browser.cookies() {
        canaries.watch("a cookie", cookie);
    }
    for url in browser.trail() {
        for (name, value) in url.query_pairs() {
            // The issuer is public.
            if value.len() >= 20 && name != "iss" && name != "client_id" && name != "redirect_uri" {
                canaries.watch(&format!("the browser's {name}"), value.as_bytes());
            }
        }
        for segment in url.path().split('/').filter(|segment| segment.len() >= 20) {
            canaries.watch("a page's name", segment);
        }
    }
}
