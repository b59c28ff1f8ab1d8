//! `state`: looking into the state and moving things in it. The cloud is not changed.

use std::process::ExitCode;

use clap::Subcommand;

use super::failure::{Failure, Outcome};
use super::home;
use super::options::{CloudName, LockOptions, StackOptions};
use super::render::{self, plural, style};
use super::session::{Session, holder, waiting};
use crate::graph::Address;
use crate::plan::{MoveError, one_move};
use crate::state::{Entry, Record, State, StateError};
use crate::words::nearest_address;

/// Looks into the state, or moves and removes things in it; the cloud is not changed
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists what the state holds
    #[command(after_help = "Example:\n  cofferdam state list ecs-poc")]
    List {
        #[command(flatten)]
        stack: StackOptions,

        /// Only this address or construct
        address: Option<String>,
    },
    /// Shows one resource of the state as JSON
    #[command(after_help = "Example:\n  cofferdam state show ecs-poc network.main/vpc.main")]
    Show {
        #[command(flatten)]
        stack: StackOptions,

        /// Its address
        address: String,
    },
    /// Gives a resource another address: after renaming it in the stack, it is not made anew
    #[command(after_help = "Example:\n  cofferdam state mv ecs-poc role.instance role.agent")]
    Mv {
        #[command(flatten)]
        stack: StackOptions,

        /// Its address so far, or a construct's
        from: String,

        /// Its address from now on
        to: String,

        #[command(flatten)]
        lock: LockOptions,
    },
    /// Moves the state to where the stack says that it is kept, or makes it plain again
    ///
    /// Write [state] url = "s3://bucket/prefix" into the stack, or take it out, and run this: the state moves with its
    /// history. Where it was, word is left of where it went, so that nobody goes on with what was left behind.
    ///
    /// Where [state] encrypt was taken out, the state and its history are decrypted where they are: with the key or
    /// passphrase that opened them so far.
    #[command(
        after_help = "Examples:\n  cofferdam state migrate ecs-poc --cloud aws                              from the directory to the bucket\n  cofferdam state migrate ecs-poc --cloud aws --from s3://old-bucket/web   from somewhere else"
    )]
    Migrate {
        #[command(flatten)]
        stack: StackOptions,

        /// Where it is: a directory of states, or s3://bucket/prefix; unless told, where it was left
        #[arg(long, value_name = "PLACE")]
        from: Option<String>,

        #[command(flatten)]
        lock: LockOptions,
    },
    /// Lets the state forget a resource; it stays in the cloud
    #[command(after_help = "\
Examples:
  cofferdam state rm ecs-poc role.instance
  cofferdam state rm ecs-poc subnet-0123456789abcdef0     only this one, where a replaced one stands beside it")]
    Rm {
        #[command(flatten)]
        stack: StackOptions,

        /// Its address, or a construct's: all that the state holds there, replaced ones too. Or its id: that one alone
        #[arg(required = true)]
        addresses: Vec<String>,

        #[command(flatten)]
        lock: LockOptions,
    },
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    match &args.verb {
        Verb::List { stack, address } => list(stack, address.as_deref()).await,
        Verb::Show { stack, address } => show(stack, address).await,
        Verb::Mv { stack, from, to, lock } => mv(stack, from, to, lock).await,
        Verb::Migrate { stack, from, lock } => migrate(stack, from.as_deref(), lock).await,
        Verb::Rm { stack, addresses, lock } => rm(stack, addresses, lock).await,
    }
}

