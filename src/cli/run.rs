//! `run`: a task that runs once.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::failure::{Failure, Outcome};
use super::interrupt;
use super::logs::{ago, show};
use super::options::{CloudName, StackOptions, duration};
use super::render::{self, style};
use super::service::ReadSession;
use crate::apply::Stop;
use crate::cloud::{ENV_TAG, FIRST_PAUSE, STACK_TAG, longer};
use crate::services::{self, Reader, RunTask, Service, Task};
use crate::state::{Entry, State};

/// How often a task is seen running in the local cloud until it is believed that it never ends.
const LOCAL_LOOKS: u32 = 3;

/// Runs a task once, where a service runs its own, and ends with its exit code
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam run ecs-poc web --cloud aws -- ./manage.py migrate
  cofferdam run worker-and-cron report --like worker --cloud aws
  cofferdam run ecs-poc web --cloud aws --timeout 10m -- ./nightly.sh

The task has the cluster, network, capacity and rights of the service's own tasks. What it writes is shown as it comes; \
Ctrl-C stops it. The exit code is that of its container. The local cloud runs no containers: a task is started there, seen \
not to end, and stopped.")]
pub struct Args {
    #[command(flatten)]
    stack: StackOptions,

    /// The service, or a task definition: address, block or name
    what: String,

    /// Of a task definition: the service whose cluster, network and capacity it uses
    #[arg(long, value_name = "SERVICE")]
    like: Option<String>,

    /// The container that runs the command, and whose exit code counts
    #[arg(long, value_name = "NAME")]
    container: Option<String>,

    /// Do not wait for its end
    #[arg(long)]
    no_wait: bool,

    /// Wait for its end so long: 90s, 10m, 2h. The task itself goes on then
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration, conflicts_with = "no_wait")]
    timeout: Duration,

    /// Print one JSON object a line (documented in docs/json.md)
    #[arg(long)]
    json: bool,

    /// What the container runs, in place of its own command
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: &Args) -> Outcome {
    let opened = ReadSession::open(&args.stack).await?;
    let (state, aws) = (&opened.state, opened.aws());
    let (like, own) = meant(state, args)?;
    let described = services::describe(aws, &like).await?;
    let revision = match own {
        Some(entry) => entry.outputs.get("arn").and_then(Value::as_str).unwrap_or_default(),
        None => described.task_definition().unwrap_or_default(),
    };
    let container = main_container(state, &like, own, args.container.as_deref())?;
    let user = whoami::username().unwrap_or_else(|_| "somebody".to_owned());
    let started_by: String = format!("cofferdam:{user}").chars().take(36).collect();
    let mut tags = BTreeMap::from([(STACK_TAG.to_owned(), state.stack.clone())]);
    tags.extend(state.env.clone().map(|env| (ENV_TAG.to_owned(), env)));
    let began = ago(Duration::ZERO);
    let request = RunTask {
        like: &like,
        described: &described,
        revision,
        container: &container,
        command: &args.command,
        exec: described.enable_execute_command(),
        started_by: &started_by,
        tags,
        token: &uuid::Uuid::new_v4().simple().to_string(),
    };
    let task = services::run_task(aws, &request).await?;
    if args.json {
        outln!(
            "{}",
            json!({ "event": "started", "format_version": crate::plan::FORMAT_VERSION, "task": task.id, "revision": task.revision })
        );
    } else {
        errln!("  task {} of {} is being started", task.id, services::tail(revision));
    }
    if args.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    // Where it writes elsewhere, nothing is shown of that.
    let sources = services::sources(aws, revision).await.unwrap_or_default();
    let mut reader = Reader::new(sources, Some(task.id.clone()), began);
    let mut stop = interrupt::watch();
    let (mut pause, mut status, mut seen_running) = (FIRST_PAUSE, String::new(), 0);
    let (asked, is_local) = (Instant::now(), args.stack.cloud == CloudName::Local);
    let task = loop {
        let now = services::described(aws, like.cluster(), std::slice::from_ref(&task.arn)).await?;
        let Some(now) = now.first().map(|task| Task::of(task, &BTreeMap::new())) else {
            return Err(Failure::new(format!("task {} is not to be found any more", task.id)).help("run it again"));
        };
        for line in reader.next(aws).await? {
            show(&line, args.json);
        }
        if now.status == "STOPPED" {
            break now;
        }
        if now.status != status && !args.json {
            errln!("  {}", now.status.to_lowercase());
        }
        status.clone_from(&now.status);
        seen_running += u32::from(now.status == "RUNNING");
        if is_local && seen_running >= LOCAL_LOOKS {
            services::stop_task(aws, like.cluster(), &task.arn, "it would never end").await?;
            return Err(Failure::new(format!(
                "task {} does not end: the local cloud runs no containers, and only says that they run",
                task.id
            ))
            .help("it was stopped; run it with --cloud aws, or give --no-wait to see only that it can be started"));
        }
        if asked.elapsed() >= args.timeout {
            let so_long = render::duration(args.timeout);
            let message = format!("task {} has not ended in {so_long}: it is {}", task.id, status.to_lowercase());
            return Err(Failure::new(message).help(
                "it goes on by itself; --timeout waits longer, and `cofferdam ps STACK --stopped` shows its end",
            ));
        }
        let changed = tokio::time::timeout(pause, stop.changed()).await.is_ok();
        match *stop.borrow_and_update() {
            Stop::Gently if changed => {
                errln!("{}", style::note("stopping the task; interrupt again to leave it to itself"));
                services::stop_task(aws, like.cluster(), &task.arn, "interrupted").await?;
            }
            Stop::Now => return Err(Failure::new(format!("left task {} to itself", task.id))),
            _ => {}
        }
        pause = longer(pause);
    };
    ended(&task, &container, args)
}

