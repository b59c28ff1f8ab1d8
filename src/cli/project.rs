//! The project on disk: stacks by name, variables of the environment, and the states of other stacks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::home;
use super::options::{CloudName, StackOptions};
use super::render::style;
use crate::graph::{Attributes, Names};
use crate::kinds::Registry;
use crate::stack::{self, Diagnostics, Head, MadeOut, Stack, StateAt};
use crate::state::{State, StateError, Store};
use crate::words::nearest;

/// What is known of the cloud, which the states of other stacks must belong to, too, and of the stack's own state. Nothing:
/// no cloud was asked.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The account's number.
    pub account: Option<String>,
    /// Of an emulated cloud: which run of it.
    pub instance: Option<String>,
    /// What keeps the names of an address that it no longer has, by the stack's own state.
    pub names: Names,
}

/// Loads the stack that the options name.
///
/// # Errors
/// Everything that is wrong in it, or that there is no such stack.
pub fn load(options: &StackOptions, registry: &Registry, standing: &Standing) -> Result<Stack, Failure> {
    Ok(read(options, registry, standing, false)??)
}

/// The same for who only checks, with what is wrong in the stack apart from what keeps it from being read: of other stacks it
/// is enough that their files declare what is named.
///
/// # Errors
/// Where there is no such stack.
pub fn check(options: &StackOptions, registry: &Registry) -> Result<Result<Stack, Diagnostics>, Failure> {
    read(options, registry, &Standing::default(), true)
}

fn read(
    options: &StackOptions,
    registry: &Registry,
    standing: &Standing,
    only_checks: bool,
) -> Result<Result<Stack, Diagnostics>, Failure> {
    options.hint_about_this();
    let path = stack_file(&options.stack)?;
    // What other stacks left is where this one's state is.
    let head = stack::head(&path, &stack_options(options, &no_outputs, &Names::default())).ok();
    let at = head.map(|head| head.state).unwrap_or_default();
    let others = |name: &str, region: &str| outputs_of(options, standing, &at, name, region);
    let declared = |name: &str, region: &str| declared_outputs(options, name, region);
    let declared: Option<&dyn Fn(&str, &str) -> Option<BTreeSet<String>>> =
        if only_checks { Some(&declared) } else { None };
    let read_with = stack::Options { declared_outputs: declared, ..stack_options(options, &others, &standing.names) };
    Ok(stack::load(&path, &read_with, registry))
}

/// The environments that the stack has; none where its file is no TOML.
///
/// # Errors
/// Where there is no such stack.
pub fn environments(options: &StackOptions) -> Result<Vec<String>, Failure> {
    Ok(stack::environments(&stack_file(&options.stack)?))
}

/// Reads which stack the options name. Where the stack file is gone, is no TOML or has no such environment any more, the
/// states tell.
///
/// # Errors
/// Where neither does.
pub fn head(options: &StackOptions) -> Result<Head, Failure> {
    options.hint_about_this();
    let (failure, made_out, why) = match stack_file(&options.stack) {
        Err(failure) => (failure, MadeOut::default(), None),
        Ok(path) => {
            let read_with = stack_options(options, &no_outputs, &Names::default());
            match stack::head(&path, &read_with) {
                Ok(head) => return Ok(head),
                Err(diagnostics) => {
                    let why = diagnostics.iter().next().map(|one| one.message.clone());
                    (diagnostics.into(), stack::made_out(&path, &read_with), why)
                }
            }
        }
    };
    let Some(state) = state_alone(options, &made_out)? else { return Err(failure) };
    let State { stack: name, region, .. } = state;
    if let Some(why) = why {
        let which = options.env.as_ref().map_or_else(|| name.clone(), |env| format!("{name}@{env}"));
        errln!("{}", style::note(&format!("{why}; what follows goes by the state of {which} in {region} alone")));
    }
    let MadeOut { state, guards, .. } = made_out;
    Ok(Head { name, region, env: options.env.clone(), state, guards })
}

