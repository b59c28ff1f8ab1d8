//! Bad input of every sort: whatever stands in a stack file, a state, a journal or a plan file, it is an error or it is
//! taken, and never a panic.
//!
//! What is good is taken and mutated; where a checksum would turn everything away at the door, it is made to fit again.
//! `COFFERDAM_FUZZ` says for how many seconds each sort is tried (`make fuzz`); without it, a few hundred cases each.

use std::path::Path;
use std::time::{Duration, Instant};

use cofferdam::cloud::Cloud;
use cofferdam::graph::{Address, Graph};
use cofferdam::kinds::Registry;
use cofferdam::plan::{Inputs, Mode, Plan, Steps};
use cofferdam::simulated::Simulated;
use cofferdam::stack::{Files, Language, Options, Stack, parse};
use cofferdam::state::{FORMAT_VERSION, Record, State, Store, sha256};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::engine::{complete, empty, options, run_with};
use crate::proof::read;
use crate::stack::Ask;

/// One change to a text.
#[derive(Debug, Clone)]
enum Mutation {
    /// A bit of a byte.
    Flip(usize, u8),
    /// A byte in place of another.
    Byte(usize, u8),
    /// So many bytes less.
    Cut(usize, usize),
    /// A piece of the text itself, elsewhere.
    Copy(usize, usize, usize),
    /// A word of the language in place of another, or between two.
    Word(usize, usize, bool),
    /// The end is missing.
    End(usize),
}

/// Words that mean something to one reader or another, and numbers at their limits.
const WORDS: &[&str] = &[
    "\"",
    "\"\"\"",
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "#",
    "\n",
    "\\",
    "\\u0000",
    "\\uD800",
    "\u{0}",
    "${",
    "}",
    "${}",
    "${.}",
    "${vars.}",
    "${self.}",
    "${a.b.c}",
    "${network.main}",
    "${network.main.vpc_id}",
    "$${",
    "${stack.x.y}",
    "null",
    "true",
    "-1",
    "0",
    "18446744073709551616",
    "1e999",
    "nan",
    "inf",
    "-0",
    "2147483648",
    "0.0.0.0/0",
    "10.0.0.0/33",
    "::/0",
    "255.255.255.255/32",
    "name",
    "region",
    "eu-west-2",
    "vars",
    "tags",
    "env",
    "outputs",
    "state",
    "moved",
    "protect",
    "existing",
    "depends_on",
    "network",
    "subnet",
    "vpc",
    "role",
    "cluster",
    "capacity",
    "policies",
    "file",
    "policies/task.json",
    "../../x",
    "é",
    "\u{202e}",
    "\u{1f600}",
    "for_each",
    "/",
    "network.main/",
    "vpc.main",
    "kind",
    "id",
    "attributes",
    "record",
    "intent",
    "created",
    "number",
    "serial",
];

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<usize>;
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        (at(), 1..80_usize).prop_map(|(at, length)| Mutation::Cut(at, length)),
        (at(), 1..200_usize, at()).prop_map(|(from, length, to)| Mutation::Copy(from, length, to)),
        (at(), at(), any::<bool>()).prop_map(|(at, word, instead)| Mutation::Word(at, word, instead)),
        at().prop_map(Mutation::End),
    ]
}

fn mutated(good: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for one in mutations {
        let length = bytes.len();
        if length == 0 {
            break;
        }
        match one {
            Mutation::Flip(at, bit) => bytes[at % length] ^= 1 << bit,
            Mutation::Byte(at, byte) => bytes[at % length] = *byte,
            Mutation::Cut(at, count) => drop(bytes.drain(at % length..(at % length + count).min(length))),
            Mutation::Copy(from, count, to) => {
                let piece = bytes[from % length..(from % length + count).min(length)].to_vec();
                let to = to % length;
                drop(bytes.splice(to..to, piece));
            }
            Mutation::Word(at, word, instead) => {
                let at = at % length;
                let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
                let end = at + bytes[at..].iter().take_while(|byte| *instead && is_word(byte)).count();
                drop(bytes.splice(at..end, WORDS[word % WORDS.len()].bytes()));
            }
            Mutation::End(at) => bytes.truncate(at % length),
        }
    }
    bytes
}

