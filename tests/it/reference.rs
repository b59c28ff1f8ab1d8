//! What is made from the types and kept in the repository is as the types are.

use cofferdam::graph::Identity;
use cofferdam::kinds::Registry;
use cofferdam::stack;

fn assert_kept(path: &str, made: &str) {
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == made, "{path} is not what the types say now: run `make schema` and commit it");
}

#[test]
fn the_schema_for_editors_is_up_to_date() {
    assert_kept("stacks/.schema.json", &format!("{:#}\n", stack::schema(&Registry::new())));
}

#[test]
fn the_reference_is_up_to_date() {
    assert_kept("docs/reference.md", &stack::reference(&Registry::new()));
}

#[test]
fn every_kind_has_what_its_identity_takes() {
    let registry = Registry::new();
    for spec in registry.specs() {
        let (kind, actions) = (spec.name, registry.kind(spec.name).expect("it is registered").actions());
        assert!(!actions.read.is_empty(), "{kind} is looked up by some call");
        assert_eq!(spec.identity == Identity::Lookup, actions.create.is_empty(), "{kind} is made, or only looked up");
        match spec.identity {
            Identity::TagOnCreate => assert!(spec.taggable, "{kind} is found by a tag, and takes none"),
            Identity::UniqueName => {
                let names = match (spec.naming, spec.unique_by) {
                    (Some(naming), _) => vec![naming.attribute],
                    (None, []) => vec!["name"],
                    (None, unique_by) => unique_by.to_vec(),
                };
                let schema = (spec.schema)();
                for name in names {
                    assert!(!schema["properties"][name].is_null(), "{kind} is found by its {name}, and has none");
                    assert!(
                        spec.replace_on.contains(&name),
                        "{kind} is found by its {name}, which may not change under it"
                    );
                }
            }
            Identity::ClientToken | Identity::Natural | Identity::Lookup => {}
        }
    }
}
