//! Good stacks, and the resources that they become.

use std::collections::BTreeMap;

use cofferdam::graph::{Address, Attributes};
use cofferdam::kinds::Registry;
use cofferdam::stack::{Options, Stack, load, schema};
use serde_json::{Value, json};

use super::{HEAD, read, read_with, shown};

fn good(text: &str) -> Stack {
    good_with(text, &Options::default())
}

fn good_with(text: &str, options: &Options<'_>) -> Stack {
    read_with(&format!("{HEAD}{text}"), options).unwrap_or_else(|told| panic!("{}", shown(&told)))
}

fn attribute(stack: &Stack, address: &str, name: &str) -> Value {
    let address = Address::parse(address).expect("an address");
    stack.graph.get(&address).unwrap_or_else(|| panic!("{address} is there")).attributes[name].clone()
}

const VPC: &str = "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n";

#[test]
fn names_zones_defaults_and_tags_are_filled_in() {
    let stack = good(&format!(
        "{VPC}[tags]\nTeam = \"platform\"\nCost = 7\n\n[subnet.a]\nvpc = \"main\"\ncidr = \"10.0.0.0/24\"\n\
         zone = \"b\"\n\
         tags = {{ Team = \"web\" }}\n\n[paper.a_long_name_indeed]\nsubnets = [\"a\", \"subnet-0123456789abcdef0\"]\n"
    ));
    assert_eq!(attribute(&stack, "subnet.a", "vpc"), "${vpc.main.id}");
    assert_eq!(attribute(&stack, "subnet.a", "zone"), "eu-west-2b");
    assert_eq!(attribute(&stack, "subnet.a", "public_ip"), false);
    assert_eq!(
        attribute(&stack, "subnet.a", "tags"),
        json!({
            "Team": "web", "Cost": "7", "Name": "web-a",
            "cofferdam:stack": "web", "cofferdam:address": "subnet.a"
        })
    );
    let name = attribute(&stack, "paper.a_long_name_indeed", "name");
    let name = name.as_str().expect("a name");
    assert!(name.len() <= 20 && name.starts_with("web-a-long-"), "{name}");
    assert_eq!(
        attribute(&stack, "paper.a_long_name_indeed", "subnets"),
        json!(["${subnet.a.id}", "subnet-0123456789abcdef0"])
    );
    let order: Vec<&str> = stack.graph.in_order().map(|r| r.address.as_str()).collect();
    assert_eq!(order, ["vpc.main", "subnet.a", "paper.a_long_name_indeed"]);
}

#[test]
fn constructs_expand_and_stand_for_what_they_made() {
    let stack = good(
        "[net.main]\ncidr = \"10.0.0.0/16\"\nzones = { a = \"10.0.0.0/24\", b = \"10.0.1.0/24\" }\nprotect = true\n\n\
         [subnet.c]\nvpc = \"main\"\ncidr = \"10.0.2.0/24\"\nzone = \"c\"\ndepends_on = [\"net.main\"]\n\n\
         [paper.x]\nsubnets = [\"c\", \"${net.main.subnet_ids}\"]\n\n[outputs]\nvpc = \"${net.main.vpc_id}\"\n",
    );
    assert_eq!(attribute(&stack, "subnet.c", "vpc"), "${net.main/vpc.main.id}");
    assert_eq!(attribute(&stack, "net.main/subnet.b", "zone"), "eu-west-2b");
    assert_eq!(attribute(&stack, "net.main/subnet.b", "tags")["Name"], "web-main-b");
    assert_eq!(
        attribute(&stack, "paper.x", "subnets"),
        json!(["${subnet.c.id}", "${net.main/subnet.a.id}", "${net.main/subnet.b.id}"])
    );
    assert_eq!(stack.graph.outputs["vpc"], "${net.main/vpc.main.id}");
    let subnet = stack.graph.get(&Address::parse("subnet.c").expect("an address")).expect("it is there");
    assert_eq!(
        subnet.depends_on.iter().map(Address::as_str).collect::<Vec<_>>(),
        ["net.main/subnet.a", "net.main/subnet.b", "net.main/vpc.main"]
    );
    assert!(stack.graph.resources().iter().filter(|r| r.address.construct().is_some()).all(|r| r.protect));
}