/// The one state that can be meant, by what was made out of the stack file, or else by the file's own name.
fn state_alone(options: &StackOptions, made_out: &MadeOut) -> Result<Option<State>, Failure> {
    let MadeOut { name, region, state: at, .. } = made_out;
    let home = match region {
        Some(region) => home::of_stack(options, at, region)?,
        None => home::directory(options, at)?,
    };
    let stem = Path::new(&options.stack).file_stem().and_then(|name| name.to_str());
    for name in [name.as_deref(), stem].into_iter().flatten() {
        let mut states = states_of(home.as_ref(), options.cloud, name, options.env.as_deref())?;
        if states.len() > 1 {
            states.retain(|state| region.as_ref() == Some(&state.region));
        }
        if let Ok([state]) = <[State; 1]>::try_from(states) {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

/// The directory that holds the states: the one that is named, or `state` in the project's folder.
pub fn state_directory(named: Option<&Path>, stack: Option<&str>) -> PathBuf {
    match named {
        Some(named) => named.to_owned(),
        None => folder(stack).join("state"),
    }
}

/// The project's folder: the nearest one above the stack file that holds `stacks` or states, from wherever this runs;
/// without one, the stack file's own. Without a stack file it is looked for from here.
fn folder(stack: Option<&str>) -> PathBuf {
    let here = || PathBuf::from(".");
    let file = stack.and_then(|name| stack_file(name).ok());
    let own = file.as_deref().and_then(Path::parent).filter(|own| !own.as_os_str().is_empty());
    let own = own.map_or_else(here, Path::to_path_buf);
    let found = above(&own).into_iter().find(|folder| folder.join("stacks").is_dir() || holds_states(folder));
    relative(found.unwrap_or_else(|| own.canonicalize().unwrap_or(own)))
}

/// A folder and those above it, as far as they can belong to one project: to the top of a repository.
fn above(folder: &Path) -> Vec<PathBuf> {
    let Ok(whole) = folder.canonicalize() else { return Vec::new() };
    let shared = std::env::temp_dir();
    let mut out: Vec<PathBuf> = Vec::new();
    for folder in whole.ancestors() {
        let is_foreign = folder.parent().is_none() || folder == shared;
        if !out.is_empty() && is_foreign {
            break;
        }
        out.push(folder.to_owned());
        if folder.join(".git").exists() {
            break;
        }
    }
    out
}

/// Whether states of this tool are in the folder's `state`.
fn holds_states(folder: &Path) -> bool {
    let names = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    };
    let is_state = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        ["local-", "aws-"].iter().any(|cloud| name.starts_with(cloud))
    };
    let state = folder.join("state");
    state.join(".local-cloud").is_dir() || names(&state).iter().any(|stack| names(stack).iter().any(is_state))
}

/// A path as it is shorter to say from here.
fn relative(path: PathBuf) -> PathBuf {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).ok();
    here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf)).unwrap_or(path)
}

/// Whether the options name a file that is one stack by the name in it.
pub fn is_one_stack(options: &StackOptions) -> bool {
    stack_file(&options.stack).is_ok_and(|path| stack::has_name_of_its_own(&path))
}

/// The stack's file, as the project's folder has it; nothing where the options name no file.
pub fn file(options: &StackOptions) -> Option<String> {
    let whole = stack_file(&options.stack).ok()?.canonicalize().ok()?;
    let folder = Path::new(".").join(folder(Some(&options.stack))).canonicalize().ok()?;
    Some(whole.strip_prefix(&folder).unwrap_or(&whole).to_str()?.to_owned())
}

/// Whether there is a file of the project by this name, as states keep it.
pub fn has_file(options: &StackOptions, file: &str) -> bool {
    folder(Some(&options.stack)).join(file).is_file()
}

/// The other files of the folder that a stack's is in, and what can be made out of each: the first by name first.
fn beside(options: &StackOptions) -> Vec<(PathBuf, MadeOut)> {
    let Ok(file) = stack_file(&options.stack) else { return Vec::new() };
    let own = file.canonicalize().ok();
    let folder = file.parent().filter(|own| !own.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "toml") && path.canonicalize().ok() != own);
    files.sort();
    let made_out = |path: PathBuf| {
        let made_out = stack::made_out(&path, &stack::Options::default());
        (path, made_out)
    };
    files.into_iter().map(made_out).collect()
}

