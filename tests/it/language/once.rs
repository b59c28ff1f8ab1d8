//! One mistake is told once: every line of the shipped stacks is got wrong, one at a time.

use std::collections::BTreeSet;

use cofferdam::kinds::Registry;
use cofferdam::stack::{Files, Language, Options, parse};

const SHIPPED: [(&str, &str); 4] = [
    ("ecs-poc", include_str!("../../../stacks/ecs-poc.toml")),
    ("fargate-web", include_str!("../../../stacks/fargate-web.toml")),
    ("production-network", include_str!("../../../stacks/production-network.toml")),
    ("worker-and-cron", include_str!("../../../stacks/worker-and-cron.toml")),
];

/// A line with a mistake in it, where it is one that mistakes of this sort can be made in: what is replaced, wherever it
/// stands, and by what.
type Mistake = fn(&str) -> Option<(String, String)>;

/// A key and its value.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let is_key = !key.trim().is_empty() && key.trim().chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    // What spans several lines is not got wrong here.
    let is_whole = value.matches(['[', '{']).count() == value.matches([']', '}']).count() && !value.contains("\"\"\"");
    (is_key && is_whole).then_some((key, value))
}

fn value(line: &str, wrong: &str) -> Option<(String, String)> {
    Some((line.to_owned(), format!("{}= {wrong}", assignment(line)?.0)))
}

fn unknown_key(line: &str) -> Option<(String, String)> {
    let (key, value) = assignment(line)?;
    Some((line.to_owned(), format!("{}x ={value}", key.trim())))
}

/// What a header declares: `kind.name`.
fn block(line: &str) -> Option<(&str, &str)> {
    let (kind, name) = line.split_once(']')?.0.strip_prefix('[')?.split_once('.')?;
    (!name.contains('.') && !kind.starts_with('[') && kind != "env").then_some((kind, name))
}

fn header(line: &str, wrong: impl Fn(&str, &str) -> String) -> Option<(String, String)> {
    let (kind, name) = block(line)?;
    Some((format!("\n[{kind}.{name}"), format!("\n{}", wrong(kind, name))))
}

/// What is told of each mistake of a sort, where it is not one thing.
fn told(mistake: Mistake) -> String {
    let (registry, constructs) = (Registry::new(), cofferdam::constructs::all());
    let language = Language::of(&registry, &constructs);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read(root.join(name));
    let mut out = String::new();
    for (name, text) in SHIPPED {
        let head = text.split("[env.").next().unwrap_or(text);
        for line in head.lines() {
            let Some((right, wrong)) = mistake(line) else { continue };
            let files = Files { read: &read, root: "the project".into() };
            let list = |text: &str| text.replacen("\n[", "\n[[", 1);
            let text = match right.starts_with('\n') {
                true => head.replace(&right, &wrong).replace(&list(&right), &list(&wrong)),
                false => head.replacen(&right, &wrong, 1),
            };
            let told = parse(name, &text, &files, &Options::default(), &language);
            // What is named in several places is missed in each.
            let Err(told) = told else { continue };
            if told.iter().map(|one| &one.message).collect::<BTreeSet<_>>().len() > 1 {
                out.push_str(&format!("{}\n{told}\n\n", wrong.trim()));
            }
        }
    }
    out
}

#[test]
fn one_mistake_in_a_value() {
    insta::assert_snapshot!(told(|line| value(line, "1979-05-27")), @"");
    insta::assert_snapshot!(told(|line| value(line, "\"${vpc.nowhere.id}\"")), @"");
    insta::assert_snapshot!(told(|line| value(line, "\"${vars.nowhere}\"")), @"");
}

#[test]
fn one_mistake_in_a_key() {
    insta::assert_snapshot!(told(unknown_key), @"");
}

#[test]
fn one_mistake_in_a_header() {
    insta::assert_snapshot!(told(|line| header(line, |kind, name| format!("[{kind}x.{name}"))), @"");
    insta::assert_snapshot!(told(|line| header(line, |kind, name| format!("[{kind}.\"{name}!\""))), @"");
    let list = |line: &str| block(line).map(|(kind, name)| (format!("[{kind}.{name}]"), format!("[[{kind}.{name}]]")));
    insta::assert_snapshot!(told(list), @"");
}
