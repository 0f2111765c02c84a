use super::*;
use crate::Micros;

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

fn angela() -> Pivot {
    Pivot {
        family_name: "DUBOIS".into(),
        given_names: names(&["Angela", "Claire", "Louise"]),
        birthdate: "1962-08-24".parse().unwrap(),
        gender: Gender::Female,
        birthplace: Some("75107".parse().unwrap()),
        birthcountry: Some("99100".parse().unwrap()),
        preferred_username: None,
    }
}

#[test]
fn refuses_dates_that_do_not_exist() {
    for text in [
        "",
        "62-08-24",
        "1962-13-01",
        "1962-02-30",
        "1962-00-05",
        "1962-8-24",
        "1962-08-24-01",
        "0000",
        "１962",
    ] {
        assert!(text.parse::<BirthDate>().is_err(), "{text}");
    }
}

#[test]
fn dates_agree_by_precision() {
    let full: BirthDate = "1992-01-01".parse().unwrap();
    assert!(full.agrees_with(&"1992-00-00".parse().unwrap()));
    assert!(full.agrees_with(&"1992-01".parse().unwrap()));
    assert!(!full.agrees_with(&"1992-02-00".parse().unwrap()));
    assert!(!full.agrees_with(&"1991".parse().unwrap()));
    let texts: Vec<String> = full.precisions().map(|d| d.to_string()).collect();
    assert_eq!(texts, ["1992-01-01", "1992-01-00", "1992-00-00"]);
}

#[test]
fn first_names_match_as_a_beginning_never_any() {
    let held = names(&["Angela", "Claire", "Louise"]);
    assert!(!given_names_match(&names(&["Claire"]), &held));
    assert!(!given_names_match(&names(&["Angela", "Louise"]), &held));
    assert!(!given_names_match(&[], &held));
    assert!(!given_names_match(&names(&["Ange"]), &held));
    assert!(given_names_match(&names(&["ANGELA"]), &held));
    assert!(given_names_match(&held, &names(&["angela claire"])));
    assert!(given_names_match(
        &names(&["Jean-Philippe"]),
        &names(&["Jean Philippe", "Pierre"])
    ));
}

#[test]
fn names_compare_without_accents_ligatures_and_punctuation() {
    for (a, b) in [
        ("Joëlle", "JOELLE"),
        ("CŒUR", "coeur"),
        ("ANO'NYMOS-LONS", "Ano’nymos  lons"),
        (" Weiß ", "WEISS"),
    ] {
        assert_eq!(compare_key(a), compare_key(b), "{a}");
    }
    assert_ne!(compare_key("DUBOIS"), compare_key("DUBOIX"));
}

#[test]
fn nobody_is_under_age_for_sure_unless_the_whole_date_says_so() {
    let at = |instant: &str| instant.parse::<Micros>().unwrap();
    let of_age = |born: &str, now| born.parse::<BirthDate>().unwrap().may_be_of_age(at(now));
    for (born, now, grown) in [
        ("2008-11-25", "2026-11-24T21:59:59Z", false),
        // It is the 25th in summer's Paris.
        ("2008-11-25", "2026-11-24T22:00:00Z", true),
        ("2008-12-00", "2026-11-30T12:00:00Z", false),
        ("2008-11-00", "2026-11-01T00:00:00Z", true),
        ("2008-00-00", "2025-12-31T21:00:00Z", false),
        ("2008-00-00", "2026-01-01T00:00:00Z", true),
        ("2008-02-29", "2026-02-28T12:00:00Z", false),
        ("2008-02-29", "2026-03-01T12:00:00Z", true),
    ] {
        assert_eq!(of_age(born, now), grown, "{born} at {now}");
    }
    assert!(
        !"2026-11-25"
            .parse::<BirthDate>()
            .unwrap()
            .has_come(at("2026-11-24T12:00:00Z"))
    );
    assert!(
        "2026-11-00"
            .parse::<BirthDate>()
            .unwrap()
            .has_come(at("2026-11-24T12:00:00Z"))
    );
}

#[test]
fn whoever_is_named_is_found_by_all_first_names_and_the_whole_date() {
    let named = |given: &[&str], date: &str, gender| NamedPerson {
        child: false,
        family_name: "Dubois".into(),
        given_names: names(given),
        birthdate: date.parse().unwrap(),
        gender,
    };
    let found = |named: NamedPerson, by: &Pivot| by.named_forms().contains(&named.form());
    let all = &["angela", "Claire", "LOUISE"][..];
    for (given, date, gender) in [
        (&["Angela"][..], "1962-08-24", None),
        (all, "1962-08-25", None),
        (all, "1962-08-00", None),
        (all, "1962-00-00", None),
        (all, "1962-08-24", Some(Gender::Male)),
    ] {
        assert!(!found(named(given, date, gender), &angela()), "{given:?} {date}");
    }
    assert!(found(named(all, "1962-08-24", None), &angela()));
    assert!(found(
        named(&["Angela Claire", "Louise"], "1962-08-24", Some(Gender::Female)),
        &angela()
    ));
    // A provider writes a presumed date as a first of the month, or of the year.
    let presumed = Pivot {
        birthdate: "1962-01-01".parse().unwrap(),
        ..angela()
    };
    for date in ["1962-01-01", "1962-01-00", "1962-00-00"] {
        assert!(found(named(all, date, None), &presumed), "{date}");
    }
    assert!(!angela().named_forms().contains(&angela().canonical()));
}

