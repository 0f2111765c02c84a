use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Payload<'_> {
    Payload::parse(text.as_bytes(), 1 << 20).unwrap()
}

fn set(pointers: &[&str]) -> PointerSet {
    let pointers: Vec<Pointer> = pointers.iter().map(|p| p.parse().unwrap()).collect();
    pointers.iter().collect()
}

fn prune(text: &str, pointers: &[&str]) -> String {
    parse(text).prune(&set(pointers)).unwrap()
}

#[test]
fn refuses_what_is_no_strict_json() {
    for text in [
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "0x1",
        "NaN",
        "tru",
        "nulll",
        "1 2",
        "{} {}",
        "\"",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\u{feff}{}",
        "[1}",
        "{\"a\" 1}",
        "//\n1",
    ] {
        assert!(
            matches!(
                Payload::parse(text.as_bytes(), 100),
                Err(PayloadError::Syntax { .. })
            ),
            "{text}"
        );
    }
    let not_utf8 = Payload::parse(b"{\"a\":\"\xff\"}", 100).unwrap_err();
    assert_eq!(not_utf8, PayloadError::Syntax { offset: 6 });
}

#[test]
fn refuses_a_key_twice_in_whatever_spelling_at_each_level() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"[{"b":{"a":1,"c":2,"a":3}}]"#,
    ] {
        let refused = Payload::parse(text.as_bytes(), 100);
        assert!(
            matches!(refused, Err(PayloadError::DuplicateKey { .. })),
            "{text}"
        );
    }
    parse(r#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#);
}

#[test]
fn refuses_what_is_too_long_or_too_deep() {
    assert_eq!(
        Payload::parse(b"[1]", 2).unwrap_err(),
        PayloadError::TooLarge { max: 2 }
    );
    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    parse(&nested(MAX_DEPTH));
    let deep = nested(MAX_DEPTH + 1);
    assert_eq!(
        Payload::parse(deep.as_bytes(), 100).unwrap_err(),
        PayloadError::TooDeep { offset: MAX_DEPTH }
    );
    let bomb = "[".repeat(1 << 20);
    assert!(Payload::parse(bomb.as_bytes(), 1 << 20).is_err());
}

#[test]
fn pruning_keeps_values_byte_for_byte_in_the_order_of_the_source() {
    let source = r#" { "z" : 900.0 , "s" : "\u00e9\/é" , "a" : { "n" : null , "x" : -1.50E+2 } , "t":123.40,
        "big": 12345678901234567890123 , "list" : [ {"k":1,"hidden":2} , {"hidden":3} ] , "gone" : [1 , 2] } "#;
    assert_eq!(
        prune(source, &["/z", "/s", "/a/x", "/t", "/big", "/list/*/k", "/gone"]),
        r#"{"z":900.0,"s":"\u00e9\/é","a":{"x":-1.50E+2},"t":123.40,"big":12345678901234567890123,"list":[{"k":1},{}],"gone":[1,2]}"#
    );
}

