//! Templates, and what Go makes of them.

use super::*;

fn properties() -> Properties {
    [("clusterName", "edge1"), ("region", "us-east"), ("n", "3"), ("html", "<a b='c'>&\"")]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn run(text: &str) -> String {
    match Template::parse(text) {
        Ok(template) => template.execute("t", &properties()).unwrap_or_else(|error| format!("! {error}")),
        Err(error) => format!("! {}", error.named("t")),
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(run(text), expected, "{text}");
}

#[test]
fn properties_are_put_in() {
    check("https://{{ .clusterName }}.{{.region}}/", "https://edge1.us-east/");
    check("{{if eq .region \"us-east\"}}e{{else}}w{{end}}", "e");
    check("{{with $x := .n}}{{$x}}{{end}}", "3");
    check("{{range $k, $v := .}}{{$k}}={{$v}};{{end}}", "clusterName=edge1;html=<a b='c'>&\";n=3;region=us-east;");
    check("a {{- \" b \" -}} c", "a b c");
    check("{{define \"x\"}}<{{.}}>{{end}}{{template \"x\" .n}}", "<3>");
    check("{{printf \"%05d|%q|%v\" 42 .n true}}", "00042|\"3\"|true");
}

#[test]
fn errors_are_worded_as_in_go() {
    check("{{.nothing}}", "! template: t:1:2: executing \"t\" at <.nothing>: map has no entry for key \"nothing\"");
    check("{{.n.m}}", "! template: t:1:4: executing \"t\" at <.n.m>: can't evaluate field m in type string");
    check("{{", "! template: t:1: unclosed action");
    check("{{if}}x{{end}}", "! template: t:1: missing value for if");
    check("{{nofunction}}", "! template: t:1: function \"nofunction\" not defined");
    check(
        "{{index .n 9}}",
        "! template: t:1:2: executing \"t\" at <index .n 9>: error calling index: index out of range: 9",
    );
}

#[test]
fn what_a_template_may_cost_is_bounded() {
    for (text, limit) in [
        ("{{range 100000000}}{{end}}", "exceeded maximum of 1048576 steps"),
        ("{{define \"x\"}}{{template \"x\" .}}{{end}}{{template \"x\" .}}", "exceeded maximum template depth (128)"),
        ("{{range 1000}}{{printf \"%1000d\" 1}}{{end}}", "exceeded maximum output of 524288 bytes"),
        ("{{$x := \"ab\"}}{{range 64}}{{$x = print $x $x}}{{end}}", "exceeded maximum output of 524288 bytes"),
    ] {
        let error = run(text);
        assert!(error.ends_with(limit), "{text}: {error}");
    }
    let deep = format!("{}1{}", "{{(".to_owned() + &"(".repeat(1000), ")".repeat(1001) + "}}");
    check(&deep, "! template: t:1: max expression depth exceeded");
    let deep = "{{if true}}".repeat(1000) + &"{{end}}".repeat(1000);
    check(&deep, "! template: t:1: max expression depth exceeded");
}

#[test]
fn what_a_stock_go_makes_of_templates_so_do_we() {
    let table = include_str!("../../../../interop/templates/table.txt");
    let mut lines = table.lines().filter(|line| !line.starts_with('#'));
    let mut wrong = Vec::new();
    let mut count = 0;
    while let (Some(template), Some(expected)) = (lines.next(), lines.next()) {
        let template: String = serde_json::from_str(template).unwrap();
        let expected: String = serde_json::from_str(expected).unwrap();
        let got = run(&template);
        count += 1;
        if got != expected {
            wrong.push(format!("{template}\n   Go:   {expected}\n   here: {got}"));
        }
    }
    assert!(count >= 300, "{count} templates");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}

proptest::proptest! {
    #[test]
    fn reading_and_executing_never_panics(text in "(\\{\\{|\\}\\}|[-a-z.$ |()\"`',=:0-9\\\\]|if |end|range |with |print |printf |\\n){0,24}") {
        let _ = run(&text);
    }
}
