//! Tests of the stacks and documents that are shipped.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::all;
use super::testing::{addresses, blocks, expand_in};
use crate::graph::template;
use crate::kinds::Registry;
use crate::stack::{Options, load};

fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == ending) && !path.ends_with(".schema.json"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn the_shipped_stacks_expand() {
    let constructs: BTreeSet<&str> = all().iter().map(|construct| construct.name()).collect();
    let mut out = String::new();
    for (name, text) in files("stacks", "toml") {
        out.push_str(&format!("{name}\n"));
        let blocks = blocks(&text);
        let mut known: BTreeSet<String> = blocks.keys().map(ToString::to_string).collect();
        let mut used = Vec::new();
        let mut exports = BTreeSet::new();
        for address in blocks.keys().filter(|address| constructs.contains(address.kind())) {
            let expansion = expand_in(&blocks, address.as_str())
                .unwrap_or_else(|problems| panic!("{name}: {address}: {problems:?}"));
            for own in addresses(&expansion) {
                out.push_str(&format!("    {own}\n"));
                known.insert(own.to_owned());
            }
            for resource in &expansion.resources {
                let value = Value::Object(resource.attributes.clone());
                template::each_reference(&value, &mut |r| used.push(r));
                assert!(resource.depends_on.iter().all(|on| on.as_str() != address.as_str()));
            }
            exports.extend(expansion.exports.keys().map(|export| format!("{address}.{export}")));
        }
        let stack: toml::Table = text.parse().unwrap();
        template::each_reference(&serde_json::to_value(&stack).unwrap(), &mut |r| used.push(r));
        for reference in used.iter().filter(|r| !["vars", "self", "stack"].contains(&r.target.as_str())) {
            assert!(known.contains(&reference.target), "{name}: ${{{reference}}} has a target");
            let of_construct =
                reference.address().is_some_and(|a| constructs.contains(a.kind()) && a.construct().is_none());
            assert!(!of_construct || exports.contains(&reference.to_string()), "{name}: {reference} is exported");
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn the_shipped_documents_allow_nothing_mutating_on_everything() {
    let text = std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("stacks/ecs-poc.toml")).unwrap();
    let known: BTreeSet<String> = blocks(&text).keys().map(ToString::to_string).collect();
    for (name, text) in files("policies", "json") {
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        template::each_reference(&document, &mut |reference| {
            let found = reference.target == "self" || known.contains(&reference.target);
            assert!(found, "{name}: ${{{reference}}} is in the stack");
        });
        for statement in document["Statement"].as_array().unwrap() {
            if statement["Resource"] != json!("*") {
                continue;
            }
            let actions = match &statement["Action"] {
                Value::String(one) => vec![one.clone()],
                many => many.as_array().unwrap().iter().map(|a| a.as_str().unwrap().to_owned()).collect(),
            };
            for action in actions {
                let reads = ["ec2:DescribeTags", "ecs:DiscoverPollEndpoint", "ecr:GetAuthorizationToken"];
                assert!(reads.contains(&action.as_str()), "{name}: {action} is allowed on everything");
            }
        }
    }
}

#[test]
fn the_shipped_stacks_load_without_an_error_or_a_warning() {
    let registry = Registry::new();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for (name, env) in [
        ("ecs-poc", None),
        ("ecs-poc", Some("staging")),
        ("fargate-web", None),
        ("minimal", None),
        ("production-network", None),
        ("worker-and-cron", None),
    ] {
        let path = root.join(format!("stacks/{name}.toml"));
        let options = Options { env: env.map(str::to_owned), ..Options::default() };
        let stack = load(&path, &options, &registry).unwrap_or_else(|problems| panic!("{name} {env:?}: {problems}"));
        assert!(stack.warnings.is_empty(), "{name}: {:?}", stack.warnings);
    }
}
