//! The project on disk: stacks by name, variables of the environment, and the states of other stacks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::options::StackOptions;
use crate::graph::Attributes;
use crate::kinds::Registry;
use crate::stack::{self, Stack};
use crate::state::Store;
use crate::words::nearest;

/// Loads the stack that the options name.
///
/// # Errors
/// Everything that is wrong in it, or that there is no such stack.
pub fn load(options: &StackOptions, registry: &Registry) -> Result<Stack, Failure> {
    let path = stack_file(&options.stack)?;
    let others = |name: &str| outputs_of(options, name);
    let stack_options = stack::Options {
        env: options.env.clone(),
        vars: options.vars.iter().cloned().collect(),
        environment: environment_variables(),
        stack_outputs: &others,
    };
    Ok(stack::load(&path, &stack_options, registry)?)
}

/// `COFFERDAM_VAR_name=value` gives the variable `name`.
fn environment_variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(key, value)| {
            let name = key.to_str()?.strip_prefix("COFFERDAM_VAR_")?.to_owned();
            Some((name, value.into_string().ok()?))
        })
        .collect()
}

fn stack_file(name: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(name);
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let named = Path::new("stacks").join(format!("{name}.toml"));
    if named.is_file() {
        return Ok(named);
    }
    let known = stack_names();
    let near = nearest(name, known.iter().map(String::as_str));
    let help = match (near, known.as_slice()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "there is no directory `stacks` here; give the path of a stack file".to_owned(),
        (None, known) => format!("there are {} in stacks/", known.join(", ")),
    };
    Err(Failure::new(format!("there is no stack `{name}`")).help(help))
}

fn stack_names() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("stacks") else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_stack = path.extension()? == "toml";
            is_stack.then(|| path.file_stem()?.to_str().map(str::to_owned)).flatten()
        })
        .collect();
    names.sort();
    names
}

/// The outputs of another stack, from its state in the same cloud: of the same environment where it has one, else of none.
fn outputs_of(options: &StackOptions, name: &str) -> Result<Attributes, String> {
    let with_env = options.env.as_ref().map(|env| format!("{name}@{env}"));
    for folder in with_env.into_iter().chain([name.to_owned()]) {
        let folder = options.state.join(folder);
        let prefix = format!("{}-", options.cloud.as_str());
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let states: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(&prefix)))
            .collect();
        match states.as_slice() {
            [] => {}
            [one] => {
                let state = Store::at(one).read().map_err(|e| e.to_string())?;
                return Ok(state.map(|state| state.outputs.into_iter().collect()).unwrap_or_default());
            }
            _ => return Err(format!("it has states in several accounts or regions under {}", folder.display())),
        }
    }
    Err(format!("it was not applied to the {} cloud yet", options.cloud.as_str()))
}
