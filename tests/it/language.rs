//! The stack language as its users meet it: what broken stacks are told, and what good ones become.

mod broken;
mod good;
mod once;

use std::collections::BTreeMap;
use std::io;

use cofferdam::constructs::{Construct, Expansion, Input};
use cofferdam::graph::{Attributes, KindSpec, Naming, Problem, Resource};
use cofferdam::kinds::{Registry, Tags, spec};
use cofferdam::stack::{Diagnostics, Files, Language, Options, Stack, parse};
use miette::{GraphicalReportHandler, GraphicalTheme};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A kind with everything that the language knows how to treat, besides what `vpc` and `subnet` have.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Paper {
    /// Its name.
    #[serde(default)]
    name: String,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-file" = "json"))]
    document: Option<String>,
    /// More of what it says, by name.
    #[serde(default)]
    #[schemars(extend("x-files" = "json"))]
    documents: BTreeMap<String, String>,
    /// What runs first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-file" = "text"))]
    script: Option<String>,
    /// Where it lies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-reference" = "subnet.id"))]
    subnets: Vec<String>,
    /// How many.
    #[serde(default)]
    copies: u8,
    /// Rules.
    #[serde(default)]
    rules: Vec<Rule>,
    /// Tags.
    #[serde(default)]
    tags: Tags,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// Which way.
    to: String,
    /// Over which network.
    #[schemars(extend("x-reference" = "vpc.id"))]
    through: String,
}

/// A network of one subnet for each zone letter.
struct Net;

impl Construct for Net {
    fn name(&self) -> &'static str {
        "net"
    }

    fn summary(&self) -> &'static str {
        "A small network."
    }

    fn schema(&self) -> Value {
        json!({
            "type": "object",
            "required": ["cidr", "zones"],
            "properties": {
                "cidr": { "type": "string", "description": "Its range." },
                "zones": { "type": "object", "additionalProperties": { "type": "string" } }
            },
            "additionalProperties": false
        })
    }

    fn expand(&self, input: &Input<'_>) -> Result<Expansion, Vec<Problem>> {
        let vpc = input.address.child("vpc", "main");
        let mut out = Expansion::default();
        let range = input.attributes["cidr"].clone();
        if range == "none" {
            return Err(vec![Problem::at("cidr", "a network needs a range").help("give it one")]);
        }
        out.resources.push(Resource::new(vpc.clone(), attributes(json!({ "cidr": range }))));
        let mut ids = Vec::new();
        for (zone, cidr) in input.attributes["zones"].as_object().expect("checked against the schema") {
            let subnet = input.address.child("subnet", zone);
            let made = json!({ "vpc": format!("${{{vpc}.id}}"), "cidr": cidr, "zone": zone });
            out.resources.push(Resource::new(subnet.clone(), attributes(made)));
            ids.push(format!("${{{subnet}.id}}"));
        }
        out.exports = attributes(json!({ "vpc_id": format!("${{{vpc}.id}}"), "subnet_ids": ids }));
        out.stands_for.insert("vpc", vpc);
        Ok(out)
    }
}

fn attributes(value: Value) -> Attributes {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no table"),
    }
}

fn paper() -> KindSpec {
    KindSpec { naming: Some(Naming { attribute: "name", longest: 20 }), ..spec::<Paper>("paper", "paper") }
}

fn read_file(name: &str) -> io::Result<Vec<u8>> {
    match name {
        "policies/good.json" => Ok(br#"{ "b": ["${vars.who}", "${aws:username}"], "a": "${vpc.main.id}" }"#.to_vec()),
        "policies/lost.json" => Ok(b"{\n  \"Resource\": \"${vpc.mian.id}\"\n}\n".to_vec()),
        "policies/bad.json" => Ok(b"{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [}\n}\n".to_vec()),
        "boot.sh" => Ok(b"#!/bin/sh\necho ${vpc.main.id} $${HOME}\n".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn read_with(text: &str, options: &Options<'_>) -> Result<Stack, Diagnostics> {
    let registry = Registry::new();
    let paper = paper();
    let specs: Vec<&KindSpec> = registry.specs().into_iter().chain([&paper]).collect();
    let net = Net;
    let language = Language::new(specs, [&net as &dyn Construct]);
    parse("stack.toml", text, &Files { read: &read_file, root: "the project".into() }, options, &language)
}

fn read(text: &str) -> Result<Stack, Diagnostics> {
    read_with(text, &Options::default())
}

/// What a user is shown.
fn shown(told: &Diagnostics) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut out = String::new();
    for one in told.iter() {
        handler.render_report(&mut out, one).expect("a diagnostic renders");
        out.push('\n');
    }
    out
}

/// The start of every stack here.
const HEAD: &str = "name = \"web\"\nregion = \"eu-west-2\"\n\n";
