//! Whole-process figures: each measurement is a process of its own, from its start to its end, with the journal on disk.
//!
//! Prints a table of wall time and peak memory for planning and executing trees of 1,000, 10,000 and 50,000 resources, the
//! growth from one size to the next, the API calls of a refresh by kind, how long first applies of the shipped stacks take in
//! the simulated AWS (`deploys` prints that alone), and, where a `terraform` is on the PATH, the same
//! tree of `terraform_data` beside it.

mod deploys;
mod tree;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cofferdam::apply::{Execution, Options, Stop, execute};
use cofferdam::plan::refresh;
use cofferdam::simulated::{Calls, Simulated};
use cofferdam::state::{Holder, Store};

const SIZES: [usize; 3] = [1_000, 10_000, 50_000];
/// Each measurement is the best of this many.
const TRIES: usize = 5;
/// The size that terraform is measured at; it takes minutes for more.
const TERRAFORM_SIZE: usize = 1_000;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["plan", count, root] => plan(count.parse()?, Path::new(root)),
        ["deploys"] => deploys::table(),
        ["execute", count, root] => run(count.parse()?, Path::new(root)),
        _ => table(),
    }
}

fn store(root: &Path) -> Store {
    Store::new(root, "tree", None, "simulated", "123456789012", "eu-west-2")
}

fn holder(verb: &str) -> Holder {
    Holder {
        user: "bench".into(),
        host: "here".into(),
        pid: std::process::id(),
        verb: verb.into(),
        since: "now".into(),
    }
}

/// The state is read, the graph planned against it, and nothing is to be done.
fn plan(count: usize, root: &Path) -> Fallible<()> {
    let state = store(root).read()?.ok_or("nothing was executed there")?;
    let cloud = Simulated::default();
    let graph = tree::graph(count);
    let plan = tree::plan(&cloud, &graph, &state, None);
    if plan.has_changes() || plan.summary.no_change != count {
        return Err(format!("something changes: {:?}", plan.summary).into());
    }
    finish(Duration::ZERO)
}

