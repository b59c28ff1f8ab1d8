//! Where secrets may flow: whole, into the attributes that a kind keeps for them, and nowhere else.

use super::diagnostic::{Finding, Report};
use super::language::Language;
use super::node::Node;
use super::source::Place;
use super::top::Top;
use crate::secret::{Mark, Secrets};

/// Reports every secret that stands where it would be written down or shown, and every attribute that takes a secret and
/// holds something else.
pub fn check(top: &Top, secrets: &Secrets, language: &Language<'_>, report: &mut Report) {
    for block in top.blocks.iter().filter(|block| !block.misspelled) {
        let takes = language.spec(block.address.kind()).map_or(&[][..], |spec| spec.secrets);
        for entry in block.node.entries() {
            let whole = entry.node.text().and_then(Mark::parse).is_some_and(|mark| is_declared(secrets, mark));
            match (takes.contains(&entry.key.as_str()), whole) {
                (true, true) => {}
                (true, false) => report.error(
                    Finding::at(entry.node.place, format!("`{}.{}` takes a secret", block.address, entry.key)).help(
                        "declare one, [vars] with password = { secret = true } in it, and give it whole: \"${vars.password}\"",
                    ),
                ),
                (false, _) => leaks(&entry.node, secrets, &format!("{}.{}", block.address, entry.key), report),
            }
        }
    }
    for output in &top.outputs {
        leaks(&output.node, secrets, &format!("outputs.{}", output.key), report);
    }
    let tags = top.tags.iter().map(|(key, value)| (format!("tags.{key}"), value));
    for (what, text) in tags.chain(top.description.iter().map(|text| ("description".to_owned(), text))) {
        if let Some(name) = held(text, secrets) {
            report.error(
                leak(&what, name).help("secrets go into attributes that are kept for them and into nothing else"),
            );
        }
    }
}

fn is_declared(secrets: &Secrets, mark: Mark<'_>) -> bool {
    secrets.names().any(|name| name == mark.name)
}

/// The secret in a text, if there is one.
fn held<'s>(text: &str, secrets: &'s Secrets) -> Option<&'s str> {
    secrets.names().find(|name| text.contains(&Mark { name, digest: None }.to_string()))
}

fn leaks(node: &Node, secrets: &Secrets, what: &str, report: &mut Report) {
    let mut found: Option<(&str, Place)> = None;
    node.each_text(&mut |text, place| {
        if let (None, Some(name)) = (found, held(text, secrets)) {
            found = Some((name, place));
        }
    });
    if let Some((name, place)) = found {
        report.error(
            Finding::at(place, format!("the secret `{name}` would be written down in `{what}`"))
                .help("secrets go, whole, into attributes that are kept for them, such as `parameter.secret`"),
        );
    }
}

fn leak(what: &str, name: &str) -> Finding {
    Finding::nowhere(format!("the secret `{name}` would be written down in `{what}`"))
}