#[test]
fn the_nearest_variable_wins_and_keeps_its_type() {
    let text = "[vars]\non = false\nmany = [\"10.1.0.0/16\"]\n\
         range = { description = \"the range\", type = \"string\" }\n\
                third = \"${vars.range} and more\"\n\n\
                [vpc.main]\ncidr = \"${vars.range}\"\ndns_hostnames = \"${vars.on}\"\n\
         secondary_cidrs = \"${vars.many}\"\n\
                tags = { Note = \"in ${self.region}: ${vars.third}\" }\n\n\
                [env.prod.vars]\nrange = \"10.3.0.0/16\"\non = true\n";
    let options = Options {
        env: Some("prod".into()),
        vars: BTreeMap::from([("many".into(), "[\"10.4.0.0/16\", \"10.5.0.0/16\"]".into())]),
        environment: BTreeMap::from([("on".into(), "false".into()), ("many".into(), "[]".into())]),
        ..Options::default()
    };
    let stack = good_with(text, &options);
    assert_eq!(attribute(&stack, "vpc.main", "cidr"), "10.3.0.0/16");
    assert_eq!(attribute(&stack, "vpc.main", "dns_hostnames"), false);
    assert_eq!(attribute(&stack, "vpc.main", "secondary_cidrs"), json!(["10.4.0.0/16", "10.5.0.0/16"]));
    let tags = attribute(&stack, "vpc.main", "tags");
    assert_eq!(tags["Note"], "in eu-west-2: 10.3.0.0/16 and more");
    assert_eq!((&tags["Name"], &tags["cofferdam:env"]), (&json!("web-prod-main"), &json!("prod")));
    assert_eq!(stack.vars["on"], false);
}

#[test]
fn an_environment_changes_adds_and_removes() {
    let text = format!(
        "{VPC}[vpc.other]\ncidr = \"10.9.0.0/16\"\n\n[env.dev]\nremove = [\"vpc.other\"]\nregion = \"us-east-1\"\n\n\
         [env.dev.vpc.main]\ndns_hostnames = false\n\n[env.dev.vpc.third]\ncidr = \"10.8.0.0/16\"\n"
    );
    let stack = good_with(&text, &Options { env: Some("dev".into()), ..Options::default() });
    let mut names: Vec<_> = stack.graph.resources().iter().map(|r| r.address.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["vpc.main", "vpc.third"]);
    assert_eq!(stack.region, "us-east-1");
    assert_eq!(attribute(&stack, "vpc.main", "dns_hostnames"), false);
    assert_eq!(attribute(&stack, "vpc.main", "cidr"), "10.0.0.0/16");
    let base = good(&text);
    assert_eq!((base.graph.resources().len(), base.region.as_str()), (2, "eu-west-2"));
    assert_ne!(base.inputs_digest, stack.inputs_digest);
}

