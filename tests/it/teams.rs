//! Several at work on one state: two processes at once, locks that wait, break and are found lost, and the history of who
//! did what.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use cofferdam::aws::bucket::{Bucket, BucketAt};
use cofferdam::graph::{Address, Attributes};
use cofferdam::state::{
    End, Entry, Holder, Home, Intent, ObjectHome, Objects, Operation, Record, State, StateError, Store, What, Writer,
};
use serde_json::json;

use crate::lifecycle::{Project, text};
use crate::support::{Emulator, map, unique};

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

/// Names the part that a child process of a test plays: `NAME DIRECTORY [BUCKET]`.
const PART: &str = "COFFERDAM_TEST_PART";

/// A process of this test binary that plays a part in [`rounds_of_one_process`].
fn process(name: &str, directory: &Path, bucket: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "teams::rounds_of_one_process", "--nocapture"]);
    command.env(PART, format!("{name} {} {bucket}", directory.display()));
    command.env("AWS_ENDPOINT_URL_S3", s3());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// The endpoint of an S3 that writes conditionally. (moto looks and writes in two steps, which are not one.)
fn s3() -> String {
    Emulator::Ministack.connect().endpoint.expect("an endpoint")
}

/// A bucket of its own.
fn bucket() -> String {
    let (name, endpoint) = (unique("states"), s3());
    let host = endpoint.strip_prefix("http://").expect("an endpoint").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).expect("it answers");
    let request = format!("PUT /{name} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    name
}

fn store_in_bucket(bucket: &str, endpoint: &str, stack: &str) -> Store {
    let at = BucketAt::parse(&format!("s3://{bucket}/team"), "eu-west-2", Some(endpoint.to_owned())).expect("a URL");
    let bucket = Bucket::open(BucketAt { emulated: true, ..at }).expect("it opens");
    Store::of(&ObjectHome::new(Arc::new(bucket), "team"), stack, None, "aws", "123456789012", "eu-west-2")
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
    let parts: Vec<&str> = part.split(' ').collect();
    let [name, directory, bucket] = parts[..] else { panic!("{part} is no part") };
    let directory = PathBuf::from(directory);
    let store = match bucket {
        "" => Store::at(&directory.join("state")),
        bucket => store_in_bucket(bucket, &std::env::var("AWS_ENDPOINT_URL_S3").expect("an endpoint"), "web"),
    };
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

/// Two processes do their rounds on one state at once. Sees that each held the lock alone and that no update is lost.
fn two_processes_at_once(store: &Store, folder: &Path, bucket: &str) {
    let children = ["alice", "bob"].map(|name| (name, process(name, folder, bucket)));
    for (name, child) in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    }
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
fn two_processes_at_once_in_a_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    two_processes_at_once(&Store::at(&folder.path().join("state")), folder.path(), "");
}

#[test]
fn two_processes_at_once_in_a_bucket() {
    let (folder, bucket) = (tempfile::tempdir().expect("a folder"), bucket());
    two_processes_at_once(&store_in_bucket(&bucket, &s3(), "web"), folder.path(), &bucket);
}