/// Tells how a task ended, and ends likewise.
fn ended(task: &Task, container: &str, args: &Args) -> Outcome {
    let code = task.containers.iter().find(|one| one.name == container).and_then(|one| one.exit_code);
    if args.json {
        outln!(
            "{}",
            json!({ "event": "finished", "task": task.id, "exit_code": code, "reason": task.reason, "containers": task.containers })
        );
    } else {
        let mark = if code == Some(0) { style::good("✓") } else { style::bad("✗") };
        errln!("{mark} task {}: {}", task.id, task.why());
    }
    match code {
        // What does not fit into a byte is no success either.
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        None => Err(Failure::new(format!("container `{container}` never ran: {}", task.why()))
            .help("see to the reason; `cofferdam status STACK` shows how the service itself is")),
    }
}

/// The service that the task runs like, and the task definition where it is not the service's.
fn meant<'s>(state: &'s State, args: &Args) -> Result<(Service<'s>, Option<&'s Entry>), Failure> {
    let like = args.like.as_deref().map(|like| services::find(state, like)).transpose()?;
    let service = services::find(state, &args.what);
    if let (Ok(service), None) = (&service, &like) {
        return Ok((*service, None));
    }
    let entry = match services::definition(state, &args.what) {
        Ok((_, entry)) => entry,
        Err(error) => {
            return Err(match service {
                Ok(_) => error.into(),
                Err(no_service) => no_service.into(),
            });
        }
    };
    let all = services::all(state);
    let own =
        all.iter().find(|service| services::definition_of(state, service).is_some_and(|(_, one)| one.id == entry.id));
    match (like, own, all.as_slice()) {
        (Some(like), ..) => Ok((like, Some(entry))),
        (None, Some(own), _) => Ok((*own, Some(entry))),
        (None, None, [one]) => Ok((*one, Some(entry))),
        (None, None, all) => {
            let names: Vec<&str> = all.iter().map(|service| service.address.as_str()).collect();
            Err(Failure::new("no service uses this task definition, so nothing says where it is to run")
                .help(format!("say like which service with --like: {}", names.join(", "))))
        }
    }
}

/// The container that counts: the one that is named, the only one, or the only one that the task ends with.
fn main_container(
    state: &State,
    like: &Service<'_>,
    own: Option<&Entry>,
    named: Option<&str>,
) -> Result<String, Failure> {
    let entry = own.or_else(|| services::definition_of(state, like).map(|(_, entry)| entry));
    let containers = entry.and_then(|entry| entry.attributes.get("containers")).and_then(Value::as_object);
    let Some(containers) = containers else {
        let help = "name the container with --container";
        return named
            .map(str::to_owned)
            .ok_or_else(|| Failure::new("its task definition is not of this stack").help(help));
    };
    let names: Vec<&str> = containers.keys().map(String::as_str).collect();
    let list = names.join(", ");
    if let Some(named) = named {
        let message = format!("the task has no container `{named}`");
        let known = names.contains(&named);
        return known.then(|| named.to_owned()).ok_or_else(|| Failure::new(message).help(format!("it has {list}")));
    }
    let is_essential = |one: &Value| one.get("essential").and_then(Value::as_bool).unwrap_or(true);
    let essential: Vec<&String> =
        containers.iter().filter(|(_, one)| is_essential(one)).map(|(name, _)| name).collect();
    match (names.as_slice(), essential.as_slice()) {
        ([one], _) => Ok((*one).to_owned()),
        (_, [one]) => Ok((*one).clone()),
        _ => Err(Failure::new("the task has several containers").help(format!("say which with --container: {list}"))),
    }
}

/// The container of a service's tasks that is meant where none is named.
///
/// # Errors
/// Where that may be several.
pub fn container_of(state: &State, service: &Service<'_>, named: Option<&str>) -> Result<String, Failure> {
    main_container(state, service, None, named)
}
