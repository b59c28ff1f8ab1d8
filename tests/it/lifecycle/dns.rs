use serde_json::json;

use super::{Case, Change, Project, run, text};
use crate::support::{Emulator, make, reads_back, remove, unique};

async fn public_zone(emulator: Emulator) {
    let stack = r#"
[hosted_zone.main]
name = "{u}.example.com"
comment = "Delegated from example.com"
tags = { Team = "a" }

[dns_record.www]
zone = "main"
name = "www"
type = "A"
values = ["10.0.0.1"]
"#;
    let changes = vec![
        ("Delegated from example.com", "Delegated", "update"),
        ("comment = \"Delegated\"", "", "update"),
        ("Team = \"a\"", "Owner = \"b\"", "update"),
        ("{u}.example.com\"", "{u}.example.com\"\nforce_destroy = true", "update"),
        ("{u}.example.com", "{u}.example.org", "replace"),
    ];
    let drifts = vec![("comment", json!("Somebody's")), ("tags", json!({ "Owner": "somebody" }))];
    run(emulator, Case { stack: stack.into(), address: "hosted_zone.main", changes, drifts }).await;
}

async fn private_zone(emulator: Emulator) {
    let stack = r#"
[vpc.one]
cidr = "10.0.0.0/16"

[vpc.two]
cidr = "10.1.0.0/16"

[vpc.three]
cidr = "10.2.0.0/16"

[hosted_zone.main]
name = "{u}.local"
vpcs = ["one", "two"]
comment = "Inside"
"#;
    let changes = vec![
        ("[\"one\", \"two\"]", "[\"two\", \"three\"]", "update"),
        ("[\"two\", \"three\"]", "[\"one\"]", "update"),
        ("[\"one\"]", "[\"one\", \"three\"]", "update"),
        ("comment = \"Inside\"", "", "update"),
        ("vpcs = [\"one\", \"three\"]", "", "replace"),
        ("{u}.local\"\n", "{u}.local\"\nvpcs = [\"two\"]", "replace"),
        ("{u}.local", "{u}.internal", "replace"),
    ];
    let drifts = vec![("comment", json!("Somebody's"))];
    run(emulator, Case { stack: stack.into(), address: "hosted_zone.main", changes, drifts }).await;
}

/// A record in a zone of its own, its own lines, what is changed in them and behind the tool's back.
async fn record(emulator: Emulator, lines: &str, changes: Vec<Change>, drifts: Vec<(&'static str, serde_json::Value)>) {
    let stack = format!(
        r#"
[hosted_zone.main]
name = "{{u}}.example.com"

[hosted_zone.other]
name = "{{u}}.example.org"

[dns_record.other]
zone = "main"
name = "other"
type = "A"
values = ["10.1.0.1"]

[dns_record.www]
zone = "main"
{lines}
"#
    );
    run(emulator, Case { stack, address: "dns_record.www", changes, drifts }).await;
}

async fn dns_record(emulator: Emulator) {
    let lines = "name = \"www\"\ntype = \"A\"\nvalues = [\"10.0.0.1\"]\nttl = 300";
    let alias = "alias = { name = \"other.{u}.example.com\", zone = \"${hosted_zone.main.id}\" }";
    let changes = vec![
        ("[\"10.0.0.1\"]", "[\"10.0.0.2\", \"10.0.0.1\"]", "update"),
        ("ttl = 300", "ttl = 60", "update"),
        ("values = [\"10.0.0.2\", \"10.0.0.1\"]\nttl = 60", alias, "update"),
        ("alias = { name = \"other.", "alias = { evaluate_health = true, name = \"other.", "update"),
        (
            "alias = { evaluate_health = true, name = \"other.{u}.example.com\", zone = \"${hosted_zone.main.id}\" }",
            "values = [\"10.0.0.3\"]",
            "update",
        ),
        ("name = \"www\"", "name = \"web\"", "replace"),
        ("type = \"A\"\nvalues = [\"10.0.0.3\"]", "type = \"AAAA\"\nvalues = [\"2001:db8::1\"]", "replace"),
        ("zone = \"main\"\nname = \"web\"", "zone = \"other\"\nname = \"web\"", "replace"),
    ];
    let drifts = vec![("values", json!(["2001:db8::2"])), ("ttl", json!(30))];
    record(emulator, lines, changes, drifts).await;
}

/// A record that somebody made is not written over: it is told, and can be adopted. (moto creates it a second time.)
#[tokio::test]
async fn a_record_that_is_there() {
    let emulator = Emulator::Ministack;
    let cloud = emulator.cloud().await;
    let zone = make(&cloud, "hosted_zone", json!({ "name": format!("{}.example.com", unique("there")) })).await;
    let record = |value: &str| json!({ "zone": zone.id, "name": "www", "type": "A", "values": [value] });
    let theirs = make(&cloud, "dns_record", record("10.9.9.9")).await;
    let stack = format!(
        "[hosted_zone.main]\nexisting = \"{}\"\n\n[dns_record.www]\nzone = \"main\"\nname = \"www\"\ntype = \"A\"\nvalues = [\"10.0.0.1\"]\n\n\
         [dns_record.new]\nzone = \"main\"\nname = \"new\"\ntype = \"A\"\nvalues = [\"10.0.0.2\"]\n",
        zone.id
    );
    let project = Project::new(emulator, &stack);
    let output = project.run(&["apply", "--yes"]);
    let told = text(&output.stderr) + &text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains(&format!("import stack.toml --cloud aws dns_record.www {}", theirs.id)),
        "it is told what to do: {told}"
    );
    reads_back(&cloud, "dns_record", &theirs).await;
    assert!(project.ids().contains_key("dns_record.new"), "the other record is made");
    let import =
        project.command().args(["import", "stack.toml", "dns_record.www", &theirs.id, "--cloud", "aws"]).output();
    assert!(import.expect("the binary runs").status.success(), "it is adopted");
    assert!(project.planned(&[]).contains("update dns_record.www"));
    project.succeeds(&["apply", "--yes"]);
    project.plan_is_empty("adopting");
    project.succeeds(&["destroy", "--yes"]);
    // One that says the same may be what a lost answer was about.
    make(&cloud, "dns_record", record("10.0.0.1")).await;
    project.succeeds(&["apply", "--yes"]);
    project.succeeds(&["destroy", "--yes"]);
    remove(&cloud, "hosted_zone", &zone).await;
}

