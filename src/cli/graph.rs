//! `graph`: what depends on what.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;

use super::failure::Outcome;
use super::options::StackOptions;
use super::project::{self, Standing};
use crate::graph::{Address, Graph, Need};
use crate::kinds::Registry;

/// Prints the resource graph, for Graphviz or Mermaid
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cofferdam graph ecs-poc | dot -Tsvg > ecs-poc.svg\n  cofferdam graph ecs-poc --format mermaid"
)]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// The language to print it in
    #[arg(long, value_enum, default_value_t = Format::Dot)]
    format: Format,
}

/// A graph language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Graphviz
    Dot,
    /// Mermaid, which many Markdown viewers draw
    Mermaid,
}

/// Runs the verb.
pub fn run(args: &Args) -> Outcome {
    let stack = project::load(&args.stack, &Registry::new(), &Standing::default())?;
    match args.format {
        Format::Dot => out!("{}", dot(&stack.name, &stack.graph)),
        Format::Mermaid => out!("{}", mermaid(&stack.graph)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Resources by the construct they stand below; those written by hand come last, with `None`.
fn groups(graph: &Graph) -> Vec<(Option<&str>, Vec<&Address>)> {
    let mut groups: Vec<(Option<&str>, Vec<&Address>)> = Vec::new();
    let mut sorted: Vec<&Address> = graph.resources().iter().map(|resource| &resource.address).collect();
    sorted.sort_by_key(|address| (address.construct().is_none(), address.construct(), address.as_str()));
    for address in sorted {
        match groups.last_mut() {
            Some((construct, members)) if *construct == address.construct() => members.push(address),
            _ => groups.push((address.construct(), vec![address])),
        }
    }
    groups
}

fn own_name(address: &Address) -> String {
    format!("{}.{}", address.kind(), address.name())
}

/// Arrows run from a resource to what it depends on, as in `terraform graph`.
fn dot(name: &str, graph: &Graph) -> String {
    let mut text =
        format!("digraph \"{name}\" {{\n  rankdir = LR;\n  node [shape = box, fontname = \"sans-serif\"];\n");
    for (index, (construct, members)) in groups(graph).into_iter().enumerate() {
        let indent = if construct.is_some() { "    " } else { "  " };
        if let Some(construct) = construct {
            let _ = writeln!(text, "  subgraph cluster_{index} {{\n    label = \"{construct}\";");
        }
        for address in members {
            let _ = writeln!(text, "{indent}\"{address}\" [label = \"{}\"];", own_name(address));
        }
        if construct.is_some() {
            text.push_str("  }\n");
        }
    }
    for resource in graph.resources() {
        for (dependency, need) in graph.dependencies(&resource.address) {
            let style = if need == Need::Existence { " [style = dashed]" } else { "" };
            let _ = writeln!(text, "  \"{}\" -> \"{dependency}\"{style};", resource.address);
        }
    }
    text.push_str("}\n");
    text
}

fn mermaid(graph: &Graph) -> String {
    let mut text = "graph LR\n".to_owned();
    let number: std::collections::HashMap<&Address, usize> =
        graph.resources().iter().enumerate().map(|(index, resource)| (&resource.address, index)).collect();
    for (index, (construct, members)) in groups(graph).into_iter().enumerate() {
        if let Some(construct) = construct {
            let _ = writeln!(text, "  subgraph g{index}[\"{construct}\"]");
        }
        for address in members {
            let _ = writeln!(text, "    n{}[\"{}\"]", number[address], own_name(address));
        }
        if construct.is_some() {
            text.push_str("  end\n");
        }
    }
    for resource in graph.resources() {
        for (dependency, need) in graph.dependencies(&resource.address) {
            let arrow = if need == Need::Existence { "-.->" } else { "-->" };
            let _ = writeln!(text, "  n{} {arrow} n{}", number[&resource.address], number[dependency]);
        }
    }
    text
}
