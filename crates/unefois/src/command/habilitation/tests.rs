use clap::Parser;

use unefois_core::Reason;

use super::*;
use crate::console::Lang;
use crate::demo::world::{CLAMART, CNAF, LYON, MESR, Member, Setting, World};

const CONSOLE: Console = Console {
    json: true,
    lang: Lang::Fr,
};
const SAMPLE: &str = include_str!("../../../../../deploy/habilitation.yaml");

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: HabilitationCommand,
}

fn parse(words: &[&str]) -> HabilitationCommand {
    let words = ["habilitation"].iter().chain(words);
    Line::try_parse_from(words)
        .unwrap_or_else(|e| panic!("{e}"))
        .command
}

fn at() -> Micros {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn catalogue() -> Catalogue {
    crate::demo::world::built_in_catalogue().unwrap()
}

fn sample() -> Habilitation {
    described(serde_saphyr::from_str(SAMPLE).unwrap(), &catalogue()).unwrap()
}

#[test]
fn what_would_never_be_of_use_is_told_before_anybody_signs() {
    let found = |change: &dyn Fn(&mut Habilitation)| -> Vec<String> {
        let mut habilitation = sample();
        change(&mut habilitation);
        let faults = faults::of(&habilitation, &catalogue(), None, at());
        faults.iter().map(ToString::to_string).collect()
    };
    let one = |change: &dyn Fn(&mut Habilitation), member: &str, part: &str| {
        let found = found(change);
        assert!(
            found
                .iter()
                .any(|fault| fault.starts_with(member) && fault.contains(part)),
            "{part}: {found:?}"
        );
    };
    one(
        &|h| h.demarche = "inconnue".parse().unwrap(),
        "demarche : ",
        "pas au catalogue ; il y a : ",
    );
    one(
        &|h| h.datatypes[0].datatype = "cnaf/quotient-familial@9".parse().unwrap(),
        "datatypes[0] : ",
        "pas au catalogue",
    );
    one(
        &|h| h.producer = MESR.parse().unwrap(),
        "producer : ",
        "est servi par",
    );
    one(
        &|h| h.datatypes[0].units.extend(["revenu".parse().unwrap()]),
        "datatypes[0].units : ",
        "n'a pas « revenu »",
    );
    one(
        &|h| h.datatypes[0].units.retain(|unit| unit.as_str() != "valeur"),
        "datatypes[0].units : ",
        "demande toujours « valeur »",
    );
    one(
        &|h| h.datatypes[0].units.clear(),
        "datatypes[0].units : ",
        "aucune information",
    );
    one(
        &|h| h.datatypes.push(h.datatypes[0].clone()),
        "datatypes[1] : ",
        "deux fois",
    );
    one(&|h| h.datatypes.clear(), "datatypes : ", "aucun justificatif");
    one(&|h| h.legal_bases.clear(), "legal_bases : ", "aucune base");
    one(
        &|h| h.legal_bases.push(LegalBasis::Consent),
        "legal_bases : ",
        "« RGPD-6-1-a » ne permet pas",
    );
    one(&|h| h.not_after = h.not_before, "not_after : ", "avant le début");
    one(&|h| h.not_after = at(), "not_after : ", "déjà passée");
    assert_eq!(found(&|_| {}), [""; 0]);
}

#[test]
fn a_directory_tells_who_is_not_in_it_and_what_a_body_may_not() {
    let folder = tempfile::tempdir().unwrap();
    let directory = world(folder.path()).directory();
    let found = |change: &dyn Fn(&mut Habilitation)| -> Vec<String> {
        let mut habilitation = sample();
        change(&mut habilitation);
        let faults = faults::of(&habilitation, &catalogue(), Some(&directory), at());
        faults.iter().map(ToString::to_string).collect()
    };
    let nobody = "urn:unefois:participant:13000548100010".parse().unwrap();
    assert_eq!(
        found(&|h| h.consumer = nobody),
        [format!("consumer : {nobody} n'est pas dans l'annuaire")]
    );
    let elsewhere = found(&|h| h.authority = MESR.parse().unwrap());
    assert!(elsewhere[0].starts_with("authority : "), "{elsewhere:?}");
    assert_eq!(
        found(&|h| h.consumer = MESR.parse().unwrap()),
        ["consumer : un organisme de cette sorte ne mène pas cette démarche"]
    );
    assert_eq!(
        found(&|h| h.publisher = Some(LYON.parse().unwrap())),
        ["publisher : le demandeur ne l'a pas pour éditeur dans l'annuaire"]
    );
    assert_eq!(found(&|_| {}), [""; 0]);
}

struct OnDisk {
    world: World,
    root: PathBuf,
}

fn world(root: &Path) -> OnDisk {
    let world = World::create(root, Setting::default(), SystemClock.now(), &SystemRandom::new()).unwrap();
    OnDisk {
        world,
        root: root.to_owned(),
    }
}

impl OnDisk {
    fn path(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }

    fn directory(&self) -> Directory {
        directory::verify(
            &read_text(&self.root.join("cnaf/directory.jws")).unwrap(),
            &self.world.pin,
        )
        .unwrap()
    }

    /// Runs a line over this world's directory and catalogue.
    fn run(&self, words: &[&str]) -> Result<(), Failure> {
        let (directory, pin) = (
            self.path("cnaf/directory.jws"),
            format!("--pin={}", self.world.pin),
        );
        let catalogue = self.path("cnaf/catalogue.bin");
        let more = ["--directory", &directory, &pin, "--catalogue", &catalogue];
        let words: Vec<&str> = words.iter().copied().chain(more).collect();
        run(parse(&words), CONSOLE)
    }
}

#[test]
fn a_proposal_is_signed_by_three_and_taken_up_by_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let file = world.path("proposal.json");
    let propose = [
        "propose",
        "--out",
        &file,
        "--id",
        "DP-7",
        "--consumer",
        CLAMART,
        "--producer",
        CNAF,
        "--demarche",
        "cantine",
        "--datatype",
        "cnaf/quotient-familial@1=valeur",
        "--legal-basis",
        "CRPA-L114-8-I",
        "--not-before",
        "2026-01-01T00:00:00Z",
        "--not-after",
        "2099-01-01T00:00:00Z",
    ];
    let wrong: Vec<&str> = propose
        .iter()
        .map(|word| if *word == "cantine" { "bourse" } else { word })
        .collect();
    assert_eq!(world.run(&wrong).unwrap_err().kind, Kind::Data);
    assert!(!Path::new(&file).exists());
    world.run(&propose).unwrap();
    let unread = [
        "habilitation",
        "sign",
        &file,
        "--role",
        "consumer",
        "--key",
        &file,
    ];
    let unread = Line::try_parse_from(unread).map(drop).unwrap_err().to_string();
    assert!(unread.contains("--hash"), "{unread}");
    assert_eq!(world.run(&propose).unwrap_err().kind, Kind::Exists);

    let row = || read_row(Path::new(&file)).unwrap();
    assert_eq!(missing(&row()).collect::<Vec<_>>(), SignerRole::ALL);
    let directory = world.directory();
    for (role, member) in [
        ("consumer", "clamart"),
        ("producer", "cnaf"),
        ("authority", "authority"),
    ] {
        let key = world.path(&format!("{member}/habilitation.key"));
        let sign = |hash: &str| {
            let line = ["sign", &file, "--role", role, "--key", &key, "--hash", hash];
            run(parse(&line), CONSOLE)
        };
        // What was read was another text: nothing is signed.
        let before = row();
        let refused = sign(&Sha256::of(b"another").to_string()).unwrap_err();
        assert_eq!(refused.kind, Kind::Data);
        let hash = before.habilitation.hash().to_string();
        assert!(refused.to_string().contains(&hash), "{refused}");
        assert_eq!(row(), before);
        sign(&hash).unwrap();
    }
    assert_eq!(missing(&row()).count(), 0);
    for role in SignerRole::ALL {
        assert!(
            words::Standing::of(&row(), role, Some(&directory)).verified(),
            "{role}"
        );
    }
    world.run(&["show", &file]).unwrap();
    // Over what the catalogue says, whatever the proposal held before.
    assert_eq!(row().habilitation.changed_in(&catalogue()), [""; 0]);

    // Signed by somebody else in the producer's place: shown as refused, and no directory takes it.
    let stranger = world.path("mesr/habilitation.key");
    let mut forged = row();
    let key = read_signing_key(Path::new(&stranger), &SystemRandom::new()).unwrap();
    sign(&mut forged, SignerRole::Producer, &key).unwrap();
    let standing = words::Standing::of(&forged, SignerRole::Producer, Some(&directory));
    assert!(!standing.verified());
    assert!(standing.to_string().contains("REFUSÉE"), "{standing}");
    let mut document = directory.document().clone();
    document.habilitations = vec![forged];
    let own = SigningKey::generate(SystemRandom::new().ring()).unwrap();
    let refused = directory::sign_document(&document, &own).unwrap_err();
    assert!(refused.to_string().contains("DP-7"), "{refused}");
    document.habilitations = vec![row()];
    directory::sign_document(&document, &own).unwrap();
}

