//! States on disk: reopened after a crash, torn, stale, locked and damaged.

use std::fs;
use std::path::Path;

use cofferdam::graph::{Address, Attributes};
use cofferdam::state::{Entry, Holder, Intent, Operation, Record, State, StateError, Store};

fn holder(verb: &str) -> Holder {
    Holder { user: "alice".into(), host: "mars".into(), pid: 4711, verb: verb.into(), since: "10:00".into() }
}

fn fresh() -> State {
    State::empty("web", None, "local", "123456789012", "eu-west-2")
}

fn store(root: &Path) -> Store {
    Store::new(root, "web", None, "local", "123456789012", "eu-west-2")
}

fn folder(store: &Store) -> &Path {
    store.directory().expect("it is a directory")
}

fn put(name: &str) -> Record {
    let entry = Entry {
        changing: Attributes::default(),
        id: format!("id-{name}"),
        attributes: Attributes::new(),
        outputs: Attributes::new(),
        depends_on: Vec::new(),
        protect: false,
        complete: true,
        read_only: false,
    };
    Record::Put { address: Address::new("node", name), entry }
}

fn intent(number: u64) -> Record {
    Record::Intent(Intent {
        number,
        address: Address::new("node", "n"),
        operation: Operation::Create,
        token: "t".into(),
        attributes: Attributes::new(),
        depends_on: Vec::new(),
        id: None,
    })
}

fn names(state: &State) -> Vec<&str> {
    state.resources.keys().map(Address::name).collect()
}

#[test]
fn nothing_is_there_before_the_first_run() {
    let root = tempfile::tempdir().unwrap();
    assert!(store(root.path()).read().unwrap().is_none());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "reading makes no directory");
}

#[test]
fn a_closed_run_leaves_a_snapshot_an_empty_journal_and_a_history() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    for (serial, name) in ["a", "b", "c"].into_iter().enumerate() {
        let mut writer = store.open(&holder("apply"), fresh).unwrap();
        writer.note(put(name));
        assert_eq!(writer.close().unwrap().serial, serial as u64 + 1);
    }
    let state = store.read().unwrap().unwrap();
    assert_eq!(names(&state), ["a", "b", "c"]);
    assert_eq!(fs::metadata(folder(&store).join("journal.jsonl")).unwrap().len(), 0);
    assert_eq!(fs::read_dir(folder(&store).join("history")).unwrap().count(), 3);
}

#[test]
fn a_run_that_changes_nothing_writes_no_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    store.open(&holder("apply"), fresh).unwrap().close().unwrap();
    let before = fs::read(folder(&store).join("snapshot.json")).unwrap();
    assert_eq!(store.open(&holder("apply"), fresh).unwrap().close().unwrap().serial, 0);
    assert_eq!(fs::read(folder(&store).join("snapshot.json")).unwrap(), before);
}

#[test]
fn what_was_synced_survives_a_crash_and_what_was_only_noted_does_not() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let mut writer = store.open(&holder("apply"), fresh).unwrap();
    writer.note(put("safe"));
    writer.note(intent(0));
    writer.sync().unwrap();
    writer.note(put("lost"));
    drop(writer);
    let state = store.read().unwrap().unwrap();
    assert_eq!((names(&state), state.unresolved.len()), (vec!["safe"], 1));

    let mut writer = store.open(&holder("apply"), fresh).unwrap();
    assert_eq!(names(writer.state()), ["safe"]);
    writer.note(Record::Settled { number: 0 });
    writer.note(put("more"));
    writer.sync().unwrap();
    drop(writer);
    let state = store.read().unwrap().unwrap();
    assert_eq!((names(&state), state.unresolved.len()), (vec!["more", "safe"], 0));

    let state = store.open(&holder("apply"), fresh).unwrap().close().unwrap();
    assert_eq!((names(&state), state.serial), (vec!["more", "safe"], 2), "each crashed run gets a snapshot");
}

#[test]
fn a_torn_tail_is_cut_off_and_written_over() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let mut writer = store.open(&holder("apply"), fresh).unwrap();
    writer.note(put("a"));
    writer.sync().unwrap();
    writer.note(put("torn"));
    writer.sync().unwrap();
    drop(writer);
    let journal = folder(&store).join("journal.jsonl");
    let bytes = fs::read(&journal).unwrap();
    let last_line = bytes[..bytes.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    for cut in last_line..bytes.len() {
        fs::write(&journal, &bytes[..cut]).unwrap();
        assert_eq!(names(&store.read().unwrap().unwrap()), ["a"], "cut at {cut}");
        let mut writer = store.open(&holder("apply"), fresh).unwrap();
        writer.note(put("b"));
        writer.sync().unwrap();
        drop(writer);
        assert_eq!(names(&store.read().unwrap().unwrap()), ["a", "b"], "cut at {cut}");
    }
}