async fn list(stack: &StackOptions, target: Option<&str>) -> Outcome {
    let state = Session::open_state(stack).await?.peek().await?;
    let is_shown = |address: &Address| target.is_none_or(|target| address.is_within(target));
    let shown: Vec<_> = state.iter().flat_map(State::holds).filter(|(address, _)| is_shown(address)).collect();
    let standing = state.iter().flat_map(|state| state.resources.keys()).filter(|address| is_shown(address)).count();
    let width = shown.iter().map(|(address, _)| address.as_str().len()).max().unwrap_or(0);
    for (index, (address, entry)) in shown.into_iter().enumerate() {
        let aside = if index < standing { "" } else { " (replaced, to be deleted)" };
        outln!("{address:width$}  {}{aside}", style::faint(&entry.id));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(stack: &StackOptions, address: &str) -> Outcome {
    let state = Session::open_state(stack).await?.peek().await?;
    let Some(entry) = state.as_ref().and_then(|state| state.resources.get(address)) else {
        return Err(missing(state.as_ref(), address, stack));
    };
    let json = serde_json::to_value(entry).map_err(|e| Failure::new(e.to_string()))?;
    outln!("{json:#}");
    Ok(ExitCode::SUCCESS)
}

async fn mv(stack: &StackOptions, from: &str, to: &str, wait: &LockOptions) -> Outcome {
    let parse = |text: &str| Address::parse(text).map_err(|e| Failure::new(e.to_string()));
    let (source, target) = (parse(from)?, parse(to)?);
    let session = Session::open_state(stack).await?;
    let mut writer = session.lock("state mv", wait).await?;
    let moves = match one_move(writer.state(), &source, &target) {
        Ok(moves) => moves,
        Err(MoveError::Missing(_)) => return Err(missing(Some(writer.state()), from, stack)),
        Err(error) => return Err(Failure::new(error.to_string()).help(error.help())),
    };
    moves.iter().cloned().for_each(|record| writer.note(record));
    writer.close()?;
    for record in &moves {
        if let Record::Move { from, to } = record {
            outln!("{from} → {to}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn rm(stack: &StackOptions, targets: &[String], wait: &LockOptions) -> Outcome {
    let session = Session::open_state(stack).await?;
    let mut writer = session.lock("state rm", wait).await?;
    let mut removed = Vec::new();
    for target in targets {
        let state = writer.state();
        let is_meant = |(address, entry): &(&Address, &Entry)| address.is_within(target) || entry.id == *target;
        let found: Vec<(Address, String)> =
            state.holds().filter(is_meant).map(|(address, entry)| (address.clone(), entry.id.clone())).collect();
        if found.is_empty() {
            return Err(missing(Some(state), target, stack));
        }
        removed.extend(found);
    }
    for (address, id) in &removed {
        writer.note(Record::Remove { address: address.clone(), id: id.clone() });
    }
    writer.close()?;
    for (address, id) in &removed {
        outln!("{address}  {}", render::style::faint(id));
    }
    let count = plural(removed.len(), "resource is", "resources are");
    outln!("{count} forgotten; in the cloud nothing was changed.");
    outln!("What the stack declares of it, the next apply would make once more.");
    outln!(
        "`{}` takes back what carries the stack's tags, `{} ADDRESS ID` anything else.",
        stack.command("orphans --adopt"),
        stack.command("import")
    );
    Ok(ExitCode::SUCCESS)
}

async fn migrate(stack: &StackOptions, from: Option<&str>, wait: &LockOptions) -> Outcome {
    let session = Session::open_anywhere(stack).await?;
    let at = &session.head.state;
    // Where word is left that it went, it is brought back first.
    let went = matches!(session.store.read(), Err(StateError::Moved { .. }));
    if from.is_none() && at.encrypt.is_none() && !went && session.store.has_key()? {
        let opened = session.store_in(home::once_encrypted(session.home.clone())?.as_ref());
        waiting(wait, || session.store.make_plain(&opened, &holder("state migrate"))).await?;
        outln!("{} the state in {} is plain now, and its history with it.", style::good("✓"), session.store.name());
        return Ok(ExitCode::SUCCESS);
    }
    let home = match (from, &session.head.state.url, session.store.read()) {
        (Some(place), ..) => home::named(place, stack, &session.head.state, &session.head.region)?,
        (None, Some(_), _) if stack.cloud == CloudName::Aws => home::directory(stack, &session.head.state)?,
        (None, _, Err(StateError::Moved { to, .. })) => {
            home::named(&to, stack, &session.head.state, &session.head.region)?
        }
        _ => {
            return Err(Failure::new(format!("the state is where the stack says, in {}", session.home.name()))
                .help("name the place that it is in with --from, a directory or s3://bucket/prefix"));
        }
    };
    let mut source = session.store_in(home.as_ref());
    if source.name() == session.store.name() {
        return Err(Failure::new(format!("the state is in {} already", session.store.name()))
            .help("let the stack name another place ([state] url)"));
    }
    // Moved and made plain at once.
    if at.encrypt.is_none() && source.has_key()? {
        source = session.store_in(home::once_encrypted(home)?.as_ref());
    }
    let moved = waiting(wait, || session.store.move_here(&source, &holder("state migrate"))).await?;
    let count = plural(moved.resources.len(), "resource", "resources");
    outln!("{} the state ({count}) is in {} now.", style::good("✓"), session.store.name());
    Ok(ExitCode::SUCCESS)
}

/// The error of an address that the state does not hold, with the one most like it.
pub fn missing(state: Option<&State>, address: &str, stack: &StackOptions) -> Failure {
    let known = state.iter().flat_map(|state| state.holds()).map(|(known, _)| known.as_str());
    let help = match nearest_address(address, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("`{}` lists what is", stack.command("state list")),
    };
    Failure::new(format!("`{address}` is not in the state")).help(help)
}