/// What a run of the binary on a stack came to, with the bucket's endpoint.
fn with_s3(project: &Project, stack: &str, arguments: &[&str]) -> (Output, String, String) {
    let (verb, rest) = arguments.split_first().expect("a verb");
    let mut command = project.command();
    command.env("AWS_ENDPOINT_URL_S3", s3()).args(verb.split(' ')).args([stack, "--cloud", "aws"]).args(rest);
    let output = command.output().expect("the binary runs");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

#[test]
fn a_team_keeps_its_state_in_a_bucket_and_takes_it_home_again() {
    let project = Project::new(Emulator::Moto, TWO);
    let bucket = bucket();
    let url = format!("[state]\nurl = \"s3://{bucket}/team\"\n\n");
    let outputs = "\n[outputs]\nname = \"${log_group.a.name}\"\n";
    let succeeds = |stack: &str, arguments: &[&str]| {
        let (output, out, err) = with_s3(&project, stack, arguments);
        assert!(output.status.success(), "{arguments:?} of {stack}:\n{out}\n{err}");
        out
    };
    let fails = |arguments: &[&str]| {
        let (output, out, err) = with_s3(&project, "stack.toml", arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}:\n{out}\n{err}");
        err
    };
    project.succeeds(&["apply", "--yes"]);

    // The stack says where the state shall be; until it is there, nothing is begun anew.
    project.write(&format!("{url}{TWO}{outputs}"));
    let err = fails(&["apply", "--yes"]);
    assert!(err.contains("still") && err.contains("cofferdam state migrate stack.toml"), "{err}");
    assert!(succeeds("stack.toml", &["state migrate"]).contains(&format!("s3://{bucket}/team/{}", project.name)));
    let (output, ..) = with_s3(&project, "stack.toml", &["plan", "--detailed-exitcode"]);
    assert_eq!(output.status.code(), Some(2), "only the output is new");
    assert!(succeeds("stack.toml", &["apply", "--yes"]).contains("name"));
    let history = succeeds("stack.toml", &["history"]);
    let verbs: Vec<bool> = history
        .lines()
        .zip(["apply", "state migrate", "apply"])
        .map(|(line, verb)| line.contains(&format!("  {verb}")))
        .collect();
    assert_eq!(verbs, [true; 3], "{history}");

    // Who holds the lock is told to everybody.
    let store = store_in_bucket(&bucket, &s3(), &project.name);
    let held = store.open(&holder("alice"), fresh).expect("it is free");
    let err = fails(&["apply", "--yes"]);
    assert!(err.contains("the state is locked: alice on mars (process 4711)"), "{err}");
    assert!(succeeds("stack.toml", &["lock show"]).contains("alice on mars"));
    assert!(succeeds("stack.toml", &["lock break"]).contains("taken away from alice on mars"));
    assert!(held.close().is_err(), "alice notices");

    // Another stack reads this one's outputs in the same bucket.
    let other = format!(
        "name = \"{0}-b\"\nregion = \"eu-west-2\"\n{url}[outputs]\nname = \"${{stack.{0}.name}}\"\n",
        project.name
    );
    std::fs::write(project.path("other.toml"), other).expect("it is written");
    assert!(succeeds("other.toml", &["plan"]).contains(&project.name), "the output of the first");

    // And home again; who still has the old stack file is told where the state went.
    project.write(&format!("{TWO}{outputs}"));
    let err = fails(&["plan"]);
    assert!(err.contains(&format!("it was moved to s3://{bucket}/team")), "{err}");
    succeeds("stack.toml", &["state migrate"]);
    project.plan_is_empty("moving home");
    project.write(&format!("{url}{TWO}{outputs}"));
    let err = fails(&["plan"]);
    assert!(err.contains("was moved to"), "{err}");
    project.write(&format!("{TWO}{outputs}"));
    project.succeeds(&["destroy", "--yes"]);

    // A bucket that is not there.
    project.write(&format!("[state]\nurl = \"s3://{}/team\"\n\n{TWO}", unique("nowhere")));
    let err = fails(&["plan"]);
    let nowhere = err.split('`').nth(1).unwrap_or_default().to_owned();
    insta::assert_snapshot!(err.replace(&nowhere, "BUCKET").replace(&project.name, "NAME"), @r"
    error: cannot read s3://BUCKET/team/NAME/aws-123456789012-eu-west-2/snapshot.json: there is no bucket `BUCKET`
      help: make the bucket first (with versioning, and closed to the public), or correct [state] url
    ");
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
    assert_eq!(error.remedy(), "there are 1 to 4");
}

/// What a run did and the states before and after it do not tell.
#[test]
fn the_history_tells_what_was_undone_what_was_made_again_and_what_was_left_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::at(folder.path());
    let run = |records: Vec<Record>, dies: bool| {
        let mut writer = store.open(&holder("alice"), fresh).expect("it is free");
        records.into_iter().for_each(|record| writer.note(record));
        match dies {
            true => writer.sync().expect("it is written"),
            false => drop(writer.close().expect("it is written")),
        }
    };
    let of = |name: &str| Address::new("node", name);
    let mut sized = entry("a");
    sized.attributes = map(json!({ "size": 1, "tags": { "Team": "web" } }));
    let sized = Record::Put { address: of("a"), entry: sized };
    run(vec![sized.clone(), put("b"), put("c")], false);
    let intent = |number: u64, name: &str, operation: Operation, attributes: serde_json::Value| {
        let attributes = map(attributes);
        let (token, id, depends_on) = (String::new(), Some(name.to_owned()), Vec::new());
        Record::Intent(Intent { number, address: of(name), operation, token, attributes, depends_on, id })
    };
    // Somebody changed a size and a tag, and put one of their own; and b was gone, whose name is its id.
    let as_seen = json!({ "size": 2, "tags": { "Team": "ops", "Theirs": "x" }, "zone": null });
    let undoing = vec![
        intent(0, "a", Operation::Update, as_seen),
        intent(1, "b", Operation::Create, json!({})),
        sized.clone(),
        Record::Settled { number: 0 },
        Record::Created { number: 1, id: "b".into(), outputs: Attributes::new(), protect: false },
        Record::Ready { address: of("b"), outputs: Attributes::new() },
    ];
    run(undoing.clone(), false);
    run(undoing, true);
    // What was only about to be changed was not.
    run(vec![intent(0, "a", Operation::Update, json!({ "size": 2 })), Record::Settled { number: 0 }], false);
    run(vec![Record::Put { address: of("c"), entry: entry("another") }], false);
    run(vec![Record::Remove { address: of("c"), id: "c".into() }], false);
    let told: Vec<String> = store
        .runs()
        .expect("it is whole")
        .iter()
        .map(|(number, run)| format!("{number} {}", serde_json::to_string(&run.changes).expect("JSON")))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    1 [{"address":"node.a","what":"added","id":"a"},{"address":"node.b","what":"added","id":"b"},{"address":"node.c","what":"added","id":"c"}]
    2 [{"address":"node.a","what":"changed","id":"a","undone":{"size":2,"tags":{"Team":"ops"}}},{"address":"node.b","what":"replaced","id":"b"}]
    3 [{"address":"node.a","what":"changed","id":"a","undone":{"size":2,"tags":{"Team":"ops"}}},{"address":"node.b","what":"replaced","id":"b"}]
    4 []
    5 [{"address":"node.c","what":"replaced","id":"another"}]
    6 [{"address":"node.c","what":"removed","id":"c"}]
    "#);
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
    let unasked = project.run(&["history restore", "2"]);
    let told = text(&unasked.stdout) + &text(&unasked.stderr);
    assert!(unasked.status.code() == Some(1) && told.contains("+ log_group.b") && told.contains("--yes"), "{told}");
    let beginning = project.run(&["history restore", "0", "--yes"]);
    assert!(text(&beginning.stderr).contains("no run left state 0: it is the beginning"));
    let back = project.succeeds(&["history restore", "2", "--yes"]);
    assert!(back.contains("+ log_group.b") && back.contains("as run 4"), "{back}");
    project.plan_is_empty("going back to what is there");
    let runs: serde_json::Value = serde_json::from_str(&project.succeeds(&["history", "--json"])).expect("JSON");
    assert_eq!(runs["runs"][0]["verb"], "history restore 2");
    assert_eq!(runs["runs"][0]["changes"][0]["what"], "added");
    let output = project.run(&["history show", "9"]);
    let err = text(&output.stderr);
    assert!(!output.status.success() && err.contains("has no run 9") && err.contains("there are 1 to 4"), "{err}");
    project.succeeds(&["destroy", "--yes"]);
}

#[test]
fn a_run_without_an_end_is_in_the_history_at_once() {
    let project = Project::new(Emulator::Moto, TWO);
    project.succeeds(&["apply", "--yes"]);
    let stack = project.path("state").join(&project.name);
    let folder = std::fs::read_dir(stack).expect("a state").next().expect("one state").expect("readable").path();
    let store = Store::at(&folder);
    let mut writer = store.open(&holder("alice"), fresh).expect("it is free");
    assert!(!project.succeeds(&["history"]).contains("alice"), "it has done nothing yet");
    writer.note(Record::Put { address: Address::new("log_group", "c"), entry: entry("c") });
    writer.sync().expect("it is written");
    let end = |number: &str| {
        let list = project.succeeds(&["history"]);
        let first = list.lines().next().unwrap_or_default();
        assert!(first.starts_with(number), "{list}");
        first.split_once("  apply  ").unwrap_or_default().1.to_owned()
    };
    let of_json =
        || serde_json::from_str::<serde_json::Value>(&project.succeeds(&["history", "--json"])).expect("JSON");
    assert_eq!(end("2 "), "1 added; not ended yet");
    assert_eq!(of_json()["runs"][0]["end"], "running");
    drop(writer);
    assert_eq!(end("2 "), "1 added; died; the next run settles what it began");
    assert_eq!(of_json()["runs"][0]["end"], "died");
    insta::assert_snapshot!(project.succeeds(&["history show", "2"]), @r"
    Run 2: apply
      by     alice@mars
      began  10:00
      result died; the next run settles what it began

      + log_group.c  c

    1 added.
    ");
    let output = project.run(&["history restore", "2", "--yes"]);
    assert!(text(&output.stderr).contains("run 2 has left no state to go back to yet"), "{}", text(&output.stderr));
    project.succeeds(&["state rm", "log_group.c"]);
    assert!(end("3 ").is_empty(), "that was no apply");
    project.succeeds(&["destroy", "--yes"]);
}

#[tokio::test]
async fn the_history_shows_drift_that_was_undone() {
    let project =
        Project::new(Emulator::Moto, &TWO.replacen("[log_group.b]", "tags = { Team = \"web\" }\n\n[log_group.b]", 1));
    project.succeeds(&["apply", "--yes"]);
    project.change_behind("log_group.a", "retention_days", json!(30)).await;
    project.delete_behind("log_group.b").await;
    project.succeeds(&["apply", "--yes"]);
    let shown = project.succeeds(&["history show", "2"]);
    let shown: Vec<&str> = shown.lines().skip_while(|line| !line.contains("log_group")).collect();
    insta::assert_snapshot!(shown.join("\n").replace(&project.name, "NAME"), @r"
      ~ log_group.a  NAME-a
          retention_days  30 → 7  undoes a change made outside
      ± log_group.b  NAME-b

    1 changed, 1 replaced.
    ");
    project.succeeds(&["destroy", "--yes"]);
}

/// What stands in a bucket beside states, and how much of one there is, makes no difference to which stacks there are.
#[test]
fn the_stacks_and_scopes_of_a_bucket() {
    let (bucket, endpoint) = (bucket(), s3());
    for stack in ["web", "web-b"] {
        let store = store_in_bucket(&bucket, &endpoint, stack);
        for name in ["a", "b"] {
            let mut writer = open(&store, name);
            writer.note(put(name));
            writer.close().expect("it is written");
        }
    }
    let at = BucketAt::parse(&format!("s3://{bucket}/team"), "eu-west-2", Some(endpoint)).expect("a URL");
    let objects: Arc<dyn Objects> = Arc::new(Bucket::open(BucketAt { emulated: true, ..at }).expect("it opens"));
    let home = |prefix: &str| ObjectHome::new(objects.clone(), prefix);
    assert_eq!(home("team").stacks().expect("listed"), ["web", "web-b"]);
    assert_eq!(home("team").scopes("web").expect("listed"), ["aws-123456789012-eu-west-2"]);
    assert_eq!(home("team").scopes("we").expect("listed"), Vec::<String>::new());
    assert_eq!(home("").stacks().expect("listed"), ["team"], "a bucket without a prefix");
}
