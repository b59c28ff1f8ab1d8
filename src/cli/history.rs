//! `history`: every run that changed the state: who, when, what, and how it ended; and going back to an earlier state.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::{ArgMatches, Command, FromArgMatches, Subcommand};

use super::approve::approve;
use super::failure::{Failure, Outcome};
use super::options::{CloudName, LockOptions, StackOptions};
use super::render::{self, plural, style};
use super::session::{Session, holder};
use crate::graph::Address;
use crate::state::{Back, State, StateError, Unfinished, changes};

/// Lists the runs that changed the state: who, when, what changed, and how each ended
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  cofferdam history ecs-poc                  every run, the newest first
  cofferdam history show ecs-poc 12          what run 12 changed
  cofferdam history restore ecs-poc 11       make the state again what run 11 left

A run is numbered by the serial of the state that it left. The states of the last 50 runs are kept."
)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,

    #[command(flatten)]
    listed: Listed,

    /// Print JSON (documented in docs/json.md)
    #[arg(long)]
    json: bool,
}

/// The stack that `history STACK` names; none before a verb of `history`, whatever the environment says of its options.
#[derive(Debug, Clone)]
struct Listed(Option<StackOptions>);

impl FromArgMatches for Listed {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_named = matches.try_contains_id("stack").unwrap_or(false);
        Ok(Self(is_named.then(|| StackOptions::from_arg_matches(matches)).transpose()?))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Listed {
    fn augment_args(command: Command) -> Command {
        StackOptions::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        StackOptions::augment_args_for_update(command)
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows one run, and what it changed
    #[command(after_help = "Example:\n  cofferdam history show ecs-poc 12")]
    Show {
        #[command(flatten)]
        stack: StackOptions,

        /// Its number, as `cofferdam history` lists it
        number: u64,

        /// Print JSON (documented in docs/json.md)
        #[arg(long)]
        json: bool,
    },
    /// Makes the state again what a run left; the cloud is not changed
    ///
    /// What was made since is in the cloud still, and stays known: the next plan says what becomes of it. Restoring is a
    /// run of its own: it is in the history, and can itself be undone. Without a terminal to ask on it needs --yes, but for
    /// the local cloud.
    #[command(after_help = "Example:\n  cofferdam history restore ecs-poc 11 && cofferdam plan ecs-poc")]
    Restore {
        #[command(flatten)]
        stack: StackOptions,

        /// The number of the run, as `cofferdam history` lists it
        number: u64,

        /// Do not ask
        #[arg(long, short = 'y')]
        yes: bool,

        #[command(flatten)]
        lock: LockOptions,
    },
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    match (&args.verb, &args.listed.0) {
        (Some(Verb::Show { stack, number, json }), _) => show(stack, *number, *json).await,
        (Some(Verb::Restore { stack, number, yes, lock }), _) => restore(stack, *number, *yes, lock).await,
        (None, Some(stack)) => list(stack, args.json).await,
        (None, None) => Err(Failure::new("no stack is named").help("`cofferdam history --help` shows examples")),
    }
}

async fn list(stack: &StackOptions, json: bool) -> Outcome {
    let session = Session::open_state(stack).await?;
    let runs = session.store.runs()?;
    let unfinished = unfinished(&session)?;
    if json {
        let ended = runs.iter().rev().map(|(number, run)| render::json::run(*number, run));
        let all: Vec<_> = unfinished.iter().map(render::json::unfinished).chain(ended).collect();
        outln!("{:#}", serde_json::json!({ "format_version": 1, "runs": all }));
        return Ok(ExitCode::SUCCESS);
    }
    if runs.is_empty() && unfinished.is_none() {
        outln!("No run has changed the state yet.");
    }
    out!("{}", render::history::runs(&runs, unfinished.as_ref()));
    Ok(ExitCode::SUCCESS)
}

/// The run that has left no snapshot yet. Where the present state is damaged, those before it are told all the same.
fn unfinished(session: &Session) -> Result<Option<Unfinished>, StateError> {
    match session.store.unfinished() {
        Err(StateError::Damaged { .. }) => Ok(None),
        found => found,
    }
}

/// The error of a state that no run left.
fn beginning(number: u64) -> Failure {
    Failure::new(format!("no run left state {number}: it is the beginning"))
        .help("`cofferdam history STACK` lists the runs")
}

async fn show(stack: &StackOptions, number: u64, json: bool) -> Outcome {
    let session = Session::open_state(stack).await?;
    if let Some(unfinished) = unfinished(&session)?.filter(|unfinished| unfinished.after.serial == number) {
        match json {
            true => outln!("{:#}", render::json::unfinished(&unfinished)),
            false => out!("{}", render::history::unfinished(&unfinished)),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let snapshot = session.store.run(number)?;
    let Some(run) = &snapshot.run else { return Err(beginning(number)) };
    if json {
        outln!("{:#}", render::json::run(number, run));
        return Ok(ExitCode::SUCCESS);
    }
    let before = session.store.snapshot(number.saturating_sub(1))?.map(|before| before.state);
    out!("{}", render::history::run(number, run, before.as_ref(), &snapshot.state));
    Ok(ExitCode::SUCCESS)
}

async fn restore(stack: &StackOptions, number: u64, yes: bool, lock: &LockOptions) -> Outcome {
    let session = Session::open_state(stack).await?;
    if unfinished(&session)?.is_some_and(|unfinished| unfinished.after.serial == number) {
        return Err(Failure::new(format!("run {number} has left no state to go back to yet"))
            .help("its state is the present one; `cofferdam history STACK` lists those before it"));
    }
    let wanted = session.store.run(number)?;
    // Nothing is known of the time before the first run, and what was made since stays known.
    if wanted.run.is_none() {
        return Err(beginning(number));
    }
    let approved = || approve("Make this the state?", yes || session.name == CloudName::Local);
    let refused = || Failure::new("not approved; nothing was changed");
    if let Err(StateError::Damaged { .. }) = session.store.read() {
        if !approved()? {
            return Err(refused());
        }
        return restore_damaged(&session, stack, number, wanted.state);
    }
    let mut writer = session.lock(&format!("history restore {number}"), lock).await?;
    let (restored, made_since) = gone_back(&session, writer.state(), wanted.state).await?;
    let changes = changes(writer.state(), &restored);
    out!("{}", render::history::changes(&changes, None));
    for address in &made_since {
        outln!("  {}", style::faint(&format!("{address} was made since, and stays known")));
    }
    if !approved()? {
        writer.close()?;
        return Err(refused());
    }
    writer.restore(restored);
    let now = writer.close()?.serial;
    let count = plural(changes.len(), "resource is", "resources are");
    outln!(
        "{} the state is again what run {number} left, as run {now}; {count} different. In the cloud nothing was changed.",
        style::good("✓")
    );
    outln!("`{}` shows what an apply would do now.", stack.command("plan"));
    Ok(ExitCode::SUCCESS)
}

/// An earlier state with what was made since, and the addresses of that: it is in the cloud, and would be made once more.
async fn gone_back(session: &Session, now: &State, wanted: State) -> Result<(State, Vec<Address>), Failure> {
    let back = Back::new(now, wanted);
    let mut there = BTreeSet::new();
    for (address, entry) in back.doubtful() {
        if session.is_there(address, entry).await? {
            there.insert(address.clone());
        }
    }
    Ok(back.state(&|address, _| there.contains(address)))
}

/// Goes back where the present state is damaged or missing: what is left of it is set aside.
fn restore_damaged(session: &Session, stack: &StackOptions, number: u64, wanted: State) -> Outcome {
    let rebuild = session.store.rebuild(&holder(&format!("history restore {number}")))?;
    let (writer, aside) = rebuild.begin(wanted)?;
    let now = writer.close()?.serial;
    outln!(
        "{} the state is again what run {number} left, as run {now}. In the cloud nothing was changed.",
        style::good("✓")
    );
    if let Some(aside) = aside {
        outln!("What was left of the damaged one is in {aside}.");
    }
    outln!("`{}` shows what an apply would do now.", stack.command("plan"));
    Ok(ExitCode::SUCCESS)
}