#[test]
fn nothing_that_was_typed_is_attested() {
    let named = NamedPerson {
        child: true,
        family_name: "Dubois".into(),
        given_names: names(&["ANGELA"]),
        birthdate: "1962".parse().unwrap(),
        gender: None,
    };
    // Typed finer: of all who may be meant, one.
    assert!(named.agrees_with(&angela()));
    let kept = named.attested();
    assert_eq!(
        (kept.family_name.as_str(), &kept.given_names),
        ("Dubois", &names(&["ANGELA"]))
    );
    assert_eq!(
        (kept.birthdate, kept.gender),
        ("1962".parse().unwrap(), Gender::Unspecified)
    );
    assert_eq!((kept.birthplace, kept.birthcountry), (None, None));
}

#[test]
fn whoever_may_be_the_same_person_is_near() {
    let other = |change: fn(&mut Pivot)| {
        let mut pivot = angela();
        change(&mut pivot);
        pivot.near_form() == angela().near_form()
    };
    assert!(!other(|p| p.family_name = "DUBOIX".into()));
    assert!(!other(|p| p.given_names = names(&["Claire", "Angela"])));
    assert!(!other(|p| p.birthdate = "1963-08-24".parse().unwrap()));
    assert!(other(|p| p.given_names = names(&["ANGELA"])));
    assert!(other(|p| p.given_names = names(&["Angela-Claire Louise"])));
    assert!(other(|p| p.birthdate = "1962".parse().unwrap()));
    assert!(other(|p| p.family_name = " dubois".into()));
    assert!(other(|p| {
        p.gender = Gender::Unspecified;
        p.birthplace = None;
    }));
    assert_ne!(angela().near_form(), angela().canonical());
}

#[test]
fn an_identity_without_a_day_a_place_or_a_sex_is_not_whole() {
    type Change = fn(&mut Pivot);
    let lacks: [Change; 5] = [
        |p| p.birthdate = "1962-08-00".parse().unwrap(),
        |p| p.birthdate = "1962".parse().unwrap(),
        |p| p.birthplace = None,
        |p| p.birthcountry = None,
        |p| p.gender = Gender::Unspecified,
    ];
    for change in lacks {
        let mut pivot = angela();
        change(&mut pivot);
        assert!(!pivot.is_whole());
    }
    assert!(angela().is_whole());
    let abroad = Pivot {
        birthplace: None,
        birthcountry: Some("99109".parse().unwrap()),
        ..angela()
    };
    assert!(abroad.is_whole());
}

#[test]
fn only_a_whole_birth_in_a_commune_of_france_names_one_person() {
    let changed = |change: fn(&mut Pivot)| {
        let mut pivot = angela();
        change(&mut pivot);
        pivot.subject_form()
    };
    let shared: [fn(&mut Pivot); 6] = [
        |p| p.birthplace = None,
        |p| p.birthcountry = None,
        |p| p.birthcountry = Some("99352".parse().unwrap()),
        |p| p.birthdate = "1962-08".parse().unwrap(),
        |p| p.birthdate = "1962".parse().unwrap(),
        |p| p.gender = Gender::Unspecified,
    ];
    for change in shared {
        assert!(matches!(changed(change), SubjectForm::Shared(_)));
    }
    assert!(changed(|_| {}) == SubjectForm::Exact(angela().canonical()));
}

#[test]
fn hidden_characters_and_empty_names_are_refused() {
    for name in [
        "",
        " ",
        "DU\u{202e}BOIS",
        "DU\u{200b}BOIS",
        "DU\nBOIS",
        &"x".repeat(129),
    ] {
        assert_eq!(
            Pivot {
                family_name: name.into(),
                ..angela()
            }
            .checked(),
            Err(InvalidPivot("family_name"))
        );
    }
    assert!(
        Pivot {
            given_names: vec![],
            ..angela()
        }
        .checked()
        .is_err()
    );
    assert!(
        "7510".parse::<Cog>().is_err() && "2C001".parse::<Cog>().is_err() && "é7510".parse::<Cog>().is_err()
    );
    assert!(angela().checked().is_ok());
}

#[test]
fn one_person_has_one_canonical_form_and_no_debug_text() {
    let respelled = Pivot {
        family_name: "Dubois".into(),
        given_names: names(&["ANGELA", "CLAIRE", "LOUISE"]),
        ..angela()
    };
    assert_eq!(respelled.canonical(), angela().canonical());
    let twin = Pivot {
        given_names: names(&["Angele", "Claire", "Louise"]),
        ..angela()
    };
    assert_ne!(twin.canonical(), angela().canonical());
    assert_eq!(format!("{:?}", angela()), "Pivot(…)");
}
