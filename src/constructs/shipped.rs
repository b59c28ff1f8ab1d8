//! Tests of the stacks and documents that are shipped.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::testing::blocks;
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
    let registry = Registry::new();
    let mut out = String::new();
    for (name, _) in files("stacks", "toml") {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("stacks").join(&name);
        let stack = load(&path, &Options::default(), &registry).unwrap_or_else(|problems| panic!("{name}: {problems}"));
        let mut made: Vec<&str> = stack.graph.resources().iter().map(|resource| resource.address.as_str()).collect();
        made.retain(|address| address.contains('/'));
        made.sort_unstable();
        out.push_str(&format!("{name}\n"));
        made.iter().for_each(|address| out.push_str(&format!("    {address}\n")));
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