/// Tries mutations of these good ones for as long as is asked for; gives how many.
fn try_all(what: &str, good: &[Vec<u8>], reads: impl Fn(&[u8])) {
    let seconds = std::env::var("COFFERDAM_FUZZ").ok().map(|text| text.parse().expect("a number of seconds"));
    let began = Instant::now();
    let (mut tried, cases) = (0_u64, 250);
    loop {
        let config = Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
        let mut runner = match seconds {
            None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(Default::default())),
            Some(_) => TestRunner::new(config),
        };
        let strategy = (any::<prop::sample::Index>(), vec(mutation(), 0..6));
        let run = runner.run(&strategy, |(which, mutations)| {
            reads(&mutated(which.get::<Vec<u8>>(good), &mutations));
            Ok(())
        });
        if let Err(error) = run {
            panic!("{what}: {error}");
        }
        tried += u64::from(cases);
        if seconds.is_none_or(|seconds: u64| began.elapsed() >= Duration::from_secs(seconds)) {
            break;
        }
    }
    println!("{what}: {tried} cases in {:.0?}", began.elapsed());
}

fn stack_texts() -> Vec<Vec<u8>> {
    let folder = std::fs::read_dir("stacks").expect("stacks are shipped");
    let paths = folder.map(|entry| entry.expect("it is readable").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("it is readable")).collect()
}

/// Plans, and orders the steps of the plan: all that is done with a stack and a state before anything is sent.
fn planned(cloud: &Simulated, graph: &Graph, state: &State, mode: Mode) {
    let inputs = Inputs {
        graph,
        state: Some(state),
        observed: None,
        specs: &|kind| cloud.spec(kind),
        scope: cloud.scope(),
        cloud: "local",
        inputs_digest: "",
        mode,
        targets: &[],
        replace: &[],
        given: cofferdam::plan::Given::default(),
    };
    match cofferdam::plan::plan(&inputs) {
        Ok(plan) => {
            let _ = cofferdam::cli::render::plan::plan(&plan);
            let _ = Steps::of(&plan, &|kind| cloud.spec(kind));
        }
        Err(errors) => errors.iter().for_each(|error| drop(error.to_string())),
    }
}

#[test]
fn any_stack_file() {
    let registry = Registry::new();
    let constructs = cofferdam::constructs::all();
    let language = Language::of(&registry, &constructs);
    let read = |name: &str| match name.starts_with("policies/") && !name.contains("..") {
        true => std::fs::read(name),
        false => Err(std::io::ErrorKind::NotFound.into()),
    };
    let cloud = Simulated::default();
    try_all("stack files", &stack_texts(), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        for env in [None, Some("staging".to_owned())] {
            let files = Files { read: &read, root: ".".into() };
            let options = Options { env, ..Options::default() };
            match parse("stack.toml", text, &files, &options, &language) {
                Ok(Stack { graph, .. }) => planned(&cloud, &graph, &empty(), Mode::Apply),
                Err(wrong) => drop(cofferdam::cli::render::diagnostics(&wrong, false)),
            }
        }
    });
}

/// A state with everything in it that a state can have, and the graph it was applied from.
fn rich_state() -> (State, Graph, Simulated) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let (graph, scope) = read(&std::fs::read_to_string("stacks/minimal.toml").expect("it is shipped"));
    let cloud = Simulated::within(scope, cofferdam::simulated::Behaviour::default());
    let mut state =
        runtime.block_on(async { complete(run_with(&cloud, &graph, empty(), Ask::default(), options()).await) });
    let first = state.resources.iter().next().map(|(address, entry)| (address.clone(), entry.clone()));
    let (address, entry) = first.expect("something was applied");
    // One that was made anew, and whose predecessor still stands beside it.
    state.take(intent(7, &address));
    state.take(Record::Created { number: 7, id: "another".into(), outputs: entry.outputs, protect: false });
    state.take(intent(8, &address));
    (state, graph, cloud)
}

fn intent(number: u64, address: &Address) -> Record {
    let record = json!({
        "record": "intent",
        "number": number,
        "address": address,
        "operation": "create",
        "token": "00000000000000000000000000000000",
        "attributes": { "name": "x" },
        "depends_on": [address],
    });
    serde_json::from_value(record).expect("it is a record")
}

/// What is in the state, journal included, if it can be read.
fn state_in(folder: &Path) -> Option<State> {
    match Store::at(folder).read() {
        Ok(state) => state,
        Err(error) => {
            drop((error.to_string(), error.remedy()));
            None
        }
    }
}

/// A snapshot of this state, of no run, whose checksum is right.
fn snapshot(state: &[u8]) -> Vec<u8> {
    let body = [b"null\n", state, b"\n"].concat();
    let head = json!({ "format_version": FORMAT_VERSION, "sha256": sha256(&body) }).to_string();
    [head.as_bytes(), b"\n", &body].concat()
}