async fn cname(emulator: Emulator) {
    let lines = "name = \"*\"\ntype = \"CNAME\"\nvalues = [\"Other.{u}.example.com.\"]";
    let changes = vec![("Other.{u}.example.com.", "www.example.com", "update")];
    record(emulator, lines, changes, vec![("values", json!(["elsewhere.example.com"]))]).await;
}

async fn mx(emulator: Emulator) {
    let lines = "name = \"@\"\ntype = \"MX\"\nvalues = [\"10 mail.example.com\", \"20 other.example.com.\"]";
    let changes = vec![("20 other.example.com.", "30 other.example.com", "update")];
    record(emulator, lines, changes, vec![("values", json!(["10 mail.example.org"]))]).await;
}

async fn txt(emulator: Emulator) {
    let lines = "name = \"_dmarc\"\ntype = \"TXT\"\nvalues = [\"v=DMARC1; p=\\\"none\\\"\"]";
    let long = format!("\"{}\", \"v=DMARC1; p=reject\"", "x".repeat(300)).leak();
    let changes = vec![("\"v=DMARC1; p=\\\"none\\\"\"", &*long, "update")];
    record(emulator, lines, changes, vec![("values", json!(["v=DMARC1; p=none"]))]).await;
}

async fn weighted(emulator: Emulator) {
    let lines = "name = \"www\"\ntype = \"A\"\nvalues = [\"10.0.0.1\"]\nset_id = \"blue\"\nweight = 10";
    let changes = vec![
        ("weight = 10", "weight = 0", "update"),
        ("weight = 0", "weight = 255", "update"),
        ("\"blue\"", "\"green\"", "replace"),
    ];
    record(emulator, lines, changes, vec![("weight", json!(1))]).await;
}

/// Routing of another sort needs the record to be made anew nowhere: each is an update of the same set.
async fn routed(emulator: Emulator) {
    let lines = "name = \"www\"\ntype = \"A\"\nvalues = [\"10.0.0.1\"]\nset_id = \"one\"\nregion = \"eu-west-2\"";
    let changes = vec![
        ("region = \"eu-west-2\"\n", "region = \"eu-west-1\"\n", "update"),
        ("region = \"eu-west-1\"\n", "failover = \"primary\"\n", "update"),
        ("failover = \"primary\"", "failover = \"secondary\"", "update"),
        ("failover = \"secondary\"", "geo = { country = \"US\", subdivision = \"CA\" }", "update"),
        ("geo = { country = \"US\", subdivision = \"CA\" }", "geo = { continent = \"EU\" }", "update"),
        ("geo = { continent = \"EU\" }", "multivalue = true", "update"),
    ];
    record(emulator, lines, changes, vec![("values", json!(["10.0.0.9"]))]).await;
}

crate::on_each_emulator!(public_zone, private_zone, dns_record, cname, mx, txt, weighted, routed);