#[test]
fn documents_come_from_files_tables_and_text() {
    let stack = good(&format!(
        "{VPC}[vars]\nwho = \"me\"\n\n[paper.x]\ndocument = \"policies/good.json\"\nscript = \"boot.sh\"\n\n\
         [paper.y]\ndocument = {{ a = [\"${{vpc.main.id}}\"] }}\ndocuments = [\"policies/good.json\"]\n\
         script = \"#!/bin/sh\\ntrue\"\n\n\
         [paper.z.documents]\none = \"policies/good.json\"\ntwo = {{ b = 1 }}\nthree = \"[null]\"\n"
    ));
    let rendered = r#"{"a":"${vpc.main.id}","b":["me","${aws:username}"]}"#;
    assert_eq!(attribute(&stack, "paper.x", "document"), rendered);
    assert_eq!(attribute(&stack, "paper.x", "script"), "#!/bin/sh\necho ${vpc.main.id} $${HOME}\n");
    assert_eq!(attribute(&stack, "paper.y", "document"), r#"{"a":["${vpc.main.id}"]}"#);
    assert_eq!(attribute(&stack, "paper.y", "documents"), json!({ "good": rendered }));
    assert_eq!(attribute(&stack, "paper.y", "script"), "#!/bin/sh\ntrue");
    assert_eq!(
        attribute(&stack, "paper.z", "documents"),
        json!({ "one": rendered, "two": "{\"b\":1}", "three": "[null]" })
    );
    assert_eq!(stack.files, ["stack.toml", "policies/good.json", "boot.sh"]);
    let first = stack.graph.dependencies(&Address::new("paper", "x"));
    assert_eq!(first.first().map(|(address, _)| address.as_str()), Some("vpc.main"));
}

#[test]
fn a_list_that_a_construct_exports_is_a_list_in_a_document() {
    let stack = good(
        "[net.main]\ncidr = \"10.0.0.0/16\"\nzones = { a = \"10.0.0.0/24\" }\n\n\
         [paper.x]\ndocument = { Resource = \"${net.main.subnet_ids}\", Of = \"in ${net.main.vpc_id}\" }\n",
    );
    assert_eq!(
        attribute(&stack, "paper.x", "document"),
        r#"{"Of":"in ${net.main/vpc.main.id}","Resource":["${net.main/subnet.a.id}"]}"#
    );
}

#[test]
fn what_exists_is_only_referenced() {
    let stack = good(
        "[vpc.main]\nexisting = \"vpc-0123456789abcdef0\"\n\n\
         [subnet.a]\nvpc = \"main\"\ncidr = \"10.0.0.0/24\"\nzone = \"a\"\nprotect = true\n",
    );
    let vpc = stack.graph.get(&Address::new("vpc", "main")).expect("it is there");
    assert_eq!((vpc.existing.as_deref(), &vpc.attributes), (Some("vpc-0123456789abcdef0"), &Attributes::new()));
    assert!(stack.graph.get(&Address::new("subnet", "a")).expect("it is there").protect);
}

#[test]
fn another_stacks_outputs_are_asked_for_once_and_keep_their_type() {
    let asked = std::cell::Cell::new(0);
    let outputs = |name: &str, _: &str| {
        asked.set(asked.get() + 1);
        assert_eq!(name, "network");
        Ok(super::attributes(json!({ "vpc_id": "vpc-${1}", "subnets": ["subnet-1", "subnet-2"] })))
    };
    let options = Options { stack_outputs: &outputs, ..Options::default() };
    let text = "[paper.x]\nsubnets = \"${stack.network.subnets}\"\n\n[outputs]\nvpc = \"${stack.network.vpc_id}\"\n";
    let stack = good_with(text, &options);
    assert_eq!(asked.get(), 1);
    assert_eq!(
        attribute(&stack, "paper.x", "subnets"),
        json!(["subnet-1", "subnet-2"]),
        "what another stack says is no name of this one's"
    );
    assert_eq!(stack.graph.outputs["vpc"], "vpc-$${1}");
    let outputs =
        |_: &str, _: &str| Ok(super::attributes(json!({ "list": ["subnet-0123456789abcdef0"], "x": "a ${b}" })));
    let options = Options { stack_outputs: &outputs, ..Options::default() };
    let stack = good_with("[paper.x]\nsubnets = \"${stack.n.list}\"\n\n[outputs]\ny = \"${stack.n.x}\"\n", &options);
    assert_eq!(attribute(&stack, "paper.x", "subnets"), json!(["subnet-0123456789abcdef0"]));
    assert_eq!(stack.graph.outputs["y"], "a $${b}");
}

#[test]
fn names_that_another_stack_puts_out_are_no_names_of_this_one() {
    let outputs = |_: &str, region: &str| {
        assert_eq!(region, "eu-west-2");
        Ok(super::attributes(json!({ "role": "platform-instance" })))
    };
    let options = Options { stack_outputs: &outputs, ..Options::default() };
    let stack = good_with("[instance_profile.x]\nrole = \"${stack.platform.role}\"\n", &options);
    assert_eq!(attribute(&stack, "instance_profile.x", "role"), json!("platform-instance"));
}

#[test]
fn groups_of_one_name_stand_in_vpcs_of_their_own() {
    good(
        "[vpc.one]\ncidr = \"10.0.0.0/16\"\n\n[vpc.two]\ncidr = \"10.1.0.0/16\"\n\n[security_group.a]\nvpc = \"one\"\n\
         name = \"web\"\n\n[security_group.b]\nvpc = \"two\"\nname = \"web\"\n",
    );
}

#[test]
fn a_reference_may_stand_where_a_number_will_be() {
    let stack = good(&format!("{VPC}[paper.x]\ncopies = \"${{vpc.main.id}}\"\n"));
    assert_eq!(attribute(&stack, "paper.x", "copies"), "${vpc.main.id}");
    assert!(attribute(&stack, "paper.x", "rules").is_array(), "defaults are filled in besides");
}

#[test]
fn moves_state_and_description_are_kept() {
    let stack = read(
        "name = \"web\"\nregion = \"eu-west-2\"\ndescription = \"A shop\"\n\n[state]\nurl = \"s3://bucket/web\"\n\n\
         [[moved]]\nfrom = \"vpc.old\"\nto = \"vpc.main\"\n\n[vpc.main]\ncidr = \"10.0.0.0/16\"\n",
    )
    .unwrap_or_else(|told| panic!("{}", shown(&told)));
    assert_eq!(stack.description.as_deref(), Some("A shop"));
    assert_eq!(stack.state.url.as_deref(), Some("s3://bucket/web"));
    assert_eq!(stack.moved[0].from.as_str(), "vpc.old");
}

#[test]
fn an_undeclared_variable_of_the_environment_is_a_warning() {
    let options = Options { environment: BTreeMap::from([("rnage".into(), "x".into())]), ..Options::default() };
    let stack = good_with(&format!("[vars]\nrange = \"a\"\n\n{VPC}"), &options);
    assert_eq!(stack.warnings.len(), 1);
    assert_eq!(stack.warnings[0].help.as_deref(), Some("did you mean `range`?"));
}

#[test]
fn files_are_found_from_the_project_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("stacks")).expect("a folder");
    let path = folder.path().join("stacks/web.toml");
    std::fs::write(&path, format!("{HEAD}{VPC}")).expect("a file");
    let stack = load(&path, &Options::default(), &Registry::new()).unwrap_or_else(|told| panic!("{}", shown(&told)));
    assert_eq!(stack.graph.resources().len(), 1);
    let told = load(&folder.path().join("stacks/none.toml"), &Options::default(), &Registry::new()).expect_err("none");
    assert!(told.to_string().contains("none.toml` cannot be read"), "{told}");
}