fn planned_both(cloud: &Simulated, graph: &Graph, state: &State) {
    planned(cloud, graph, state, Mode::Apply);
    planned(cloud, graph, state, Mode::Destroy);
}

#[test]
fn any_snapshot() {
    let (state, graph, cloud) = rich_state();
    let body = serde_json::to_vec(&state).expect("it is JSON");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot.json");
    std::fs::write(&path, snapshot(&body)).expect("it is written");
    assert_eq!(state_in(folder.path()).as_ref(), Some(&state), "the good one is read");
    try_all("snapshots", &[body], |bytes| {
        // As it is, and with a checksum that fits.
        for text in [snapshot(bytes), [b"{\"format_version\":2,\"sha256\":\"00\"}\n", bytes].concat(), bytes.to_vec()] {
            std::fs::write(&path, text).expect("it is written");
            if let Some(state) = state_in(folder.path()) {
                planned_both(&cloud, &graph, &state);
            }
        }
    });
}

/// A journal of these lines, whose lengths and checksums are right.
fn journal(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        out.extend_from_slice(format!("{:08x} {:08x} ", line.len(), crc32fast::hash(line)).as_bytes());
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out
}

#[test]
fn any_journal() {
    let (state, graph, cloud) = rich_state();
    let folder = tempfile::tempdir().expect("a folder");
    let body = serde_json::to_vec(&state).expect("it is JSON");
    std::fs::write(folder.path().join("snapshot.json"), snapshot(&body)).expect("it is written");
    let path = folder.path().join("journal.jsonl");
    let mut records = vec![json!({
        "record": "begin", "run": "0", "serial": state.serial, "lineage": state.lineage, "verb": "apply", "who": "a@b",
        "at": "2026-01-01T00:00:00Z",
    })];
    let value = |record: &Record| serde_json::to_value(record).expect("it is JSON");
    for (number, (address, entry)) in (9..).zip(&state.resources) {
        records.push(value(&intent(number, address)));
        records.push(value(&Record::Created {
            number,
            id: entry.id.clone(),
            outputs: entry.outputs.clone(),
            protect: true,
        }));
        records.push(value(&Record::Ready { address: address.clone(), outputs: entry.outputs.clone() }));
        records.push(value(&Record::Move { from: address.clone(), to: Address::new(address.kind(), "moved") }));
        records.push(value(&Record::Remove { address: address.clone(), id: entry.id.clone() }));
    }
    let lines = records.iter().map(|record: &Value| format!("{record}\n")).collect::<String>().into_bytes();
    std::fs::write(&path, journal(&lines)).expect("it is written");
    assert!(state_in(folder.path()).is_some(), "the good one is read");
    try_all("journals", &[lines.clone(), journal(&lines)], |bytes| {
        for text in [journal(bytes), bytes.to_vec()] {
            std::fs::write(&path, text).expect("it is written");
            if let Some(state) = state_in(folder.path()) {
                planned_both(&cloud, &graph, &state);
            }
        }
    });
}

#[test]
fn any_plan_file() {
    let (state, graph, cloud) = rich_state();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.plan");
    let good: Vec<Vec<u8>> = [Mode::Apply, Mode::Destroy]
        .into_iter()
        .map(|mode| {
            let plan = crate::stack::plan(&cloud, &graph, Some(&state), None, Ask { mode, ..Ask::default() });
            plan.expect("it can be planned").save(&path, None, None).expect("it is saved");
            let text = std::fs::read(&path).expect("it is there");
            text.split(|byte| *byte == b'\n').nth(1).expect("a second line").to_vec()
        })
        .collect();
    try_all("plan files", &good, |bytes| {
        let head = json!({ "cofferdam_plan": 1, "sha256": sha256(bytes) }).to_string();
        for text in [[head.as_bytes(), b"\n", bytes, b"\n"].concat(), bytes.to_vec()] {
            std::fs::write(&path, text).expect("it is written");
            match Plan::load(&path, &Default::default()) {
                Ok(plan) => {
                    let _ = plan.fits(&state, "local", Some("123456789012"), "eu-west-2");
                    let _ = cofferdam::cli::render::plan::plan(&plan);
                    let _ = cofferdam::cli::render::json::plan(&plan);
                    let _ = Steps::of(&plan, &|kind| cloud.spec(kind));
                }
                Err(error) => drop((error.to_string(), error.remedy())),
            }
        }
    });
}