#[test]
fn a_request_is_tried_by_the_rules_of_authority_and_producer() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let key = |member: Member| {
        format!(
            "--producer-key={}",
            world.world.habilitation_keys[member as usize]
        )
    };
    let (cnaf, mesr) = (key(Member::Cnaf), key(Member::Mesr));
    let attempt = |change: &[(&str, &str)], more: &[&str]| {
        let base = [
            ("--consumer", CLAMART),
            ("--demarche", "cantine"),
            ("--datatype", "cnaf/quotient-familial@1"),
        ];
        let mut words = vec!["try"];
        for (option, value) in base {
            let value = change
                .iter()
                .find(|(changed, _)| *changed == option)
                .map_or(value, |(_, to)| to);
            words.extend([option, value]);
        }
        words.extend(more);
        world.run(&words)
    };
    for (change, more, reason) in [
        (&[("--consumer", MESR)][..], &[][..], Reason::NotEntitled),
        (
            &[],
            &["--unit", "valeur", "--unit", "adresse"],
            Reason::NotEntitled,
        ),
        (&[], &["--unit", "composition"], Reason::InvalidRequest),
        (&[], &["--legal-basis", "RGPD-6-1-a"], Reason::LegalBlock),
        (&[], &["--way", "automatic"], Reason::LegalBlock),
        (&[], &["--publisher", LYON], Reason::NotEntitled),
        (&[], &["--habilitation", "DEMO-lyon-qf"], Reason::NotEntitled),
        (&[], &["--at", "2099-01-01T00:00:00Z"], Reason::DirectoryStale),
        (&[], &[mesr.as_str()], Reason::NotEntitled),
    ] {
        let refused = attempt(change, more).unwrap_err();
        assert_eq!(
            (refused.kind, refused.reason),
            (Kind::No, Some(reason)),
            "{change:?} {more:?}"
        );
    }
    let unknown = attempt(&[("--demarche", "inconnue")], &[]).unwrap_err();
    assert_eq!(unknown.kind, Kind::Data);
    attempt(&[], &[]).unwrap();
    attempt(&[], &[&cnaf]).unwrap();
    let rows = world.directory().document().habilitations.clone();
    let own = rows
        .iter()
        .find(|row| row.habilitation.id.as_str() == "DEMO-clamart-qf");
    let own = own.unwrap().habilitation.hash().to_string();
    let refused = attempt(&[], &[&cnaf, "--ended", &own]).unwrap_err();
    assert_eq!(refused.reason, Some(Reason::NotEntitled));
    let other = Sha256::of(b"another").to_string();
    attempt(&[], &[&cnaf, "--ended", &other]).unwrap();
    attempt(&[("--datatype", "mesr/statut-etudiant@1")], &[&mesr]).unwrap();
}

