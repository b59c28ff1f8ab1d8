//! `orphans`: what is in the cloud, carries the stack's tags, and is in no state.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::apply::{RunOptions, carry_out_with};
use super::approve::approve;
use super::failure::{Failure, Outcome};
use super::options::{CloudName, StackOptions};
use super::render::{self, plural, style};
use super::session::Session;
use crate::apply::{Orphan, adopted, entries, origin, orphans};
use crate::cloud::Cloud;
use crate::graph::{Address, Graph};
use crate::plan::{self, Inputs, Mode};
use crate::state::{Aside, Record, State};

/// Lists what carries the stack's tags and is in no state; adopts or deletes it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam orphans ecs-poc --cloud aws
  cofferdam orphans ecs-poc --cloud aws --adopt              those whose addresses the stack declares
  cofferdam orphans ecs-poc --cloud aws --adopt role.old     this one, declared or not
  cofferdam orphans ecs-poc --cloud aws --delete vpc-0a1b2c3d")]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// Only these: addresses or ids
    which: Vec<String>,

    /// Take them into the state; the cloud is not changed
    #[arg(long, conflicts_with = "delete")]
    adopt: bool,

    /// Delete them, dependents first
    #[arg(long)]
    delete: bool,

    #[command(flatten)]
    run: RunOptions,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let session = Session::open(&args.stack).await?;
    match (args.adopt, args.delete) {
        (true, _) => adopt(args, &session).await,
        (_, true) => delete(args, &session).await,
        _ => list(args, &session).await,
    }
}

async fn find(args: &Args, session: &Session, state: &State) -> Result<Vec<Orphan>, Failure> {
    let mut found = orphans(&session.cloud, state).await?;
    let is = |orphan: &Orphan, which: &str| {
        orphan.observed.id == which || orphan.address.as_ref().is_some_and(|address| address.is_within(which))
    };
    if let Some(which) = args.which.iter().find(|which| !found.iter().any(|orphan| is(orphan, which))) {
        return Err(Failure::new(format!("`{which}` is no orphan of this stack"))
            .help("`cofferdam orphans STACK` lists those that there are"));
    }
    found.retain(|orphan| args.which.is_empty() || args.which.iter().any(|which| is(orphan, which)));
    Ok(found)
}

async fn list(args: &Args, session: &Session) -> Outcome {
    let state = session.peek().await?.unwrap_or_else(|| session.fresh());
    let found = find(args, session, &state).await?;
    if args.run.json {
        outln!("{:#}", render::json::orphans(&found));
        return Ok(ExitCode::SUCCESS);
    }
    outln!("{}\n", style::strong(&session.headline("Orphans of")));
    out!("{}", render::recovered::orphans(&found, &state, session.graph(Some(&state))?.as_ref()));
    Ok(ExitCode::SUCCESS)
}

async fn adopt(args: &Args, session: &Session) -> Outcome {
    let mut writer = session.lock("orphans", &args.run.lock).await?;
    session.give_seal(&mut writer, None);
    let found = find(args, session, writer.state()).await?;
    let graph = session.graph(Some(writer.state()))?;
    let graph = graph.as_ref();
    let gone = gone(session, writer.state(), &found).await?;
    let mut adopted_now = Vec::new();
    let mut left = Vec::new();
    for orphan in &found {
        let claims = |address: &_| found.iter().filter(|other| other.address.as_ref() == Some(address)).count();
        let why_not = match &orphan.address {
            None => Some("it carries no address"),
            Some(address) if writer.state().resources.contains_key(address) && !gone.contains_key(address) => {
                Some("another one stands there")
            }
            Some(address) if claims(address) > 1 => Some("others claim the same address"),
            Some(address) if graph.get(address).is_none() && args.which.is_empty() => {
                Some("the stack does not declare it: name it to adopt it nevertheless")
            }
            Some(_) => None,
        };
        match (why_not, &orphan.address) {
            (None, Some(address)) => adopted_now.push((address.clone(), orphan)),
            (why, _) => left.push((orphan, why.unwrap_or_default())),
        }
    }
    if !adopted_now.is_empty()
        && !approve("Take these into the state?", args.run.yes || session.name == CloudName::Local)?
    {
        return Err(Failure::new("not approved; nothing was changed"));
    }
    // What others name comes first, so that what names it is complete.
    let order: Vec<_> = graph.in_order().map(|resource| resource.address.clone()).collect();
    adopted_now.sort_by_key(|(address, _)| order.iter().position(|one| one == address));
    for (address, orphan) in &adopted_now {
        let entry = match graph.get(address) {
            Some(resource) => adopted(&session.cloud, graph, writer.state(), resource, orphan.observed.clone()).entry,
            None => match entries(&[(*orphan).clone()], writer.state()).into_iter().next() {
                Some((_, entry)) => entry,
                None => continue,
            },
        };
        let origin = origin(&orphan.observed.attributes);
        if let Some(id) = gone.get(address) {
            writer.note(Record::Remove { address: address.clone(), id: id.clone() });
        }
        writer.note(Record::Put { address: address.clone(), entry });
        if let Some(origin) = origin {
            writer.note(Record::Named { address: address.clone(), origin });
        }
    }
    writer.close()?;
    for (address, orphan) in &adopted_now {
        outln!("{} {address} is {} now.", style::good("✓"), orphan.observed.id);
    }
    for (orphan, why) in &left {
        outln!("{} {} {} is not adopted: {why}.", style::bad("!"), orphan.kind, orphan.observed.id);
    }
    let count = plural(adopted_now.len(), "orphan is", "orphans are");
    outln!("{count} adopted; `{}` shows what differs from the stack.", args.stack.command("plan"));
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the state has at addresses that orphans bear, and the cloud no longer, by its id.
async fn gone(session: &Session, state: &State, found: &[Orphan]) -> Result<BTreeMap<Address, String>, Failure> {
    let mut out = BTreeMap::new();
    for address in found.iter().filter_map(|orphan| orphan.address.as_ref()) {
        let Some(entry) = state.resources.get(address) else { continue };
        if !session.is_there(address, entry).await? {
            out.insert(address.clone(), entry.id.clone());
        }
    }
    Ok(out)
}

async fn delete(args: &Args, session: &Session) -> Outcome {
    let writer = session.lock("orphans", &args.run.lock).await?;
    let found = find(args, session, writer.state()).await?;
    let entries = entries(&found, writer.state());
    // A plan for these alone: what else the state holds is none of its business.
    let alone = State {
        resources: entries.clone(),
        deposed: Aside::default(),
        outputs: BTreeMap::new(),
        ..writer.state().clone()
    };
    let specs = |kind: &str| session.cloud.spec(kind);
    let mut plan = plan::plan(&Inputs {
        graph: &Graph::default(),
        state: Some(&alone),
        observed: None,
        specs: &specs,
        scope: session.cloud.scope(),
        cloud: session.name.as_str(),
        inputs_digest: &session.inputs_digest,
        mode: Mode::Destroy,
        targets: &[],
        replace: &[],
        given: plan::Given::default(),
    })?;
    for action in &mut plan.actions {
        action.reason = "it is in no state".to_owned();
    }
    let records = entries.into_iter().map(|(address, entry)| Record::Put { address, entry }).collect();
    carry_out_with(session, writer, &plan, &args.run, false, "destroy", records).await
}
