//! `rehearse`: what an apply would do, in which order and for how long, carried out in a simulated AWS.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::failure::{Failure, Outcome};
use super::home;
use super::options::StackOptions;
use super::project::{self, Standing};
use super::render::{self, style};
use crate::cloud::Cloud;
use crate::graph::{Graph, Scope};
use crate::kinds::Registry;
use crate::plan::{self, Inputs, Mode, Plan};
use crate::simulated::{Behaviour, Rehearsal, Simulated, rehearse, state_of};
use crate::state::State;

/// The account that a rehearsal plays in, where no plan names one.
const ACCOUNT: &str = "000000000000";

/// Carries a plan out in a simulated AWS: the order, the critical path, the expected duration
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs no account, sends nothing and changes nothing. Durations are those that AWS usually takes.

Examples:
  cofferdam rehearse ecs-poc                    the first apply of a stack
  cofferdam rehearse ecs-poc --destroy          the deletion of all of it
  cofferdam plan ecs-poc --cloud aws --out ecs-poc.plan
  cofferdam rehearse ecs-poc --plan ecs-poc.plan   exactly this plan
  cofferdam rehearse ecs-poc --json | jq .seconds")]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// Rehearse this saved plan, instead of the first apply
    #[arg(long, value_name = "FILE", conflicts_with = "destroy")]
    plan: Option<PathBuf>,

    /// Rehearse the deletion of everything
    #[arg(long)]
    destroy: bool,

    /// How often; no two go quite alike, and the one in the middle is shown
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..=1000))]
    times: u16,

    /// How many calls may be under way at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    slots: u16,

    /// Print JSON (documented in docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(args: &Args) -> Outcome {
    let stack = project::load(&args.stack, &Registry::new(), &Standing::default())?;
    let saved = args.plan.as_deref().map(home::saved_plan).transpose()?;
    if saved.as_ref().is_some_and(|plan| plan.inputs_digest != stack.inputs_digest) {
        return Err(Failure::new("the stack has changed since the plan was made").help("plan again, and rehearse that"));
    }
    let scope = match &saved {
        Some(plan) => plan.scope.clone(),
        None => Scope { account: Some(ACCOUNT.into()), ..stack.scope() },
    };
    let what = if args.destroy { What::Destroy(&stack.graph) } else { What::Apply(&stack.graph) };
    let what = saved.as_ref().map_or(what, What::Plan);
    let mut all = in_virtual_time(|| async {
        let mut all = Vec::with_capacity(usize::from(args.times));
        for seed in 0..u64::from(args.times) {
            all.push(once(&what, &scope, seed, usize::from(args.slots)).await?);
        }
        Ok(all)
    })?;
    all.sort_by_key(|one| one.report.elapsed);
    let elapsed = |at: usize| all.get(at).map(|one| one.report.elapsed).unwrap_or_default();
    let range = (elapsed(0), elapsed(all.len() - 1));
    let middle = all.swap_remove(all.len() / 2);
    if args.json {
        outln!("{:#}", render::rehearsal::json(&scope, &middle, range, args.times));
    } else {
        let of = if args.destroy { "Rehearsal of destroying" } else { "Rehearsal of" };
        outln!("{}\n", style::strong(&format!("{of} {} · simulated AWS · {}", scope.prefix(), scope.region)));
        out!("{}", render::rehearsal::text(&middle, range, args.times));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is rehearsed.
enum What<'a> {
    Apply(&'a Graph),
    Destroy(&'a Graph),
    Plan(&'a Plan),
}

/// Runs something in a thread of its own, whose clock goes as fast as anything waits for it.
fn in_virtual_time<T: Send, Fut: Future<Output = Result<T, Failure>>>(
    work: impl FnOnce() -> Fut + Send,
) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.map_err(|error| Failure::new(format!("cannot start: {error}")))?.block_on(work())
        });
        thread.join().unwrap_or_else(|_| Err(Failure::new("the rehearsal came to no end")))
    })
}

async fn once(what: &What<'_>, scope: &Scope, seed: u64, slots: usize) -> Result<Rehearsal, Failure> {
    let cloud = Simulated::within(scope.clone(), Behaviour::aws(seed));
    let account = scope.account.as_deref().unwrap_or_default();
    let nothing = State::empty(&scope.stack, scope.env.as_deref(), "simulated", account, &scope.region);
    let rehearsal = match what {
        What::Plan(plan) => {
            let state = state_of(plan);
            cloud.plant(&state);
            rehearse(&cloud, plan, state, slots).await?
        }
        What::Apply(graph) => {
            let plan = planned(&cloud, graph, &nothing, Mode::Apply).await?;
            rehearse(&cloud, &plan, nothing, slots).await?
        }
        What::Destroy(graph) => {
            let plan = planned(&cloud, graph, &nothing, Mode::Apply).await?;
            let made = whole(rehearse(&cloud, &plan, nothing, slots).await?)?;
            let plan = planned(&cloud, &Graph::default(), &made.state, Mode::Destroy).await?;
            rehearse(&cloud, &plan, made.state, slots).await?
        }
    };
    whole(rehearsal)
}

/// A rehearsal in good weather goes well; where it does not, the plan cannot.
fn whole(rehearsal: Rehearsal) -> Result<Rehearsal, Failure> {
    match rehearsal.report.failed.first() {
        None => Ok(rehearsal),
        Some((address, _, error)) => {
            Err(Failure::new(format!("the rehearsal fails at {address}: {error}")).help(error.remedy()))
        }
    }
}

async fn planned(cloud: &Simulated, graph: &Graph, state: &State, mode: Mode) -> Result<Plan, Failure> {
    let observed = plan::refresh::refresh(cloud, graph, state).await?;
    Ok(plan::plan(&Inputs {
        graph,
        state: Some(state),
        observed: Some(&observed),
        specs: &|kind| cloud.spec(kind),
        scope: cloud.scope(),
        cloud: "simulated",
        inputs_digest: "",
        mode,
        targets: &[],
        replace: &[],
        given: plan::Given::default(),
    })?)
}

/// Seconds with one digit behind the point, for programs.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}