#[test]
fn absent_stays_absent_and_null_stays_null() {
    assert_eq!(prune(r#"{"b":1}"#, &["/a"]), "{}");
    assert_eq!(prune(r#"{"a":null}"#, &["/a"]), r#"{"a":null}"#);
    assert_eq!(prune(r#"{"a":null}"#, &["/a/b/c"]), r#"{"a":null}"#);
    assert_eq!(prune(r#"{"a":null}"#, &["/a/*/c"]), r#"{"a":null}"#);
    assert_eq!(prune(r#"{"a":[]}"#, &["/a/*/c"]), r#"{"a":[]}"#);
    assert_eq!(prune(r#"{"a":{}}"#, &["/a/b"]), r#"{"a":{}}"#);
}

#[test]
fn a_value_that_the_pointer_does_not_reach_never_slips_through() {
    for text in [r#"{"a":"secret"}"#, r#"{"a":["secret"]}"#, r#"{"a":{"b":7}}"#] {
        let refused = parse(text).prune(&set(&["/a/b/c"])).unwrap_err();
        assert!(matches!(refused, PayloadError::Shape { .. }), "{text}");
        assert!(!refused.to_string().contains("secret"));
    }
    assert!(parse(r#"{"a":{"b":7}}"#).prune(&set(&["/a/*/c"])).is_err());
}

#[test]
fn pointers_have_one_meaning() {
    for text in ["a", "/a~", "/a~2", "a/b", &"/a".repeat(33)] {
        assert_eq!(text.parse::<Pointer>(), Err(InvalidPointer), "{text}");
    }
    for text in ["", "/", "/a~0b~1c", "/a/*/b", "/ "] {
        assert_eq!(text.parse::<Pointer>().unwrap().to_string(), text);
    }
    let payload = parse(r#"{"a/b":{"~":"x\u0041"},"l":[{"k":1},{},{"k":2.0}]}"#);
    assert_eq!(payload.texts(&"/a~1b/~0".parse().unwrap()), [r#""x\u0041""#]);
    assert_eq!(payload.strings(&"/a~1b/~0".parse().unwrap()), ["xA"]);
    assert_eq!(payload.texts(&"/l/*/k".parse().unwrap()), ["1", "2.0"]);
    assert!(payload.strings(&"/l/*/k".parse().unwrap()).is_empty());
    assert!(payload.texts(&"/l/0".parse().unwrap()).is_empty());
}

fn mapping(moves: &[(&str, &str)]) -> Result<Mapping, InvalidMapping> {
    let renames = moves.iter().map(|(from, to)| Rename {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
    });
    Mapping::try_from(renames.collect::<Vec<_>>())
}

#[test]
fn a_mapping_that_would_combine_is_refused() {
    for moves in [
        [("/a", "/x"), ("/b", "/x")],
        [("/a", "/x"), ("/b", "/x/y")],
        [("/a", ""), ("/b", "/x")],
        [("/a/*", "/x/*"), ("/b/*", "/x/*")],
        [("/a/*/c", "/x/*/c"), ("/b/*/d", "/x/*/d")],
        [("/a", "/y"), ("/a/*/c", "/x")],
        [("/a", "/y"), ("/a", "/x/*")],
    ] {
        assert!(mapping(&moves).is_err(), "{moves:?}");
    }
}

#[test]
fn a_mapping_renames_and_drops() {
    let source =
        r#"{"data":{"qf":{"v":900.0,"by":"CNAF"},"kids":[{"n":"A","d":1},{"n":null}],"x":1},"meta":{}}"#;
    let apply = |moves: &[(&str, &str)]| mapping(moves).unwrap().apply(&parse(source)).unwrap();
    assert_eq!(
        apply(&[("/data", "")]),
        r#"{"qf":{"v":900.0,"by":"CNAF"},"kids":[{"n":"A","d":1},{"n":null}],"x":1}"#
    );
    assert_eq!(
        apply(&[
            ("/data/qf/v", "/quotient/valeur"),
            ("/data/kids/*/n", "/enfants/*/nom"),
            ("/data/kids/*/d", "/enfants/*/jour"),
            ("/data/nothing", "/absent"),
        ]),
        r#"{"quotient":{"valeur":900.0},"enfants":[{"nom":"A","jour":1},{"nom":null}]}"#
    );
    assert_eq!(apply(&[]), "{}");
}

#[test]
fn a_mapping_never_turns_null_into_nothing() {
    let apply = |moves: &[(&str, &str)], source: &str| mapping(moves).unwrap().apply(&parse(source)).unwrap();
    let address = [
        ("/a/town", "/adresse/ville"),
        ("/a/zip", "/adresse/code"),
        ("/id", "/id"),
    ];
    assert_eq!(
        apply(&address, r#"{"a":null,"id":1}"#),
        r#"{"id":1,"adresse":null}"#
    );
    assert_eq!(apply(&address, r#"{"a":null}"#), "null");
    assert_eq!(apply(&address, r#"{"id":1}"#), r#"{"id":1}"#);
    let scattered = [("/a/x", "/o/x"), ("/b/y", "/o/y")];
    assert_eq!(
        apply(&scattered, r#"{"a":{"x":1},"b":null}"#),
        r#"{"o":{"x":1,"y":null}}"#
    );
    let wrong = mapping(&scattered).unwrap();
    assert!(wrong.apply(&parse(r#"{"a":"s"}"#)).is_err());
}

/// JSON text in odd spellings: spaces, escapes, numbers that do not survive parsing.
fn json_text() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?",
        "\"([a-zé /]|\\\\n|\\\\u00e9|\\\\\\\\|\\\\\"){0,6}\"",
    ];
    scalar.prop_recursive(5, 64, 5, |inner| {
        let key = prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")];
        prop_oneof![
            prop::collection::vec((inner.clone(), "[ \n\t]{0,2}"), 0..5)
                .prop_map(|items| { bracket('[', ']', items.into_iter().map(|(v, s)| s.clone() + &v + &s)) }),
            prop::collection::btree_map(key, (inner, "[ \r]{0,2}"), 0..4).prop_map(|members| {
                let members = members.into_iter();
                bracket(
                    '{',
                    '}',
                    members.map(|(k, (v, s))| format!("{s}\"{k}\"{s}:{s}{v}{s}")),
                )
            }),
        ]
    })
}

fn bracket(open: char, close: char, items: impl Iterator<Item = String>) -> String {
    format!("{open}{}{close}", items.collect::<Vec<_>>().join(","))
}

fn pointers() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("(/(a|b|c|d|\\*)){0,4}", 0..4)
}

fn leaves<'a>(value: &'a Value<'a>, found: &mut Vec<&'a str>) {
    match &value.shape {
        Shape::Null | Shape::Scalar => found.push(value.text),
        Shape::Array(items) => items.iter().for_each(|item| leaves(item, found)),
        Shape::Object(members) => members.iter().for_each(|m| leaves(&m.value, found)),
    }
}

/// Whether `part` is `whole` with members of objects taken out, and nothing else.
fn included(part: &Value<'_>, whole: &Value<'_>) -> bool {
    match (&part.shape, &whole.shape) {
        (Shape::Object(part), Shape::Object(_)) => part
            .iter()
            .all(|m| whole.member(&m.key).is_some_and(|w| included(&m.value, w))),
        (Shape::Array(part), Shape::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(p, w)| included(p, w))
        }
        (Shape::Null, Shape::Null) | (Shape::Scalar, Shape::Scalar) => part.text == whole.text,
        _ => false,
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_what_passes_passes_serde(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if Payload::parse(&bytes, 64).is_ok() {
            prop_assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&bytes).is_ok());
        }
    }

    #[test]
    fn json_like_text_is_judged_as_serde_judges_it(text in "[\\[\\]{}:,\"\\\\ u0-9a-fentrlsE+.\\-]{0,24}") {
        let ours = Payload::parse(text.as_bytes(), 64);
        let serdes = serde_json::from_str::<serde_json::Value>(&text);
        match ours {
            Ok(_) => prop_assert!(serdes.is_ok() || serdes.unwrap_err().to_string().contains("out of range")),
            Err(PayloadError::Syntax { .. }) => prop_assert!(serdes.is_err(), "{}", text),
            Err(_) => {}
        }
    }

    #[test]
    fn compact_text_is_the_same_value_and_a_fixed_point(text in json_text()) {
        let compact = parse(&text).compact();
        prop_assert!(included(&parse(&compact).root, &parse(&text).root));
        prop_assert!(included(&parse(&text).root, &parse(&compact).root));
        prop_assert_eq!(parse(&compact).compact(), compact.clone());
        prop_assert_eq!(parse(&text).prune(&set(&[""])).unwrap(), compact);
    }

    #[test]
    fn what_is_pruned_is_in_the_source_and_under_a_pointer(text in json_text(), pointers in pointers()) {
        let pointers: Vec<&str> = pointers.iter().map(String::as_str).collect();
        let source = parse(&text);
        if let Ok(pruned) = source.prune(&set(&pointers)) {
            let pruned = parse(&pruned);
            prop_assert!(included(&pruned.root, &source.root));
            let (mut kept, mut known) = (Vec::new(), Vec::new());
            leaves(&pruned.root, &mut kept);
            leaves(&source.root, &mut known);
            prop_assert!(kept.iter().all(|leaf| known.contains(leaf)));
            // What a pointer reaches in the source it still reaches, unchanged but for space.
            for pointer in &pointers {
                let pointer = pointer.parse().unwrap();
                let there: Vec<_> = source.texts(&pointer).into_iter().map(|t| parse(t).compact()).collect();
                prop_assert_eq!(pruned.texts(&pointer), there);
            }
        }
    }

    #[test]
    fn a_mapping_moves_texts_unchanged(text in json_text()) {
        let source = format!("{{\"data\":{text}}}");
        let moved = mapping(&[("/data", "/other/place")]).unwrap().apply(&parse(&source)).unwrap();
        prop_assert_eq!(parse(&moved).texts(&"/other/place".parse().unwrap()), [parse(&text).compact()]);
    }
}