#[test]
fn a_journal_whose_snapshot_was_written_already_is_stale() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let mut writer = store.open(&holder("apply"), fresh).unwrap();
    writer.note(put("a"));
    writer.sync().unwrap();
    let journal = fs::read(folder(&store).join("journal.jsonl")).unwrap();
    writer.note(Record::Remove { address: Address::new("node", "a"), id: "id-a".into() });
    writer.close().unwrap();
    // The run died between writing the snapshot and emptying the journal.
    fs::write(folder(&store).join("journal.jsonl"), journal).unwrap();
    assert!(store.read().unwrap().unwrap().resources.is_empty());
    let mut writer = store.open(&holder("apply"), fresh).unwrap();
    writer.note(put("b"));
    writer.sync().unwrap();
    drop(writer);
    assert_eq!(names(&store.read().unwrap().unwrap()), ["b"]);
}

#[test]
fn a_journal_of_another_state_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let mut writer = store.open(&holder("apply"), fresh).unwrap();
    writer.note(put("a"));
    writer.sync().unwrap();
    drop(writer);
    let other = store_with_one(root.path());
    fs::copy(folder(&other).join("snapshot.json"), folder(&store).join("snapshot.json")).unwrap();
    let error = store.read().unwrap_err();
    assert!(matches!(error, StateError::Damaged { .. }), "{error}");
    fs::remove_file(folder(&store).join("snapshot.json")).unwrap();
    let error = store.open(&holder("apply"), fresh).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

fn store_with_one(root: &Path) -> Store {
    let store = Store::new(root, "other", Some("test"), "local", "123456789012", "eu-west-2");
    let mut writer = store.open(&holder("apply"), fresh).unwrap();
    writer.note(put("x"));
    writer.close().unwrap();
    store
}

#[test]
fn a_damaged_snapshot_is_refused_and_left_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let store = store_with_one(root.path());
    let path = folder(&store).join("snapshot.json");
    let whole = fs::read(&path).unwrap();
    for at in [0, whole.len() / 2, whole.len() - 2] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = store.open(&holder("apply"), fresh).unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{error}");
        assert!(error.remedy().contains("recover"));
        assert_eq!(fs::read(&path).unwrap(), bytes, "nothing is overwritten");
    }
    fs::write(&path, &whole[..whole.len() - 10]).unwrap();
    assert!(matches!(store.read().unwrap_err(), StateError::Damaged { .. }));
    let newer = String::from_utf8(whole).unwrap().replacen("\"format_version\":2", "\"format_version\":99", 1);
    fs::write(&path, newer).unwrap();
    assert!(matches!(store.read().unwrap_err(), StateError::Newer { found: 99, .. }));
}

#[test]
fn what_the_tool_made_stays_known_whatever_takes_its_place() {
    let mut state = fresh();
    let entry = |id: &str, read_only: bool| match put("a") {
        Record::Put { entry, .. } => Entry { id: id.into(), read_only, ..entry },
        _ => unreachable!(),
    };
    let address = Address::new("node", "a");
    let aside = |state: &State| state.deposed.iter().map(|old| old.entry.id.clone()).collect::<Vec<_>>();
    state.take(Record::Put { address: address.clone(), entry: entry("1", false) });
    state.take(Record::Put { address: address.clone(), entry: entry("2", false) });
    assert_eq!(aside(&state), ["1"]);
    state.take(Record::Put { address: address.clone(), entry: entry("theirs", true) });
    assert_eq!(aside(&state), ["1", "2"]);
    state.take(Record::Put { address: address.clone(), entry: entry("1", false) });
    assert_eq!(aside(&state), ["2"], "what is only read is nobody's; what takes its place back is aside no longer");
    // A move takes along what stands aside, and from an address where nothing else stands.
    state.take(Record::Remove { address: address.clone(), id: "1".into() });
    let to = Address::new("node", "b");
    state.take(Record::Move { from: address, to: to.clone() });
    assert_eq!(state.deposed.at(&to).len(), 1);
}

#[test]
fn one_writes_and_the_others_are_told_who() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let writer = store.open(&holder("apply"), fresh).unwrap();
    let error = store.open(&holder("destroy"), fresh).unwrap_err();
    assert_eq!(error.to_string(), "the state is locked: alice on mars (process 4711) runs `apply` since 10:00");
    assert!(store.read().unwrap().is_some(), "reading takes no lock");
    drop(writer);
    store.open(&holder("destroy"), fresh).unwrap();
}

#[test]
fn a_reader_beside_a_busy_writer_always_sees_a_whole_state() {
    let root = tempfile::tempdir().unwrap();
    let store = store_with_one(root.path());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..60 {
                let mut writer = store.open(&holder("apply"), fresh).unwrap();
                writer.note(put(&format!("n{number}")));
                writer.sync().unwrap();
                writer.close().unwrap();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let mut most = 0;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let count = store.read().unwrap().unwrap().resources.len();
            assert!(count >= most, "{count} after {most}: nothing that was safe disappears");
            most = count;
        }
    });
    assert_eq!(store.read().unwrap().unwrap().resources.len(), 61);
}