/// Whether another file beside a stack's is a stack of this name.
pub fn is_claimed(options: &StackOptions, name: &str) -> bool {
    beside(options).iter().any(|(_, other)| other.name.as_deref() == Some(name))
}

/// What there is to say of other files beside a stack's whose stack has the same name and region, and so the same state.
pub fn namesakes(options: &StackOptions, head: &Head) -> Option<String> {
    let is_same = |other: &MadeOut| {
        other.name.as_ref() == Some(&head.name) && other.region.as_ref().is_none_or(|region| *region == head.region)
    };
    let found: Vec<PathBuf> =
        beside(options).into_iter().filter(|(_, other)| is_same(other)).map(|(path, _)| path).collect();
    let first = found.first()?;
    let (file, Head { name, region, .. }) = (first.strip_prefix("./").unwrap_or(first).display(), head);
    let others = match found.len() - 1 {
        0 => format!("{file} is a stack"),
        more => format!("{file} and {more} more beside it are stacks"),
    };
    Some(format!("{others} `{name}` in {region}, too: they share one state, and each deletes what another makes"))
}

/// The names of the outputs that the files beside a stack's declare for the stack of this name and region; nothing where none
/// is it.
fn declared_outputs(options: &StackOptions, name: &str, region: &str) -> Option<BTreeSet<String>> {
    let same = beside(options).into_iter().filter(|(_, other)| {
        other.name.as_deref() == Some(name) && other.region.as_deref().is_none_or(|other| other == region)
    });
    same.map(|(_, other)| other.outputs).reduce(|all, more| all.into_iter().chain(more).collect())
}

fn no_outputs(_: &str, _: &str) -> Result<Attributes, String> {
    Err("what is read first cannot depend on it".to_owned())
}

fn stack_options<'a>(
    options: &StackOptions,
    stack_outputs: &'a dyn Fn(&str, &str) -> Result<Attributes, String>,
    names: &Names,
) -> stack::Options<'a> {
    stack::Options {
        env: options.env.clone(),
        vars: options.vars.iter().cloned().collect(),
        environment: environment_variables(),
        stack_outputs,
        declared_outputs: None,
        names: names.clone(),
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
    let file = format!("{name}.toml");
    let folders = above(Path::new("."));
    let named = folders.iter().map(|folder| folder.join("stacks").join(&file)).find(|named| named.is_file());
    if let Some(named) = named {
        return Ok(relative(named));
    }
    let is_path = name.contains('/') || name.ends_with(".toml");
    if is_path && Path::new(&file).is_file() {
        return Err(Failure::new(format!("there is no file `{name}`")).help(format!("did you mean `{file}`?")));
    }
    let message = match is_path {
        true => format!("there is no file `{name}`"),
        false => format!("there is no stack `{name}`"),
    };
    let known = folders.iter().map(|folder| stack_names(&folder.join("stacks"))).find(|names| !names.is_empty());
    let known = known.unwrap_or_default();
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(name);
    let beside = path.parent().filter(|_| is_path).map(stack_names).unwrap_or_default();
    let near = |names: &[String]| nearest(stem, names.iter().map(String::as_str)).map(str::to_owned);
    let help = match (near(&beside), near(&known), known.as_slice()) {
        (Some(near), ..) => format!("did you mean `{}`?", path.with_file_name(format!("{near}.toml")).display()),
        (None, Some(near), _) => format!("did you mean `{near}`?"),
        (None, None, []) => "there is no directory `stacks` here; give the path of a stack file".to_owned(),
        (None, None, known) => {
            format!("give the path of a stack file, or the name of one in stacks/: {}", known.join(", "))
        }
    };
    Err(Failure::new(message).help(help))
}

/// The names of the stacks in a folder.
pub fn stack_names(folder: &Path) -> Vec<String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
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
