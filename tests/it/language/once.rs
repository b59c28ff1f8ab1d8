//! One mistake is told once: every line of the shipped stacks is got wrong, one at a time.

use cofferdam::kinds::Registry;
use cofferdam::stack::{Files, Language, Options, parse};

const SHIPPED: [(&str, &str); 4] = [
    ("ecs-poc", include_str!("../../../stacks/ecs-poc.toml")),
    ("fargate-web", include_str!("../../../stacks/fargate-web.toml")),
    ("production-network", include_str!("../../../stacks/production-network.toml")),
    ("worker-and-cron", include_str!("../../../stacks/worker-and-cron.toml")),
];

/// A line with a mistake in it, where it is one that mistakes of this sort can be made in.
type Mistake = fn(&str) -> Option<String>;

/// A key and its value.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let is_key = !key.trim().is_empty() && key.trim().chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    // What spans several lines is not got wrong here.
    let is_whole = value.matches(['[', '{']).count() == value.matches([']', '}']).count() && !value.contains("\"\"\"");
    (is_key && is_whole).then_some((key, value))
}

fn date(line: &str) -> Option<String> {
    Some(format!("{}= 1979-05-27", assignment(line)?.0))
}

fn lost_reference(line: &str) -> Option<String> {
    Some(format!("{}= \"${{vpc.nowhere.id}}\"", assignment(line)?.0))
}

fn lost_variable(line: &str) -> Option<String> {
    Some(format!("{}= \"${{vars.nowhere}}\"", assignment(line)?.0))
}

fn unknown_key(line: &str) -> Option<String> {
    let (key, value) = assignment(line)?;
    Some(format!("{}x ={value}", key.trim()))
}

/// What a header declares: `kind.name`.
fn block(line: &str) -> Option<(&str, &str)> {
    let (kind, name) = line.split_once(']')?.0.strip_prefix('[')?.split_once('.')?;
    (!name.contains('.') && !kind.starts_with('[') && kind != "env").then_some((kind, name))
}

fn array_of_tables(line: &str) -> Option<String> {
    block(line).map(|(kind, name)| format!("[[{kind}.{name}]]"))
}

fn unknown_kind(line: &str) -> Option<String> {
    block(line).map(|(kind, name)| format!("[{kind}x.{name}]"))
}

fn bad_name(line: &str) -> Option<String> {
    block(line).map(|(kind, name)| format!("[{kind}.\"{name}!\"]"))
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
        for (number, line) in head.lines().enumerate() {
            let Some(wrong) = mistake(line) else { continue };
            let lines: Vec<&str> =
                head.lines().enumerate().map(|(at, line)| if at == number { wrong.as_str() } else { line }).collect();
            let files = Files { read: &read, root: "the project".into() };
            let told = parse(name, &lines.join("\n"), &files, &Options::default(), &language);
            if let Err(told) = told
                && told.len() > 1
            {
                out.push_str(&format!("{wrong}\n{told}\n\n"));
            }
        }
    }
    out
}

#[test]
fn one_mistake_in_a_value() {
    insta::assert_snapshot!(told(date), @"");
}

#[test]
fn one_mistake_in_a_reference() {
    insta::assert_snapshot!(told(lost_reference), @"");
    insta::assert_snapshot!(told(lost_variable), @"");
}

#[test]
fn one_mistake_in_a_key() {
    insta::assert_snapshot!(told(unknown_key), @"");
}

#[test]
fn one_mistake_in_a_header() {
    insta::assert_snapshot!(told(array_of_tables), @"");
    insta::assert_snapshot!(told(unknown_kind), @"");
    insta::assert_snapshot!(told(bad_name), @"");
}
