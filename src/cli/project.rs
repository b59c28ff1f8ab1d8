//! The project on disk: stacks by name, variables of the environment, and the states of other stacks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::home;
use super::options::{CloudName, StackOptions};
use crate::graph::Attributes;
use crate::kinds::Registry;
use crate::stack::{self, Diagnostics, Head, Stack, StateAt};
use crate::state::{Directories, State, StateError, Store};
use crate::words::nearest;

/// What is known of the cloud that the states of other stacks must belong to, too. Nothing: no cloud was asked.
#[derive(Debug, Default)]
pub struct Standing {
    /// The account's number.
    pub account: Option<String>,
    /// Of an emulated cloud: which run of it.
    pub instance: Option<String>,
}

/// Loads the stack that the options name.
///
/// # Errors
/// Everything that is wrong in it, or that there is no such stack.
pub fn load(options: &StackOptions, registry: &Registry, standing: &Standing) -> Result<Stack, Failure> {
    Ok(read(options, registry, standing)??)
}

/// The same, with what is wrong in the stack apart from what keeps it from being read.
///
/// # Errors
/// Where there is no such stack.
pub fn read(
    options: &StackOptions,
    registry: &Registry,
    standing: &Standing,
) -> Result<Result<Stack, Diagnostics>, Failure> {
    let path = stack_file(&options.stack)?;
    // What other stacks left is where this one's state is.
    let head = stack::head(&path, &stack_options(options, &no_outputs)).ok();
    let at = head.map(|head| head.state).unwrap_or_default();
    let others = |name: &str, region: &str| outputs_of(options, standing, &at, name, region);
    Ok(stack::load(&path, &stack_options(options, &others), registry))
}

/// The environments that the stack has; none where its file is no TOML.
///
/// # Errors
/// Where there is no such stack.
pub fn environments(options: &StackOptions) -> Result<Vec<String>, Failure> {
    Ok(stack::environments(&stack_file(&options.stack)?))
}

/// Reads which stack the options name; without a stack file, the states tell.
///
/// # Errors
/// Where neither does.
pub fn head(options: &StackOptions) -> Result<Head, Failure> {
    match stack_file(&options.stack) {
        Ok(path) => Ok(stack::head(&path, &stack_options(options, &no_outputs))?),
        Err(failure) => {
            let name = Path::new(&options.stack).file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            let states = states_of(&Directories::new(&options.state), options.cloud, name, options.env.as_deref())?;
            let [state] = <[State; 1]>::try_from(states).map_err(|_| failure)?;
            Ok(Head { name: state.stack, region: state.region, env: state.env, state: StateAt::default() })
        }
    }
}

fn no_outputs(_: &str, _: &str) -> Result<Attributes, String> {
    Err("what is read first cannot depend on it".to_owned())
}

fn stack_options<'a>(
    options: &StackOptions,
    stack_outputs: &'a dyn Fn(&str, &str) -> Result<Attributes, String>,
) -> stack::Options<'a> {
    stack::Options {
        env: options.env.clone(),
        vars: options.vars.iter().cloned().collect(),
        environment: environment_variables(),
        stack_outputs,
    }
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

/// The states of a stack in a cloud.
fn states_of(
    home: &dyn crate::state::Home,
    cloud: CloudName,
    name: &str,
    env: Option<&str>,
) -> Result<Vec<State>, StateError> {
    let stores = Store::all(home, name, env, cloud.as_str())?;
    let states: Vec<Option<State>> = stores.iter().map(Store::read).collect::<Result<_, _>>()?;
    Ok(states.into_iter().flatten().collect())
}

/// The outputs of another stack, from its state in the same cloud, account and region: of the same environment where it has
/// one, else of none. Offline the account is not known, and any one's will do: what is asked for then is their shape.
fn outputs_of(
    options: &StackOptions,
    standing: &Standing,
    at: &StateAt,
    name: &str,
    region: &str,
) -> Result<Attributes, String> {
    let home = home::of_stack(options, at, region).map_err(|failure| failure.message().to_owned())?;
    let is_here = |state: &State| {
        state.region == region && standing.account.as_ref().is_none_or(|account| *account == state.account)
    };
    let mut elsewhere = Vec::new();
    for env in options.env.as_deref().map(Some).into_iter().chain([None]) {
        for state in states_of(home.as_ref(), options.cloud, name, env).map_err(|e| e.to_string())? {
            if !is_here(&state) {
                elsewhere.push(format!("account {} in {}", state.account, state.region));
            } else if standing.instance.is_some() && state.instance != standing.instance {
                return Err("it was applied to a local cloud that is gone".to_owned());
            } else {
                return Ok(state.outputs.into_iter().collect());
            }
        }
    }
    Err(match elsewhere.as_slice() {
        [] => format!("it was not applied to the {} cloud yet", options.cloud.as_str()),
        places => format!("it was applied elsewhere ({}), and not in {region}", places.join(", ")),
    })
}
