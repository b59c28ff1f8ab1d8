//! `recover`: makes a lost or damaged state again from the cloud alone.

use std::process::ExitCode;

use super::approve::approve;
use super::failure::{Failure, Outcome};
use super::options::{CloudName, StackOptions};
use super::render::{self, style};
use super::session::{self, Session};
use crate::apply::{names, recover};
use crate::cloud::Cloud;
use crate::plan::unexplained;
use crate::state::{Record, StateError};

/// Makes a lost or damaged state again from what is in the cloud. The cloud is not changed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam recover ecs-poc
  cofferdam recover ecs-poc --cloud aws --env staging
  cofferdam recover ecs-poc --cloud aws --anew     also where there is a whole state: it is set aside

Resources are found by the tags of stack, environment and address; what carries no tags, by what the stack says of it. \
Files that stood in the state's directory are moved to set-aside/ in it, never deleted.")]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// Also where the present state can be read and is not empty
    #[arg(long)]
    anew: bool,

    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,

    /// Print JSON (documented in docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let session = Session::open(&args.stack).await?;
    let rebuild = session.store.rebuild(&session::holder("recover"))?;
    let damage = match session.store.read() {
        Ok(Some(state)) if !state.is_empty() && !args.anew => {
            let count = render::plural(state.resources.len(), "resource", "resources");
            return Err(Failure::new(format!("the state is whole, and holds {count}: there is nothing to recover"))
                .help(
                    "`cofferdam orphans STACK` lists what is in the cloud and not in it; --anew sets it aside nevertheless",
                ));
        }
        Ok(_) => None,
        Err(error @ StateError::Damaged { .. }) => Some(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    let is_damaged = damage.is_some();
    let mut fresh = session.fresh();
    if !session.secrets.is_empty() {
        fresh.seal = Some(session.seal.clone());
    }
    // What carries no tags is found by its name, which may follow from the address that it had before.
    fresh.names = session.moved_names();
    let mut graph = session.sealed(Some(&fresh))?;
    let mut recovered = recover(&session.cloud, &graph, &fresh).await?;
    let names = names(&recovered, &fresh.names);
    if names != fresh.names {
        fresh.names = names;
        graph = session.sealed(Some(&fresh))?;
        session.cloud.forget();
        recovered = recover(&session.cloud, &graph, &fresh).await?;
    }
    let mut whole = fresh.clone();
    whole.resources.extend(recovered.found.iter().map(|(address, found)| (address.clone(), found.entry.clone())));
    let held = unexplained(&whole, &graph, &|kind| session.cloud.spec(kind));
    if args.json {
        outln!("{:#}", render::json::recovered(&recovered, &held));
    } else {
        outln!("{}\n", style::strong(&session.headline("Recovery of")));
        if let Some(damage) = damage {
            outln!("{}\n", style::note(&damage));
        }
        out!("{}", render::recovered::recovered(&recovered, &args.stack.stack));
        out!("{}", render::recovered::held(&held, &args.stack.command("apply")));
    }
    // An empty state in the place of one that was lost is only written where that is meant.
    if recovered.found.is_empty() && !(is_damaged && args.anew) {
        let then = match is_damaged {
            true => "--anew writes an empty state",
            false => "`cofferdam apply STACK` begins anew",
        };
        return Err(Failure::new("nothing of this stack was found; no state is written")
            .help(format!("check account, region and environment; where nothing exists, {then}")));
    }
    if !approve("Write this state?", args.yes || session.name == CloudName::Local)? {
        return Err(Failure::new("not approved; nothing was changed"));
    }
    let (mut writer, aside) = rebuild.begin(fresh)?;
    for (address, found) in &recovered.found {
        writer.note(Record::Put { address: address.clone(), entry: found.entry.clone() });
    }
    for (address, path, value, _) in held {
        let held = Some(super::service::held("recover", value));
        writer.note(Record::Hold { address, path, held });
    }
    if !recovered.outputs.is_empty() {
        writer.note(Record::Outputs { outputs: recovered.outputs.clone(), of: graph.outputs_of() });
    }
    let state = writer.close()?;
    if !args.json {
        if let Some(aside) = aside {
            outln!("What stood there is in {aside}.");
        }
        let count = render::plural(state.resources.len(), "resource", "resources");
        outln!(
            "{} the state holds {count}; `{}` shows what differs from the stack.",
            style::good("✓"),
            args.stack.command("plan")
        );
    }
    Ok(if recovered.disputed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
