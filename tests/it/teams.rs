//! Several at work on one state: two processes at once, locks that wait, break and are found lost, and the history of who
//! did what.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cofferdam::graph::{Address, Attributes};
use cofferdam::state::{End, Entry, Holder, Record, State, StateError, Store, What, Writer};
use serde_json::json;

use crate::lifecycle::{Project, text};
use crate::support::Emulator;

fn holder(user: &str) -> Holder {
    Holder { user: user.into(), host: "mars".into(), pid: 4711, verb: "apply".into(), since: "10:00".into() }
}

fn fresh() -> State {
    State::empty("web", None, "local", "123456789012", "eu-west-2")
}

fn entry(id: &str) -> Entry {
    Entry {
        id: id.to_owned(),
        attributes: Attributes::new(),
        outputs: Attributes::new(),
        depends_on: Vec::new(),
        protect: false,
        complete: true,
        read_only: false,
        changing: Attributes::new(),
    }
}

fn put(name: &str) -> Record {
    Record::Put { address: Address::new("node", name), entry: entry(name) }
}

/// How often each of two processes runs.
const ROUNDS: usize = 200;

/// Names the part that a child process of a test plays: `NAME DIRECTORY`.
const PART: &str = "COFFERDAM_TEST_PART";

/// A process of this test binary that plays a part in [`rounds_of_one_process`].
fn process(name: &str, directory: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "teams::rounds_of_one_process", "--nocapture"]);
    command.env(PART, format!("{name} {}", directory.display()));
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// The state as a process opens it once it is free.
fn open(store: &Store, name: &str) -> Writer {
    loop {
        match store.open(&holder(name), fresh) {
            Ok(writer) => return writer,
            Err(StateError::Locked { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

/// Not a test by itself: what each of two processes does. Every third run dies before its end.
#[test]
fn rounds_of_one_process() {
    let Ok(part) = std::env::var(PART) else { return };
    let (name, directory) = part.split_once(' ').expect("a name and a directory");
    let directory = PathBuf::from(directory);
    let store = Store::at(&directory.join("state"));
    for round in 0..ROUNDS {
        let mut writer = open(&store, name);
        // Whoever is here is alone here.
        let here = directory.join("here");
        let alone = OpenOptions::new().write(true).create_new(true).open(&here);
        alone.unwrap_or_else(|error| panic!("{name} is not alone in round {round}: {error}"));
        writer.note(put(&format!("{name}-{round}-begun")));
        writer.sync().expect("it is safe");
        writer.note(put(&format!("{name}-{round}-done")));
        writer.sync().expect("it is safe");
        std::fs::remove_file(&here).expect("it is there");
        if round % 3 == 2 {
            drop(writer);
        } else {
            writer.close().expect("it is written");
        }
    }
}

#[test]
fn two_processes_at_once_never_hold_the_lock_both_and_lose_no_update() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = ["alice", "bob"];
    for (name, child) in names.map(|name| (name, process(name, folder.path()))) {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    }
    let store = Store::at(&folder.path().join("state"));
    let state = store.read().expect("it is whole").expect("it is there");
    assert_eq!(state.resources.len(), 2 * 2 * ROUNDS, "every update is there");
    // Each run left a snapshot: by itself, or by whoever found what it had written down; but for the last, perhaps.
    let runs = store.runs().expect("it is whole");
    assert!(state.serial >= 2 * ROUNDS as u64 - 1, "{}", state.serial);
    assert!(runs.len() >= 50, "{} runs are kept", runs.len());
    for (number, run) in &runs {
        assert_eq!(run.changes.len(), 2, "run {number} added two: {run:?}");
    }
    assert!(runs.iter().any(|(_, run)| run.end == End::Died) && runs.iter().any(|(_, run)| run.end == End::Done));
}

#[test]
fn a_run_whose_lock_was_taken_away_writes_nothing_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::at(folder.path());
    let mut slow = store.open(&holder("alice"), fresh).expect("it is free");
    slow.note(put("safe"));
    slow.sync().expect("it is safe");
    slow.check().expect("it is held");
    assert_eq!(store.holder().expect("it is told").expect("alice").0.user, "alice");
    store.break_lock().expect("it is broken");
    assert!(store.holder().expect("it is told").is_none());

    let is_lost = |error: &StateError| matches!(error, StateError::LockLost { .. });
    assert!(is_lost(&slow.check().expect_err("it is lost")));
    // Another one goes on with what was safe, and the slow one's next words are not heard.
    let mut quick = store.open(&holder("bob"), fresh).expect("it is free");
    assert!(quick.state().resources.contains_key("node.safe"));
    slow.note(put("late"));
    assert!(is_lost(&slow.sync().expect_err("it is lost")));
    assert!(is_lost(&slow.close().expect_err("it is lost")));
    quick.note(put("quick"));
    let state = quick.close().expect("it is written");
    let names: Vec<&str> = state.resources.keys().map(Address::name).collect();
    assert_eq!(names, ["quick", "safe"]);
    assert_eq!(store.read().expect("it is whole"), Some(state));
    // What the broken run had written down is a run of its own.
    let runs = store.runs().expect("it is whole");
    let told: Vec<_> = runs.iter().map(|(number, run)| (*number, run.who.as_str(), run.end)).collect();
    assert_eq!(told, [(1, "alice@mars", End::Died), (2, "bob@mars", End::Done)]);
}

#[test]
fn the_history_tells_what_each_run_changed_and_goes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::at(folder.path());
    let run = |user: &str, records: Vec<Record>| {
        let mut writer = store.open(&holder(user), fresh).expect("it is free");
        records.into_iter().for_each(|record| writer.note(record));
        writer.close().expect("it is written")
    };
    let of = |name: &str| Address::new("node", name);
    run("alice", vec![put("a"), put("b"), put("c")]);
    let mut changed = entry("a");
    changed.attributes.insert("size".into(), json!(2));
    run(
        "bob",
        vec![
            Record::Put { address: of("a"), entry: changed },
            Record::Move { from: of("b"), to: of("d") },
            Record::Remove { address: of("c"), id: "c".into() },
            put("e"),
        ],
    );
    run("bob", Vec::new());
    run("carol", vec![Record::Put { address: of("a"), entry: entry("another") }]);
    let runs = store.runs().expect("it is whole");
    let told: Vec<Vec<(String, What)>> = runs
        .iter()
        .map(|(_, run)| run.changes.iter().map(|change| (change.address.to_string(), change.what)).collect())
        .collect();
    let of = |name: &str, what: What| (format!("node.{name}"), what);
    assert_eq!(
        told,
        [
            vec![of("a", What::Added), of("b", What::Added), of("c", What::Added)],
            vec![of("a", What::Changed), of("c", What::Removed), of("d", What::Moved), of("e", What::Added)],
            vec![of("a", What::Replaced)],
        ],
        "a run that changes nothing leaves no trace"
    );

    let first = store.run(1).expect("it is kept");
    let mut writer = store.open(&holder("dave"), fresh).expect("it is free");
    writer.restore(first.state.clone());
    let state = writer.close().expect("it is written");
    assert_eq!((state.serial, &state.resources), (4, &first.state.resources));
    let last = store.run(4).expect("it is kept").run.expect("a run");
    assert_eq!((last.who.as_str(), last.changes.len()), ("dave@mars", 4), "going back is a run, too");
    assert_eq!(store.run(3).expect("it is kept").state.resources.len(), 3, "and can be undone");
    let error = store.run(9).expect_err("there is none");
    assert_eq!(error.remedy(), "there are 0 to 4");
}

const TWO: &str = "[log_group.a]\nretention_days = 7\n\n[log_group.b]\nretention_days = 7\n";

#[test]
fn the_second_of_two_applies_is_told_who_holds_the_lock_or_waits() {
    let project = Project::new(Emulator::Moto, TWO);
    let folder = || {
        let stack = project.path("state").join(&project.name);
        std::fs::read_dir(stack).expect("a state").next().expect("one state").expect("readable").path()
    };
    project.succeeds(&["apply", "--yes"]);
    let store = Store::at(&folder());
    let held = store.open(&holder("alice"), fresh).expect("it is free");
    let output = project.run(&["apply", "--yes"]);
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("the state is locked: alice on mars (process 4711) runs `apply` since 10:00"), "{err}");
    assert!(err.contains("--lock-wait") && err.contains("lock break"), "{err}");
    assert!(project.succeeds(&["lock show"]).contains("alice on mars"));
    project.plan_is_empty("an apply that was refused: planning takes no lock");

    let mut command = project.command();
    command.args(["apply", "stack.toml", "--cloud", "aws", "--yes", "--lock-wait", "10m"]);
    let mut waiting = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(waiting.stderr.take().expect("it has one")));
    let told = lines.next().expect("it tells").expect("text");
    assert!(told.contains("alice on mars") && told.contains("waiting at most 10m 00s"), "{told}");
    drop(held);
    assert!(waiting.wait().expect("it ends").success(), "{:?}", lines.collect::<Vec<_>>());
    assert!(project.succeeds(&["lock show"]).contains("Nobody holds the lock"));
}