/// Everything is planned and created. Told besides: how long the execution itself took, journal and snapshot included.
fn run(count: usize, root: &Path) -> Fallible<()> {
    let cloud = Simulated::default();
    let graph = tree::graph(count);
    let mut writer = store(root).open(&holder("apply"), tree::empty)?;
    let plan = tree::plan(&cloud, &graph, writer.state(), None);
    let (_sender, stop) = tokio::sync::watch::channel(Stop::No);
    let began = Instant::now();
    let execution = Execution {
        plan: &plan,
        cloud: &cloud,
        ledger: &mut writer,
        options: Options::default(),
        stop,
        emit: &mut |_| {},
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(execute(execution))?;
    if report.created != count {
        return Err(format!("{} of {count} were created", report.created).into());
    }
    writer.close()?;
    finish(began.elapsed())
}

/// Tells the peak of memory and a time of this process to the one that started it, and ends without taking the trees apart.
fn finish(inner: Duration) -> Fallible<()> {
    println!("{} {}", peak_kib(), inner.as_secs_f64());
    std::process::exit(0);
}

/// The most memory that this process held, in KiB; 0 where the system does not tell.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

/// One figure.
#[derive(Clone, Copy)]
struct Figure {
    wall: Duration,
    inner: Duration,
    peak_kib: u64,
}

/// Runs this program as a process of its own.
fn measure(arguments: &[&str]) -> Fallible<Figure> {
    let began = Instant::now();
    let output = Command::new(std::env::current_exe()?).args(arguments).stderr(Stdio::inherit()).output()?;
    let wall = began.elapsed();
    if !output.status.success() {
        return Err(format!("{arguments:?} failed").into());
    }
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace();
    let peak_kib = words.next().ok_or("no memory was told")?.parse()?;
    let inner = Duration::from_secs_f64(words.next().unwrap_or("0").parse()?);
    Ok(Figure { wall, inner, peak_kib })
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn table() -> Fallible<()> {
    println!("Whole processes, zero-latency cloud, ten-ary tree, journal and snapshot on disk; best of {TRIES}.\n");
    println!("{:<28} {:>9} {:>9} {:>8} {:>12}", "", "resources", "wall ms", "MiB", "µs/resource");
    let mut at_terraform_size = Vec::new();
    for what in ["execute (all created)", "  of which execution", "plan (no change, no refresh)"] {
        for count in SIZES {
            let figure = best(what, count)?;
            let wall = if what.starts_with(' ') { figure.inner } else { figure.wall };
            #[allow(clippy::cast_precision_loss)]
            let (mib, each) = (figure.peak_kib as f64 / 1024.0, ms(wall) * 1000.0 / count as f64);
            println!("{what:<28} {count:>9} {:>9.1} {mib:>8.1} {each:>12.2}", ms(wall));
            if count == TERRAFORM_SIZE {
                at_terraform_size.push((what, wall));
            }
        }
    }
    refresh_calls()?;
    deploys::table()?;
    terraform(&at_terraform_size)
}

fn best(what: &str, count: usize) -> Fallible<Figure> {
    let count = count.to_string();
    let mut best: Option<Figure> = None;
    for _ in 0..TRIES {
        let root = tempfile::tempdir_in(".")?;
        let path = root.path().to_str().ok_or("the path is text")?.to_owned();
        let executed = measure(&["execute", &count, &path])?;
        let figure = if what.starts_with("plan") { measure(&["plan", &count, &path])? } else { executed };
        let better = best.is_none_or(|best| figure.wall < best.wall);
        best = if better { Some(figure) } else { best };
    }
    best.ok_or_else(|| "nothing was measured".into())
}

/// How many calls a refresh takes, by kind.
fn refresh_calls() -> Fallible<()> {
    let count = SIZES[1];
    let (cloud, graph) = (Simulated::default(), tree::graph(count));
    let mut ledger = cofferdam::state::Memory::new(tree::empty());
    let plan = tree::plan(&cloud, &graph, ledger.state(), None);
    let (_sender, stop) = tokio::sync::watch::channel(Stop::No);
    let execution = Execution {
        plan: &plan,
        cloud: &cloud,
        ledger: &mut ledger,
        options: Options::default(),
        stop,
        emit: &mut |_| {},
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(execute(execution))?;
    cloud.forget_calls();
    let state = ledger.close();
    runtime.block_on(refresh::refresh(&cloud, &graph, &state))?;
    println!("\nCalls of a refresh of {count} resources, by kind: {}", calls(&cloud.calls()));
    Ok(())
}

fn calls(calls: &Calls) -> String {
    calls.iter().fold(String::new(), |mut text, ((kind, operation), count)| {
        let _ = write!(text, "{kind} {} {count}  ", operation.name());
        text
    })
}

/// The same tree in terraform's own built-in resource.
fn terraform(ours: &[(&str, Duration)]) -> Fallible<()> {
    let is_there = Command::new("terraform").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !is_there.is_ok_and(|status| status.success()) {
        println!("\nNo terraform on the PATH to compare with.");
        return Ok(());
    }
    let directory = tempfile::tempdir_in(".")?;
    let mut resources = serde_json::Map::new();
    for number in 0..TERRAFORM_SIZE {
        let input = match number {
            0 => "root".to_owned(),
            _ => format!("${{terraform_data.n{}.id}}", (number - 1) / tree::WIDTH),
        };
        resources.insert(format!("n{number}"), serde_json::json!({ "input": input }));
    }
    let stack = serde_json::json!({ "resource": { "terraform_data": resources } });
    std::fs::write(directory.path().join("main.tf.json"), serde_json::to_vec(&stack)?)?;
    let timed = |arguments: &[&str]| -> Fallible<Duration> {
        let began = Instant::now();
        let output = Command::new("terraform").args(arguments).current_dir(directory.path()).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(began.elapsed())
    };
    timed(&["init", "-input=false"])?;
    let theirs = [
        ("execute (all created)", timed(&["apply", "-auto-approve", "-input=false", "-parallelism=64"])?),
        ("plan (no change, no refresh)", timed(&["plan", "-refresh=false", "-input=false"])?),
    ];
    println!("\nThe same tree of {TERRAFORM_SIZE} `terraform_data`, -parallelism=64:");
    for (what, their_wall) in theirs {
        let Some((_, wall)) = ours.iter().find(|(name, _)| *name == what) else { continue };
        let ratio = their_wall.as_secs_f64() / wall.as_secs_f64();
        println!("{what:<28} terraform {:>9.1} ms, cofferdam {:>7.1} ms: {ratio:.0} ×", ms(their_wall), ms(*wall));
    }
    Ok(())
}