#[test]
fn the_shipped_stacks_are_good() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder of stacks") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let stack = load(&path, &Options::default(), &Registry::new());
            let stack = stack.unwrap_or_else(|told| panic!("{}", shown(&told)));
            assert!(stack.warnings.is_empty(), "{}: {:?}", path.display(), stack.warnings);
            names.push(stack.name);
        }
    }
    assert!(names.contains(&"ecs-poc".to_owned()), "{names:?}");
}

#[test]
fn editors_have_the_schema_of_this_version() {
    let shipped = include_str!("../../../stacks/.schema.json");
    let shipped: Value = serde_json::from_str(shipped).expect("the shipped schema is JSON");
    assert!(shipped == schema(&Registry::new()), "the language changed: run `make schema`");
}

#[test]
fn large_stacks_are_read_in_time_that_grows_with_them() {
    let mut text = format!("{VPC}[vars]\nzone = \"a\"\n\n");
    for i in 0..250 {
        text.push_str(&format!(
            "[subnet.s{i}]\nvpc = \"main\"\ncidr = \"10.0.{i}.0/24\"\nzone = \"${{vars.zone}}\"\n\n"
        ));
    }
    assert_eq!(good(&text).graph.resources().len(), 251);
}

#[test]
fn the_schema_has_every_kind_with_its_help() {
    let schema = schema(&Registry::new());
    let subnet = &schema["definitions"]["subnet.block"];
    let zone = &subnet["properties"]["zone"];
    assert!(zone["description"].as_str().is_some_and(|text| text.contains("availability zone")), "{zone}");
    assert_eq!(subnet["additionalProperties"], false);
    assert_eq!(subnet["anyOf"][0]["required"], json!(["vpc", "cidr", "zone"]));
    // A reference may stand where true or false does.
    let flag = &subnet["properties"]["public_ip"];
    assert_eq!((&flag["type"], &flag["pattern"]), (&json!(["boolean", "string"]), &json!(r"\$\{[^}]+\}")));
    let overlay = &schema["properties"]["env"]["additionalProperties"]["properties"]["subnet"];
    assert_eq!(overlay["patternProperties"]["^[A-Za-z0-9_-]+$"]["$ref"], "#/definitions/subnet.overlay");
    assert!(schema["definitions"]["subnet.overlay"].get("required").is_none());
    let inner = &schema["definitions"]["capacity.Size.overlay"];
    assert!(inner["properties"]["max"].is_object() && inner.get("required").is_none(), "{inner}");
    // Every reference inside the schema has its target.
    let text = schema.to_string();
    for target in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(schema.pointer(target).is_some(), "{target} is not in the schema");
    }
}