#[test]
fn the_sample_is_proposed_as_it_is() {
    assert_eq!(faults::of(&sample(), &catalogue(), None, at()).len(), 0);
}

#[test]
fn another_catalogue_under_the_same_names_is_told_and_tried() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let text = read_text(Path::new(&world.path("cnaf/catalogue.bin"))).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let bytes = text.replace(from, to).into_bytes();
        Catalogue::from_bytes(&bytes, &Sha256::of(&bytes)).unwrap()
    };
    let wider = changed(
        r#""pointers":["/quotient_familial"]"#,
        r#""pointers":["/quotient_familial","/adresse"]"#,
    );
    let longer = changed(r#""max_count":12,"#, r#""max_count":24,"#);
    let reworded = changed("School meals and after-school fees", "Meals");
    let rows = world.directory().document().habilitations.clone();
    let signed = &rows
        .iter()
        .find(|row| row.habilitation.id.as_str() == "DEMO-clamart-qf");
    let signed = &signed.unwrap().habilitation;
    let told = |catalogue: &Catalogue| words::habilitation(signed, None, Some(catalogue));
    for (catalogue, member) in [(&wider, "datatypes[0]"), (&longer, "demarche")] {
        assert_eq!(signed.changed_in(catalogue), [member]);
        assert_eq!(
            told(catalogue).matches("ATTENTION").count(),
            1,
            "{}",
            told(catalogue)
        );
    }
    assert!(signed.changed_in(&reworded).is_empty());
    assert!(told(&reworded).contains(&signed.demarche_sha256.to_string()));
    assert!(told(&reworded).contains(&signed.datatypes[0].sheet_sha256.to_string()));
    assert!(!told(&reworded).contains("ATTENTION"));

    // Published all the same by whoever holds the directory's key: both decisions say no, with their own reason.
    let key = SigningKey::generate(SystemRandom::new().ring()).unwrap();
    for (catalogue, reason) in [
        (&wider, Some(Reason::CatalogueChanged)),
        (&longer, Some(Reason::CatalogueChanged)),
        (&reworded, None),
    ] {
        let mut document = world.directory().document().clone();
        document.catalogue_hash = catalogue.hash();
        let [file, compiled] = ["next.jws", "next.bin"].map(|name| world.path(name));
        std::fs::write(&file, directory::sign_document(&document, &key).unwrap()).unwrap();
        std::fs::write(&compiled, catalogue.to_bytes()).unwrap();
        let pin = format!("--pin={}", key.thumbprint());
        let cnaf = format!(
            "--producer-key={}",
            world.world.habilitation_keys[Member::Cnaf as usize]
        );
        for more in [&[][..], &[cnaf.as_str()]] {
            let mut words = vec![
                "try",
                "--directory",
                &file,
                &pin,
                "--catalogue",
                &compiled,
                "--consumer",
                CLAMART,
                "--demarche",
                "cantine",
                "--datatype",
                "cnaf/quotient-familial@1",
            ];
            words.extend(more);
            let tried = run(parse(&words), CONSOLE);
            assert_eq!(tried.err().and_then(|refused| refused.reason), reason, "{more:?}");
        }
    }
}
