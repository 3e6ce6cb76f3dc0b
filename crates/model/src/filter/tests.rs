//! What matches, what does not, and what does not parse.

use super::*;
use crate::Kind;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default)]
struct Thing {
    name: &'static str,
    other: &'static str,
    labels: BTreeMap<&'static str, &'static str>,
}

impl Adaptor for Thing {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        match path[0].as_str() {
            "name" => (!self.name.is_empty()).then_some(self.name.into()),
            "other" => (!self.other.is_empty()).then_some(self.other.into()),
            "labels" => self.labels.get(path[1..].join(".").as_str()).map(|v| (*v).into()),
            _ => None,
        }
    }
}

fn thing(name: &'static str, other: &'static str, labels: &[(&'static str, &'static str)]) -> Thing {
    Thing { name, other, labels: labels.iter().copied().collect() }
}

fn matching(things: &[Thing], filters: &[&str]) -> Vec<usize> {
    let filter = Filter::parse(filters).unwrap();
    things.iter().enumerate().filter(|(_, thing)| filter.matches(*thing)).map(|(at, _)| at).collect()
}

#[test]
fn selects_what_containerd_selects() {
    let things = [
        thing("alpine", "", &[("tier", "yes")]),
        thing("busy", "", &[]),
        thing("alpine", "", &[("tier", "no"), ("a key with spaces", "here")]),
        thing("busy", "", &[("zone", "yes")]),
        thing("deb", "", &[(r#"slash \ and quote ""#, "here")]),
        thing("deb", "", &[(r#"slash \ and quote ".after"#, "here")]),
        thing("arch", "one, two", &[]),
        thing("arch", "abba", &[]),
        thing("arch", "", &[("tier", "x_y.z-w")]),
    ];
    let all: Vec<usize> = (0..things.len()).collect();
    for (filter, expected) in [
        ("", all.clone()),
        ("name", all),
        ("labels.tier", vec![0, 2, 8]),
        ("labels.tier,name", vec![0, 2, 8]),
        ("labels.tier==yes", vec![0]),
        ("labels.tier==x_y.z-w", vec![8]),
        ("name==busy", vec![1, 3]),
        ("name!=busy", vec![0, 2, 4, 5, 6, 7, 8]),
        ("name==busy,labels.zone", vec![3]),
        (r#"other=="one, two""#, vec![6]),
        ("other~=[abc]+,name!=alpine", vec![7]),
        ("other~=/^[ab]{1,4}$/", vec![7]),
        ("other~=|a.*a|", vec![7]),
        (r#"other~=/x"\//"#, vec![]),
        // An expression that does not compile matches nothing, but it parses.
        ("name~=/(/", vec![]),
        // An absent field is an empty string to != and ~=.
        ("other!=abba", vec![0, 1, 2, 3, 4, 5, 6, 8]),
        ("labels.none~=/^$/,name==deb", vec![4, 5]),
        ("labels.zone==no", vec![]),
        (r#"labels."a key with spaces""#, vec![2]),
        (r#"labels."slash \\ and quote \""==here"#, vec![4]),
        (r#"labels."slash \\ and quote \"".after==here"#, vec![5]),
        (r#"name=="\x61lpine""#, vec![0, 2]),
        ("name == busy", vec![1, 3]),
    ] {
        assert_eq!(matching(&things, &[filter]), expected, "{filter}");
    }
    assert_eq!(matching(&things, &["name==busy", "labels.tier==no"]), vec![1, 2, 3]);
    assert_eq!(matching(&things, &[]).len(), things.len());
    assert_eq!(matching(&things, &["name==none", ""]).len(), things.len());
}

#[test]
fn says_where_a_filter_is_wrong() {
    for (filter, message) in [
        ("labels.|tier|==x", "filters: parse error: [labels. >|||< tier|==x]: invalid quote encountered"),
        ("name==x,", "filters: parse error: [name==x,]: expected field or quoted"),
        ("labels.", "filters: parse error: [labels.]: expected field or quoted"),
        ("labels.?x", "filters: parse error: [labels. >|?|< x]: expected field or quoted"),
        ("image~=,id", "filters: parse error: [image~= >|,|< id]: expected value or quoted"),
        ("labels.ns/k==v", "filters: parse error: [labels.ns >|/|< k==v]: quoted literal not terminated"),
        ("labels.k==/v", "filters: parse error: [labels.k== >|/|< v]: quoted literal not terminated"),
        ("name=x", "filters: parse error: [name >|=|< x]: unsupported operator \"=\""),
        ("name x", "filters: parse error: [name  >|x|< ]: expected an operator (\"==\"|\"!=\"|\"~=\")"),
        ("name==", "filters: parse error: [name==]: expected value or quoted"),
        (r#"name=="\q""#, "filters: parse error: [name== >|\"|< \\q\"]: unquoting failed: quote syntax error"),
    ] {
        let error = Filter::parse(&[filter]).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{filter}");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn no_text_panics_and_quoting_round_trips() {
    // A small generator of nasty texts: every string over this alphabet up to four letters.
    let alphabet = ["a", ".", ",", "=", "!", "~", "\"", "/", "|", "\\", "é", "\0", " ", "x"];
    let mut texts = vec![String::new()];
    for _ in 0..4 {
        texts = texts.iter().flat_map(|text| alphabet.iter().map(move |letter| format!("{text}{letter}"))).collect();
        for text in &texts {
            let _ = Filter::parse(&[text]);
            let quoted = format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#));
            assert_eq!(quote::unquote(&quoted).as_deref(), Some(text.as_str()));
        }
    }
}
