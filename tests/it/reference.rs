//! What is made from the types and kept in the repository is as the types are.

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