#[test]
fn history_verbs_as_a_user_meets_them() {
    let project = Project::new(Emulator::Moto, TWO);
    project.succeeds(&["apply", "--yes"]);
    project.write(&TWO.replacen('7', "14", 1));
    project.succeeds(&["apply", "--yes"]);
    project.succeeds(&["apply", "--yes"]);
    project.succeeds(&["state rm", "log_group.b"]);
    let list = project.succeeds(&["history"]);
    let told: Vec<(&str, bool)> = list
        .lines()
        .zip(["1 removed; done", "1 changed; done", "2 added; done"])
        .map(|(line, what)| (line.split(' ').next().unwrap_or_default(), line.ends_with(what)))
        .collect();
    assert_eq!(told, [("3", true), ("2", true), ("1", true)], "{list}");
    let second = project.succeeds(&["history show", "2"]);
    assert!(second.contains("log_group.a") && second.contains("retention_days  7 → 14"), "{second}");
    let back = project.succeeds(&["history restore", "2"]);
    assert!(back.contains("+ log_group.b") && back.contains("as run 4"), "{back}");
    project.plan_is_empty("going back to what is there");
    let runs: serde_json::Value = serde_json::from_str(&project.succeeds(&["history", "--json"])).expect("JSON");
    assert_eq!(runs["runs"][0]["verb"], "history restore 2");
    assert_eq!(runs["runs"][0]["changes"][0]["what"], "added");
    let output = project.run(&["history show", "9"]);
    let err = text(&output.stderr);
    assert!(!output.status.success() && err.contains("has no run 9") && err.contains("there are 0 to 4"), "{err}");
    project.succeeds(&["destroy", "--yes"]);
}
